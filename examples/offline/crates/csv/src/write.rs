use crate::Dialect;
use std::io::{self, Write};

/// Which fields are put in quotes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Quoting {
    /// Those that could not be read back otherwise.
    #[default]
    Needed,
    /// All.
    Always,
}

/// Writes rows.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    dialect: Dialect,
    quoting: Quoting,
}

impl<W: Write> Writer<W> {
    /// Writes to anything, in the usual dialect and with quotes only where they are needed.
    pub fn new(out: W) -> Self {
        Self { out, dialect: Dialect::default(), quoting: Quoting::default() }
    }

    /// Uses other characters.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Puts more fields in quotes.
    #[must_use]
    pub fn with_quoting(mut self, quoting: Quoting) -> Self {
        self.quoting = quoting;
        self
    }

    /// Writes one row.
    pub fn row<T: AsRef<str>>(&mut self, fields: impl IntoIterator<Item = T>) -> io::Result<()> {
        let mut line = String::new();
        let (separator, quote) = (char::from(self.dialect.separator), char::from(self.dialect.quote));
        for (column, field) in fields.into_iter().enumerate() {
            if column > 0 {
                line.push(separator);
            }
            let field = field.as_ref();
            if self.quoting == Quoting::Always || self.needs_quotes(column, field) {
                let doubled = field.replace(quote, &format!("{quote}{quote}"));
                line.extend([quote]);
                line.push_str(&doubled);
                line.push(quote);
            } else {
                line.push_str(field);
            }
        }
        if line.is_empty() {
            // A blank line would be skipped when it is read.
            line.extend([quote, quote]);
        }
        line.push('\n');
        self.out.write_all(line.as_bytes())
    }

    fn needs_quotes(&self, column: usize, field: &str) -> bool {
        let special = [self.dialect.separator, self.dialect.quote, b'\n', b'\r'];
        let comment = column == 0 && self.dialect.comment.is_some_and(|byte| field.as_bytes().first() == Some(&byte));
        let trimmed = self.dialect.trim && field.trim() != field;
        comment || trimmed || field.bytes().any(|byte| special.contains(&byte))
    }

    /// The writer given at the start.
    pub fn into_inner(self) -> W {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::{Quoting, Writer};
    use crate::{Dialect, parse};
    use tally_text::Source;

    #[test]
    fn what_is_written_is_read_back() {
        let rows = [vec!["a", "b,c", "\"d\"", "e\nf", ""], vec!["#x", " y "], vec![""]];
        let dialects = [Dialect::default(), Dialect { comment: Some(b'#'), trim: true, ..Dialect::tabs() }];
        for (dialect, quoting) in dialects.into_iter().flat_map(|d| [(d, Quoting::Needed), (d, Quoting::Always)]) {
            let mut writer = Writer::new(Vec::new()).with_dialect(dialect).with_quoting(quoting);
            for row in &rows {
                writer.row(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner()).unwrap();
            assert_eq!(parse(&Source::new("t", text), dialect).unwrap(), rows, "{dialect:?}");
        }
    }
}
