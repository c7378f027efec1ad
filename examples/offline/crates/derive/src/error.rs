use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// A message for whoever wrote the struct, and the place it is about.
pub(crate) struct Error {
    span: Span,
    message: String,
}

impl Error {
    pub(crate) fn at(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// `::core::compile_error! { "message" }`, with every token at the place in question.
    pub(crate) fn into_tokens(self) -> TokenStream {
        let Self { span, message } = self;
        let punct = |char, spacing| TokenTree::from(Punct::new(char, spacing));
        let path = ["core", "compile_error"].into_iter().flat_map(|name| {
            let name = TokenTree::from(Ident::new(name, span));
            [punct(':', Spacing::Joint), punct(':', Spacing::Alone), name]
        });
        let text = TokenStream::from(TokenTree::from(Literal::string(&message)));
        let call = [punct('!', Spacing::Alone), Group::new(Delimiter::Brace, text).into()];
        let spanned = |mut token: TokenTree| {
            token.set_span(span);
            token
        };
        path.chain(call).map(spanned).collect()
    }
}
