//! Dependency graphs: what must be computed before what, what a change reaches, and what can never be computed.

mod components;
mod graph;
mod order;

pub use graph::Graph;
pub use order::{Cycle, Schedule};
