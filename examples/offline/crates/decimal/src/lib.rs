//! Exact decimal numbers: `0.1 + 0.2` is `0.3`. Up to 28 places after the point, about 38 digits in all; results with
//! more are rounded to even.

mod arithmetic;
mod convert;
mod number;
mod operators;
mod parse;
mod round;
mod wide;

pub use convert::ConvertError;
pub use number::{Decimal, MAX_SCALE};
pub use parse::ParseDecimalError;
pub use round::Rounding;
