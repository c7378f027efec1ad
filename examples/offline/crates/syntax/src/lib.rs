//! The syntax tree of formulas: how it is read, written and walked.

mod cell;
mod operator;
mod parse;
mod print;
mod tree;
mod walk;

pub use cell::{CellRef, ParseCellError, Range};
pub use operator::{Binary, Unary};
pub use parse::parse;
pub use tree::{Expr, Kind};
pub use walk::{fold, references, walk};
