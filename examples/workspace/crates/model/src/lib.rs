//! The types a shelf is made of, and the rules for what may go on one.

mod address;
mod link;
mod tag;

pub use address::{Address, AddressError};
pub use link::{Link, NewLink};
pub use tag::{Tag, TagError};
