//! Civil dates, working days and schedules, in the Gregorian calendar for all time.

mod date;
mod easter;
mod format;
mod holidays;
mod month;
mod schedule;
mod weekday;

pub use date::Date;
pub use easter::easter;
pub use format::{ParseDateError, format};
pub use holidays::{Holiday, Holidays, Rule};
pub use month::Month;
pub use schedule::{Every, Schedule};
pub use weekday::Weekday;
