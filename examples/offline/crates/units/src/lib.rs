//! Units of measure. [`Quantity`] finds out at run time what goes together; the types made from `units.txt`, such as
//! [`Length`], do so when a program is compiled.

#[cfg(imperial_units)]
mod imperial;
mod quantity;
mod typed;

#[cfg(imperial_units)]
pub use imperial::feet_and_inches;
pub use quantity::{Quantity, UnitError};
pub use typed::*;

/// A digest of the table that the units were made from: two programs with the same one agree about every unit.
pub const TABLE_DIGEST: &str = env!("TALLY_UNITS_DIGEST");
