use std::fmt;

/// Why a row is not the record that was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecordError {
    /// The table has no such column.
    Missing {
        /// Its heading.
        heading: String,
    },
    /// The text in a column is no value of its type.
    Invalid {
        /// The heading of the column.
        heading: String,
        /// What stands there.
        text: String,
        /// What should.
        expected: &'static str,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { heading } => write!(formatter, "there is no column {heading:?}"),
            Self::Invalid { heading, text, expected } => {
                write!(formatter, "{text:?} in column {heading:?} should be {expected}")
            }
        }
    }
}

impl std::error::Error for RecordError {}
