//! Interest, annuities, depreciation and rates of return, to the last cent.

mod annuity;
mod depreciation;
mod loan;
mod rate;

pub use annuity::{Annuity, Due};
pub use depreciation::{Method, WriteOff, depreciate};
pub use loan::{Instalment, Loan};
pub use rate::{internal_rate, net_present_value, rate_of_payments};
