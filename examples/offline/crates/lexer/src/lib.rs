//! Splits formulas into tokens. The build script compiles the state machine from `tokens.txt`.

mod machine;

pub use machine::TokenKind;
use tally_text::{Diagnostic, Span};

/// A token and where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it stands.
    pub span: Span,
}

/// The tokens that mean something, in order.
pub fn tokenize(text: &str) -> Result<Vec<Token>, Diagnostic> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let Some((kind, length)) = machine::longest_match(&text.as_bytes()[at..]) else {
            return Err(unexpected(text, at));
        };
        let span = Span::new(at, at + length);
        if !kind.is_dropped() {
            tokens.push(Token { kind, span });
        }
        at = span.end;
    }
    Ok(tokens)
}

fn unexpected(text: &str, at: usize) -> Diagnostic {
    let char = text[at..].chars().next().unwrap_or_default();
    let (message, help) = match char {
        '"' => ("the text is never closed".to_owned(), Some("close it with \"; a quote inside is written twice")),
        '{' => ("the comment is never closed".to_owned(), Some("close it with }")),
        '@' => ("a date is expected after @".to_owned(), Some("write it like @2024-02-29")),
        _ => (format!("{char:?} means nothing here"), None),
    };
    let error = Diagnostic::error(Span::new(at, at + char.len_utf8()), message);
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenKind, tokenize};

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokenize(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn the_longest_token_wins() {
        use TokenKind::*;
        assert_eq!(kinds("A1<=$B$20"), [Cell, LessOrEqual, Cell]);
        assert_eq!(kinds("A1b in inch"), [Name, In, Name]);
        assert_eq!(kinds("1.5e3km"), [Number, Name]);
        assert_eq!(kinds("2e"), [Number, Name]);
        assert_eq!(kinds("SUM(A1:B2; \"x\"\"y\") {a note}"), [Name, Open, Cell, Colon, Cell, Semicolon, Text, Close]);
    }

    #[test]
    fn tokens_cover_the_text() {
        let text = "  größe * 2 {twice} ";
        let tokens = tokenize(text).unwrap();
        assert_eq!(tokens.iter().map(|token| &text[token.span.range()]).collect::<Vec<_>>(), ["größe", "*", "2"]);
    }

    #[test]
    fn what_is_no_token_is_explained() {
        for (text, at, message) in [("1 + ?", 4, "'?' means nothing here"), ("\"abc", 0, "the text is never closed")] {
            let error = tokenize(text).unwrap_err();
            assert_eq!((error.span.start, error.message.as_str()), (at, message));
        }
    }

    #[test]
    fn every_kind_has_a_title_of_its_own() {
        let mut titles: Vec<&str> = TokenKind::ALL.iter().map(|kind| kind.title()).collect();
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), TokenKind::ALL.len());
    }
}
