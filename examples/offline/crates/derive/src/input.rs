use crate::error::Error;
use proc_macro::{Delimiter, Group, Span, TokenStream, TokenTree};
use std::iter::Peekable;

type Tokens = Peekable<proc_macro::token_stream::IntoIter>;

/// The struct or enum that carries the derive.
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Struct(Vec<Member>),
    Enum(Vec<Member>),
}

/// A field or a variant.
pub(crate) struct Member {
    /// As it is written in the code.
    pub(crate) ident: String,
    pub(crate) span: Span,
    pub(crate) attributes: Attributes,
    /// Whether anything but attributes and a visibility stands around the name of a variant.
    pub(crate) plain: bool,
}

#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) name: Option<String>,
    pub(crate) default: bool,
}

impl Input {
    pub(crate) fn parse(item: TokenStream) -> Result<Self, Error> {
        let mut tokens = item.into_iter().peekable();
        attributes(&mut tokens)?;
        visibility(&mut tokens);
        let keyword = tokens.next();
        let (name, span) = match tokens.next() {
            Some(TokenTree::Ident(ident)) => (ident.to_string(), ident.span()),
            _ => return Err(Error::at(Span::call_site(), "expected a struct or an enum")),
        };
        let members = match tokens.next() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => group,
            Some(TokenTree::Punct(punct)) if punct.as_char() == '<' => {
                return Err(Error::at(punct.span(), "a record cannot be generic"));
            }
            _ => return Err(Error::at(span, "a record needs named fields")),
        };
        let is_struct = matches!(&keyword, Some(TokenTree::Ident(word)) if word.to_string() == "struct");
        let body = if is_struct { Body::Struct(fields(&members)?) } else { Body::Enum(variants(&members)?) };
        Ok(Self { name, span, body })
    }
}

fn fields(group: &Group) -> Result<Vec<Member>, Error> {
    let mut tokens = group.stream().into_iter().peekable();
    let mut fields = Vec::new();
    while tokens.peek().is_some() {
        let attributes = attributes(&mut tokens)?;
        visibility(&mut tokens);
        let Some(TokenTree::Ident(ident)) = tokens.next() else {
            return Err(Error::at(group.span(), "expected a field"));
        };
        skip_to_comma(&mut tokens);
        fields.push(Member { ident: ident.to_string(), span: ident.span(), attributes, plain: true });
    }
    Ok(fields)
}

fn variants(group: &Group) -> Result<Vec<Member>, Error> {
    let mut tokens = group.stream().into_iter().peekable();
    let mut variants = Vec::new();
    while tokens.peek().is_some() {
        let attributes = attributes(&mut tokens)?;
        let Some(TokenTree::Ident(ident)) = tokens.next() else {
            return Err(Error::at(group.span(), "expected a variant"));
        };
        let plain = !matches!(tokens.peek(), Some(TokenTree::Group(_)));
        skip_to_comma(&mut tokens);
        variants.push(Member { ident: ident.to_string(), span: ident.span(), attributes, plain });
    }
    Ok(variants)
}

/// Reads all attributes in front of something, and keeps what `#[record(...)]` says.
fn attributes(tokens: &mut Tokens) -> Result<Attributes, Error> {
    let mut found = Attributes::default();
    while tokens.next_if(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#')).is_some() {
        let Some(TokenTree::Group(group)) = tokens.next() else { continue };
        let mut inside = group.stream().into_iter();
        let ours = matches!(inside.next(), Some(TokenTree::Ident(name)) if name.to_string() == "record");
        if let (true, Some(TokenTree::Group(arguments))) = (ours, inside.next()) {
            arguments_of(&arguments, &mut found)?;
        }
    }
    Ok(found)
}

fn arguments_of(group: &Group, found: &mut Attributes) -> Result<(), Error> {
    let mut tokens = group.stream().into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token.to_string().as_str() {
            "default" => found.default = true,
            "name" => {
                tokens.next_if(|token| token.to_string() == "=");
                let literal = tokens.next().map(|token| token.to_string()).unwrap_or_default();
                let text = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                let plain = text.filter(|text| !text.contains('\\'));
                let name = plain.ok_or_else(|| Error::at(token.span(), "expected name = \"…\" without escapes"))?;
                found.name = Some(name.to_owned());
            }
            _ => return Err(Error::at(token.span(), "expected `name` or `default`")),
        }
        skip_to_comma(&mut tokens);
    }
    Ok(())
}

fn visibility(tokens: &mut Tokens) {
    if tokens.next_if(|token| token.to_string() == "pub").is_some() {
        tokens.next_if(|token| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis));
    }
}

/// Passes the next comma that does not stand between angle brackets.
fn skip_to_comma(tokens: &mut Tokens) {
    let (mut depth, mut last) = (0usize, ' ');
    for token in tokens.by_ref() {
        let TokenTree::Punct(punct) = token else {
            last = ' ';
            continue;
        };
        match punct.as_char() {
            ',' if depth == 0 => return,
            '<' => depth += 1,
            // The end of an arrow closes nothing.
            '>' if last != '-' => depth = depth.saturating_sub(1),
            _ => {}
        }
        last = punct.as_char();
    }
}
