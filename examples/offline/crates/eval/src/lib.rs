//! Computes what a formula comes to.

mod check;
mod evaluate;
mod scope;
mod simplify;

pub use check::check;
pub use evaluate::evaluate;
pub use scope::{NoCells, Scope};
pub use simplify::simplify;
