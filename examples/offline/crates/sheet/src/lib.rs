//! Cells, and the order in which they are computed.

mod cell;
mod explain;
mod load;
mod sheet;

pub use cell::{Cell, Content};
pub use explain::{Explanation, Step};
pub use load::load;
pub use sheet::Sheet;
