use crate::{Dialect, Error, Writer, parse};
use std::fmt;
use std::io::{self, Write};
use tally_record::{Record, RecordError, Row};
use tally_text::Source;

/// Why a text is not a table of records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TypedError {
    /// It is not a table.
    Syntax(Error),
    /// A row is not the record asked for.
    Row {
        /// Which, counted from 1 below the headings.
        row: usize,
        /// Why not.
        error: RecordError,
    },
}

impl fmt::Display for TypedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => error.fmt(formatter),
            Self::Row { row, error } => write!(formatter, "row {row}: {error}"),
        }
    }
}

impl std::error::Error for TypedError {}

/// Reads a table whose first row has the headings.
pub fn read_records<R: Record>(source: &Source, dialect: Dialect) -> Result<Vec<R>, TypedError> {
    let rows = parse(source, dialect).map_err(TypedError::Syntax)?;
    let Some((headings, rows)) = rows.split_first() else { return Ok(Vec::new()) };
    let records = (1..)
        .zip(rows)
        .map(|(row, fields)| R::from_row(&Row::new(headings, fields)).map_err(|error| TypedError::Row { row, error }));
    records.collect()
}

/// Writes a table with its headings.
pub fn write_records<'a, R: Record + 'a>(out: impl Write, records: impl IntoIterator<Item = &'a R>) -> io::Result<()> {
    let mut writer = Writer::new(out);
    writer.row(R::HEADINGS)?;
    records.into_iter().try_for_each(|record| writer.row(record.to_fields()))
}

#[cfg(test)]
mod tests {
    use super::{TypedError, read_records, write_records};
    use crate::Dialect;
    use tally_record::Record;
    use tally_text::Source;

    #[derive(Debug, PartialEq, Record)]
    struct Item {
        name: String,
        count: u32,
    }

    #[test]
    fn records_survive_a_table() {
        let items = [Item { name: "bolt, long".into(), count: 12 }, Item { name: "nut".into(), count: 24 }];
        let mut text = Vec::new();
        write_records(&mut text, &items).unwrap();
        let source = Source::new("items", String::from_utf8(text).unwrap());
        assert_eq!(read_records(&source, Dialect::default()), Ok(Vec::from(items)));
    }

    #[test]
    fn a_bad_row_is_named() {
        let source = Source::new("items", "count,name\n1,bolt\nmany,nut\n");
        let error = read_records::<Item>(&source, Dialect::default()).unwrap_err();
        assert!(matches!(error, TypedError::Row { row: 2, .. }), "{error}");
    }
}
