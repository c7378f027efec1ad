//! Matrices whose size is part of their type, of exact or floating-point numbers, and what is solved with them.

mod decompose;
mod fit;
mod matrix;
mod operators;
mod scalar;

pub use decompose::Decomposition;
pub use fit::{MAX_DEGREE, fit_polynomial};
pub use matrix::{Matrix, Vector};
pub use scalar::Scalar;
