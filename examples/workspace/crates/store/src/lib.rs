//! A shelf of links: everything in memory for reading, every change in an append-only journal first.

mod event;
mod journal;
mod shelf;

pub use event::Event;
pub use journal::{Journal, JournalError};
pub use shelf::{Found, Shelf, StoreError};
