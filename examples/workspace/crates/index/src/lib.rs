//! An inverted index over documents with weighted fields, and the query language that searches it.
//!
//! A query is a list of terms, all of which must match: `rust`, `"exact phrase"`, `title:rust`, `/as+ync/` for
//! words that match a pattern, and `-rust` for documents that must not match.

mod index;
mod query;
mod text;

pub use index::{Hit, Index};
pub use query::{Query, QueryError};
pub use shelf_derive::Document;
pub use text::words;

/// A searched part of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// The name queries use, as in `tag:rust`.
    pub name: &'static str,
    /// What one hit in this field adds to the score.
    pub weight: f32,
}

/// What the index holds. Derive it: see [`derive@Document`].
pub trait Document {
    /// Hands every searched field to `sink`, in a fixed order. The same field may come several times.
    fn visit(&self, sink: &mut dyn FnMut(Field, &str));
}
