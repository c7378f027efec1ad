//! Descriptive statistics and regression, exact for decimals and fast for floats.

mod describe;
mod histogram;
mod regression;
mod sample;

pub use describe::{Summary, describe};
pub use histogram::{Bin, histogram};
pub use regression::{Trend, correlation, exponential_trend, linear_trend, polynomial_trend};
pub use sample::Sample;
