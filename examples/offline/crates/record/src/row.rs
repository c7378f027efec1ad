use crate::{FieldValue, RecordError};

/// One row of a table, whose columns are found by their headings.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    headings: &'a [String],
    fields: &'a [String],
}

impl<'a> Row<'a> {
    /// Puts fields under headings; a row shorter than the table has its last columns empty.
    pub const fn new(headings: &'a [String], fields: &'a [String]) -> Self {
        Self { headings, fields }
    }

    /// The text under a heading, if the table has it. Case and blanks around headings do not matter.
    pub fn get(&self, heading: &str) -> Option<&'a str> {
        let same = |other: &String| other.trim().to_lowercase() == heading.to_lowercase();
        let column = self.headings.iter().position(same)?;
        Some(self.fields.get(column).map(String::as_str).unwrap_or_default())
    }

    /// The value under a heading.
    pub fn read<T: FieldValue>(&self, heading: &str) -> Result<T, RecordError> {
        match self.get(heading) {
            Some(text) => value(heading, text),
            None => Err(RecordError::Missing { heading: heading.to_owned() }),
        }
    }

    /// The value under a heading, or its default if the column is missing or the field empty.
    pub fn read_or_default<T: Default + FieldValue>(&self, heading: &str) -> Result<T, RecordError> {
        match self.get(heading) {
            Some(text) if !text.trim().is_empty() => value(heading, text),
            _ => Ok(T::default()),
        }
    }
}

fn value<T: FieldValue>(heading: &str, text: &str) -> Result<T, RecordError> {
    T::from_field(text).ok_or_else(|| RecordError::Invalid {
        heading: heading.to_owned(),
        text: text.to_owned(),
        expected: T::EXPECTED,
    })
}

/// A struct that a row can be read into and written from. Derive it: see [`derive@crate::Record`].
pub trait Record: Sized {
    /// The headings, in the order of the fields.
    const HEADINGS: &'static [&'static str];

    /// Reads the columns this record has headings for, wherever they stand.
    fn from_row(row: &Row<'_>) -> Result<Self, RecordError>;

    /// The fields, in the order of the headings.
    fn to_fields(&self) -> Vec<String>;
}
