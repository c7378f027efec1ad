use crate::{Source, Span, width};
use std::fmt::Write as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Likely a mistake.
    Warning,
    /// Nothing can be computed.
    Error,
}

impl Severity {
    /// The word that messages start with.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A message about a place in a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What may help, if anything.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), span, help: None }
    }

    /// Adds what may help.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message with the line it is about and the place marked under it.
    pub fn render(&self, source: &Source) -> String {
        let location = source.location(self.span.start);
        let line = source.line(location.line).unwrap_or_default();
        let before: String = line.chars().take(location.column - 1).collect();
        let marked = source.slice(self.span).lines().next().unwrap_or_default();
        let gutter = location.line.to_string();
        let blank = " ".repeat(gutter.len());
        let mut out = format!("{}: {}\n", self.severity.label(), self.message);
        let marks = "^".repeat(width(marked).max(1));
        let lines = [
            format!("{blank}--> {}:{location}", source.name()),
            format!("{gutter} | {line}"),
            format!("{blank} | {}{marks}", " ".repeat(width(&before))),
        ];
        for line in lines.iter().chain(self.help.as_ref().map(|help| format!("{blank} = help: {help}")).iter()) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{line}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Diagnostic;
    use crate::{Source, Span};

    #[test]
    fn the_place_is_marked_below_the_line() {
        let source = Source::new("A1", "1 + 東京 + 2");
        let message = Diagnostic::error(Span::new(4, 10), "unknown name").with_help("did you mean 東?");
        let expected = "\
error: unknown name
 --> A1:1:5
1 | 1 + 東京 + 2
  |     ^^^^
  = help: did you mean 東?
";
        assert_eq!(message.render(&source), expected);
    }

    #[test]
    fn the_end_of_a_text_is_marked_too() {
        let source = Source::new("A1", "1 +");
        let rendered = Diagnostic::error(Span::new(3, 3), "a value is missing").render(&source);
        assert!(rendered.contains("1 | 1 +\n  |    ^\n"), "{rendered}");
    }
}
