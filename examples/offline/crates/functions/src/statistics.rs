use tally_decimal::Decimal;
use tally_stats::{Sample, Trend, correlation, exponential_trend, linear_trend};
use tally_value::{Fault, Value};

type Numbers = Vec<Decimal>;

fn sample(numbers: Numbers) -> Sample<Decimal> {
    numbers.into_iter().collect()
}

/// Without any numbers there is nothing to divide by.
fn figure(numbers: Numbers, figure: impl Fn(&Sample<Decimal>) -> Option<Decimal>) -> Result<Decimal, Fault> {
    if numbers.is_empty() {
        return Err(Fault::Division);
    }
    figure(&sample(numbers)).ok_or(Fault::Number)
}

pub(crate) fn count(values: Vec<Value>) -> usize {
    values.iter().filter(|value| value.is_numeric()).count()
}

pub(crate) fn counta(values: Vec<Value>) -> usize {
    values.iter().filter(|value| **value != Value::Empty).count()
}

pub(crate) fn average(numbers: Numbers) -> Result<Decimal, Fault> {
    figure(numbers, Sample::mean)
}

pub(crate) fn harmean(numbers: Numbers) -> Result<Decimal, Fault> {
    figure(numbers, Sample::harmonic_mean)
}

pub(crate) fn median(numbers: Numbers) -> Result<Decimal, Fault> {
    figure(numbers, Sample::median)
}

pub(crate) fn mode(numbers: Numbers) -> Result<Decimal, Fault> {
    sample(numbers).mode().ok_or(Fault::Missing)
}

/// The value that no other one comes before, or after.
fn extreme(values: Vec<Value>, wanted: std::cmp::Ordering) -> Result<Value, Fault> {
    let mut best: Option<Value> = None;
    for value in values {
        if let Some(fault) = value.fault() {
            return Err(fault);
        }
        if !value.is_numeric() {
            continue;
        }
        best = match best {
            Some(best) if value.compare(&best)? != wanted => Some(best),
            _ => Some(value),
        };
    }
    Ok(best.unwrap_or(Value::Number(Decimal::ZERO)))
}

pub(crate) fn min(values: Vec<Value>) -> Result<Value, Fault> {
    extreme(values, std::cmp::Ordering::Less)
}

pub(crate) fn max(values: Vec<Value>) -> Result<Value, Fault> {
    extreme(values, std::cmp::Ordering::Greater)
}

pub(crate) fn var(numbers: Numbers) -> Result<Decimal, Fault> {
    figure(numbers, Sample::variance)
}

pub(crate) fn varp(numbers: Numbers) -> Result<Decimal, Fault> {
    figure(numbers, Sample::population_variance)
}

pub(crate) fn stdev(numbers: Numbers) -> Result<Decimal, Fault> {
    figure(numbers, Sample::deviation)
}

pub(crate) fn avedev(numbers: Numbers) -> Result<Decimal, Fault> {
    figure(numbers, Sample::mean_distance)
}

pub(crate) fn skew(numbers: Numbers) -> Result<Decimal, Fault> {
    figure(numbers, Sample::skewness)
}

pub(crate) fn kurt(numbers: Numbers) -> Result<Decimal, Fault> {
    figure(numbers, Sample::kurtosis)
}

pub(crate) fn percentile(numbers: Numbers, part: Decimal) -> Result<Decimal, Fault> {
    figure(numbers, |sample| sample.quantile(part))
}

pub(crate) fn rank(number: Decimal, numbers: Numbers) -> Result<usize, Fault> {
    if !numbers.contains(&number) {
        return Err(Fault::Missing);
    }
    Ok(numbers.iter().filter(|&&other| other > number).count() + 1)
}

pub(crate) fn large(numbers: Numbers, place: usize) -> Option<Decimal> {
    sample(numbers).sorted().iter().rev().nth(place.checked_sub(1)?).copied()
}

pub(crate) fn small(numbers: Numbers, place: usize) -> Option<Decimal> {
    sample(numbers).sorted().get(place.checked_sub(1)?).copied()
}

fn pairs(xs: Numbers, ys: Numbers) -> Result<Vec<(Decimal, Decimal)>, Fault> {
    if xs.len() == ys.len() { Ok(xs.into_iter().zip(ys).collect()) } else { Err(Fault::Type) }
}

fn line(ys: Numbers, xs: Numbers) -> Result<Trend<Decimal>, Fault> {
    linear_trend(&pairs(xs, ys)?).ok_or(Fault::Number)
}

/// Hides what the last places lost on the way.
fn settled(number: Option<Decimal>) -> Result<Decimal, Fault> {
    number.map(|number| number.round(15)).ok_or(Fault::Number)
}

pub(crate) fn correl(first: Numbers, second: Numbers) -> Result<Decimal, Fault> {
    settled(correlation(&pairs(first, second)?))
}

pub(crate) fn slope(ys: Numbers, xs: Numbers) -> Result<Decimal, Fault> {
    settled(line(ys, xs)?.coefficients.get(1).copied())
}

pub(crate) fn intercept(ys: Numbers, xs: Numbers) -> Result<Decimal, Fault> {
    settled(line(ys, xs)?.coefficients.first().copied())
}

pub(crate) fn forecast(x: Decimal, ys: Numbers, xs: Numbers) -> Result<Decimal, Fault> {
    settled(line(ys, xs)?.at(x))
}

pub(crate) fn rsq(ys: Numbers, xs: Numbers) -> Result<Decimal, Fault> {
    settled(Some(line(ys, xs)?.fit))
}

pub(crate) fn growth(x: f64, ys: Numbers, xs: Numbers) -> Result<f64, Fault> {
    let trend = exponential_trend(&pairs(xs, ys)?).ok_or(Fault::Number)?;
    match trend.coefficients[..] {
        [start, factor] => Ok(start * factor.powf(x)),
        _ => Err(Fault::Number),
    }
}
