use tally_calendar::{Date, Holidays, format};
use tally_value::Fault;

/// The furthest a date is moved: about 2700 years.
const MAX_DAYS: i32 = 1_000_000;
const MAX_MONTHS: i32 = MAX_DAYS / 30;

fn within(count: i32, most: i32) -> Result<i32, Fault> {
    if (-most..=most).contains(&count) { Ok(count) } else { Err(Fault::Number) }
}

pub(crate) fn date(year: i32, month: u32, day: u32) -> Option<Date> {
    Date::new(year, month, day)
}

pub(crate) fn year(date: Date) -> i32 {
    date.year()
}

pub(crate) fn month(date: Date) -> u32 {
    date.month()
}

pub(crate) fn day(date: Date) -> u32 {
    date.day()
}

pub(crate) fn weekday(date: Date) -> usize {
    date.weekday().index() + 1
}

pub(crate) fn weeknum(date: Date) -> u32 {
    date.iso_week().1
}

pub(crate) fn edate(date: Date, months: i32) -> Result<Date, Fault> {
    Ok(date.add_months(within(months, MAX_MONTHS)?))
}

pub(crate) fn eomonth(date: Date, months: Option<i32>) -> Result<Date, Fault> {
    Ok(date.add_months(within(months.unwrap_or(0), MAX_MONTHS)?).end_of_month())
}

pub(crate) fn days(end: Date, start: Date) -> i32 {
    end - start
}

pub(crate) fn years(end: Date, start: Date) -> i32 {
    end.years_since(start)
}

pub(crate) fn easter(year: i32) -> Result<Date, Fault> {
    Ok(tally_calendar::easter(within(year, 9999)?))
}

pub(crate) fn workday(start: Date, count: i32) -> Result<Date, Fault> {
    Ok(Holidays::target().add_working_days(start, within(count, 10_000)?))
}

pub(crate) fn networkdays(start: Date, end: Date) -> Result<usize, Fault> {
    within(end - start, 100_000)?;
    Ok(Holidays::target().working_days(start, end))
}

pub(crate) fn datetext(date: Date, pattern: String) -> String {
    format(date, &pattern)
}
