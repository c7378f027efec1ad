use std::fmt;
use tally_text::{Diagnostic, Location, Source, Span};

/// The characters that separate and quote.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dialect {
    /// Between fields; one byte.
    pub separator: u8,
    /// Around fields that hold separators, line ends or quotes; one byte.
    pub quote: u8,
    /// Rows that start with this byte are skipped, if any.
    pub comment: Option<u8>,
    /// Whether blanks around fields are dropped; not those inside quotes.
    pub trim: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { separator: b',', quote: b'"', comment: None, trim: false }
    }
}

impl Dialect {
    /// Separated by tabulators.
    pub const fn tabs() -> Self {
        Self { separator: b'\t', quote: b'"', comment: None, trim: false }
    }
}

/// A quote that does not make sense, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    /// Where.
    pub location: Location,
    /// The same as a message with its line.
    pub diagnostic: Diagnostic,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.location, self.diagnostic.message)
    }
}

impl std::error::Error for Error {}

/// All rows of a text. Blank lines are skipped; rows may differ in length.
pub fn parse(source: &Source, dialect: Dialect) -> Result<Vec<Vec<String>>, Error> {
    let text = source.text().strip_prefix('\u{feff}').unwrap_or(source.text());
    let skipped = source.text().len() - text.len();
    let mut parser = Parser { text, at: 0, dialect };
    let mut rows = Vec::new();
    while parser.at < text.len() {
        match parser.row() {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => {}
            Err((at, message)) => {
                let at = at + skipped;
                let diagnostic = Diagnostic::error(Span::new(at, at + 1), message);
                return Err(Error { location: source.location(at), diagnostic });
            }
        }
    }
    Ok(rows)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    dialect: Dialect,
}

type Problem = (usize, &'static str);

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn end_of_row(&mut self) -> bool {
        let carriage = self.text[self.at..].starts_with("\r\n");
        self.at += usize::from(carriage);
        self.eat(b'\n') || self.at == self.text.len()
    }

    fn row(&mut self) -> Result<Option<Vec<String>>, Problem> {
        if self.dialect.comment.is_some_and(|comment| self.peek() == Some(comment)) {
            self.at += self.text[self.at..].find('\n').map_or(self.text.len() - self.at, |end| end + 1);
            return Ok(None);
        }
        if self.end_of_row() {
            return Ok(None);
        }
        let mut row = vec![self.field()?];
        loop {
            if self.end_of_row() {
                return Ok(Some(row));
            }
            if !self.eat(self.dialect.separator) {
                return Err((self.at, "something stands after a quoted field"));
            }
            row.push(self.field()?);
        }
    }

    fn skip_blanks(&mut self) {
        while self.dialect.trim && self.eat(b' ') {}
    }

    fn field(&mut self) -> Result<String, Problem> {
        self.skip_blanks();
        let opened = self.at;
        if self.eat(self.dialect.quote) {
            let field = self.quoted(opened)?;
            self.skip_blanks();
            return Ok(field);
        }
        while let Some(byte) = self.peek() {
            if byte == self.dialect.separator || byte == b'\n' || self.text[self.at..].starts_with("\r\n") {
                break;
            }
            if byte == self.dialect.quote {
                return Err((self.at, "a quote stands inside an unquoted field"));
            }
            self.at += 1;
        }
        let field = &self.text[opened..self.at];
        Ok(if self.dialect.trim { field.trim() } else { field }.to_owned())
    }

    fn quoted(&mut self, opened: usize) -> Result<String, Problem> {
        let mut field = String::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.bytes().position(|byte| byte == self.dialect.quote);
            let end = end.ok_or((opened, "the quote is never closed"))?;
            field.push_str(&rest[..end]);
            self.at += end + 1;
            if !self.eat(self.dialect.quote) {
                return Ok(field);
            }
            field.push(char::from(self.dialect.quote));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialect, parse};
    use tally_text::Source;

    fn rows(text: &str, dialect: Dialect) -> Vec<Vec<String>> {
        parse(&Source::new("t", text), dialect).unwrap()
    }

    #[test]
    fn quotes_hide_separators_and_line_ends() {
        let text = "a,\"b,\"\"c\"\"\nd\",\r\n\n\"\",x";
        assert_eq!(rows(text, Dialect::default()), [vec!["a", "b,\"c\"\nd", ""], vec!["", "x"]]);
    }

    #[test]
    fn dialects_differ() {
        let dialect = Dialect { separator: b';', comment: Some(b'#'), trim: true, ..Dialect::default() };
        assert_eq!(rows("\u{feff}# note; more\n a ; b,c ; \" d\" \n# end", dialect), [["a", "b,c", " d"]]);
        assert_eq!(rows("a\tb", Dialect::tabs()), [["a", "b"]]);
    }

    #[test]
    fn errors_say_where() {
        let error = |text: &str| parse(&Source::new("t", text), Dialect::default()).unwrap_err().to_string();
        assert_eq!(error("a\nb,\"c"), "2:3: the quote is never closed");
        assert_eq!(error("a\"b\""), "1:2: a quote stands inside an unquoted field");
        assert_eq!(error("\"a\"b"), "1:4: something stands after a quoted field");
    }
}
