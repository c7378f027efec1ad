use tally_calendar::Date;
use tally_decimal::Decimal;
use tally_finance::{Annuity, Due, Method, depreciate, internal_rate, net_present_value, rate_of_payments};
use tally_value::Fault;

/// The most periods a sheet computes with: a century of months.
const MAX_PERIODS: u32 = 1200;

/// The places that results are good for.
const PLACES: i32 = 12;

fn annuity(rate: Decimal, periods: u32, due: Option<bool>) -> Option<Annuity> {
    let due = if due.unwrap_or(false) { Due::Start } else { Due::End };
    let periods = i32::try_from(periods.clamp(0, MAX_PERIODS)).ok().filter(|_| periods <= MAX_PERIODS)?;
    Some(Annuity { due, ..Annuity::new(rate, periods) })
}

fn settled(amount: Option<Decimal>) -> Option<Decimal> {
    amount.map(|amount| amount.round(PLACES))
}

pub(crate) fn pv(
    rate: Decimal,
    periods: u32,
    payment: Decimal,
    future: Option<Decimal>,
    due: Option<bool>,
) -> Option<Decimal> {
    settled(annuity(rate, periods, due)?.present_value(payment, future.unwrap_or_default()))
}

pub(crate) fn fv(
    rate: Decimal,
    periods: u32,
    payment: Decimal,
    present: Option<Decimal>,
    due: Option<bool>,
) -> Option<Decimal> {
    settled(annuity(rate, periods, due)?.future_value(payment, present.unwrap_or_default()))
}

pub(crate) fn pmt(
    rate: Decimal,
    periods: u32,
    present: Decimal,
    future: Option<Decimal>,
    due: Option<bool>,
) -> Option<Decimal> {
    settled(annuity(rate, periods, due)?.payment(present, future.unwrap_or_default()))
}

pub(crate) fn rate(
    periods: u32,
    payment: Decimal,
    present: Decimal,
    future: Option<Decimal>,
    due: Option<bool>,
) -> Option<Decimal> {
    settled(annuity(Decimal::ZERO, periods, due)?.rate(payment, present, future.unwrap_or_default()))
}

pub(crate) fn npv(rate: Decimal, payments: Vec<Decimal>) -> Option<Decimal> {
    settled(net_present_value(rate, &payments))
}

pub(crate) fn irr(payments: Vec<Decimal>) -> Option<Decimal> {
    settled(internal_rate(&payments))
}

pub(crate) fn xirr(payments: Vec<Decimal>, dates: Vec<Date>) -> Result<Decimal, Fault> {
    if payments.len() != dates.len() {
        return Err(Fault::Type);
    }
    let payments: Vec<(Date, Decimal)> = dates.into_iter().zip(payments).collect();
    // Fractional powers are computed in floating point.
    rate_of_payments(&payments).map(|rate| rate.round(9)).ok_or(Fault::Number)
}

fn lost_in(method: Method, cost: Decimal, scrap: Decimal, years: u32, year: u32) -> Option<Decimal> {
    let lines = depreciate(cost, scrap, (years <= MAX_PERIODS).then_some(years)?, method)?;
    lines.into_iter().find(|line| line.year == year).map(|line| line.amount)
}

pub(crate) fn sln(cost: Decimal, scrap: Decimal, years: u32) -> Option<Decimal> {
    settled(cost.checked_sub(scrap)?.checked_div(years.into()))
}

pub(crate) fn syd(cost: Decimal, scrap: Decimal, years: u32, year: u32) -> Option<Decimal> {
    lost_in(Method::SumOfYears, cost, scrap, years, year)
}

pub(crate) fn ddb(cost: Decimal, scrap: Decimal, years: u32, year: u32) -> Option<Decimal> {
    lost_in(Method::DoubleDeclining, cost, scrap, years, year)
}
