//! Rows of text as structs. Derive [`Record`] for the struct and, for enums among its fields, [`FieldValue`].

// The derives name this crate, and its own tests use them.
extern crate self as tally_record;

mod error;
mod field;
mod row;

pub use error::RecordError;
pub use field::FieldValue;
pub use row::{Record, Row};
pub use tally_derive::{FieldValue, Record};
