//! Reads and writes comma-separated values (RFC 4180), as plain rows or as records.

mod read;
mod typed;
mod write;

pub use read::{Dialect, Error, parse};
pub use typed::{TypedError, read_records, write_records};
pub use write::{Quoting, Writer};
