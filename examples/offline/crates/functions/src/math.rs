use tally_decimal::{Decimal, Rounding};
use tally_value::{Fault, Value};

/// More places than a number can have do not change it.
fn places(places: Option<i32>) -> i32 {
    places.unwrap_or(0).clamp(-40, 40)
}

pub(crate) fn abs(value: Value) -> Result<Value, Fault> {
    match value {
        Value::Number(number) => Ok(Value::Number(number.abs())),
        Value::Quantity(quantity) => Ok(Value::Quantity(quantity.map(|amount| Some(amount.abs()))?)),
        other => Value::Number(Decimal::ZERO).add(&other),
    }
}

pub(crate) fn sign(number: Decimal) -> i32 {
    number.signum()
}

pub(crate) fn round(number: Decimal, to: Option<i32>) -> Decimal {
    number.round_with(places(to), Rounding::HalfUp)
}

pub(crate) fn roundup(number: Decimal, to: Option<i32>) -> Decimal {
    number.round_with(places(to), Rounding::Up)
}

pub(crate) fn rounddown(number: Decimal, to: Option<i32>) -> Decimal {
    number.round_with(places(to), Rounding::Down)
}

fn to_multiple(number: Decimal, step: Option<Decimal>, rounding: Rounding) -> Result<Decimal, Fault> {
    let step = step.unwrap_or(Decimal::ONE).abs();
    if step.is_zero() {
        return Err(Fault::Division);
    }
    let steps = number.checked_div(step).ok_or(Fault::Number)?.round_with(0, rounding);
    steps.checked_mul(step).ok_or(Fault::Number)
}

pub(crate) fn floor(number: Decimal, step: Option<Decimal>) -> Result<Decimal, Fault> {
    to_multiple(number, step, Rounding::Floor)
}

pub(crate) fn ceiling(number: Decimal, step: Option<Decimal>) -> Result<Decimal, Fault> {
    to_multiple(number, step, Rounding::Ceiling)
}

pub(crate) fn int(number: Decimal) -> Decimal {
    number.floor()
}

pub(crate) fn trunc(number: Decimal) -> Decimal {
    number.trunc()
}

pub(crate) fn r#mod(number: Decimal, divisor: Decimal) -> Result<Decimal, Fault> {
    if divisor.is_zero() {
        return Err(Fault::Division);
    }
    let rest = number.checked_rem(divisor).ok_or(Fault::Number)?;
    if rest.is_zero() || rest.is_negative() == divisor.is_negative() {
        Ok(rest)
    } else {
        rest.checked_add(divisor).ok_or(Fault::Number)
    }
}

pub(crate) fn quotient(number: Decimal, divisor: Decimal) -> Result<Decimal, Fault> {
    if divisor.is_zero() {
        return Err(Fault::Division);
    }
    Ok(number.checked_div(divisor).ok_or(Fault::Number)?.trunc())
}

pub(crate) fn sqrt(number: Decimal) -> Option<Decimal> {
    number.sqrt()
}

pub(crate) fn power(base: Value, exponent: Value) -> Result<Value, Fault> {
    base.power(&exponent)
}

pub(crate) fn exp(exponent: f64) -> f64 {
    exponent.exp()
}

pub(crate) fn ln(number: f64) -> Option<f64> {
    (number > 0.0).then(|| number.ln())
}

pub(crate) fn log(number: f64, base: Option<f64>) -> Option<f64> {
    let base = base.unwrap_or(10.0);
    // The logarithm to base 10 has a function of its own, which is exact for powers of ten.
    let logarithm = if base == 10.0 { number.log10() } else { number.log(base) };
    (number > 0.0 && base > 0.0 && base != 1.0).then_some(logarithm)
}

pub(crate) fn sin(angle: f64) -> f64 {
    angle.sin()
}

pub(crate) fn cos(angle: f64) -> f64 {
    angle.cos()
}

pub(crate) fn tan(angle: f64) -> f64 {
    angle.tan()
}

pub(crate) fn fact(number: u32) -> Option<Decimal> {
    // 33! has 37 digits, and 34! too many.
    (1..=number)
        .take(34)
        .try_fold(Decimal::ONE, |product, factor| product.checked_mul(factor.into()))
        .filter(|_| number < 34)
}

pub(crate) fn combin(all: u32, chosen: u32) -> Option<Decimal> {
    if chosen > all {
        return None;
    }
    // After each step the product is a number of combinations itself, so every division comes out even.
    (1..=chosen.min(all - chosen))
        .try_fold(Decimal::ONE, |ways, at| ways.checked_mul((all - at + 1).into())?.checked_div(at.into()))
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

pub(crate) fn gcd(numbers: Vec<u64>) -> u64 {
    numbers.into_iter().fold(0, divisor)
}

pub(crate) fn lcm(numbers: Vec<u64>) -> Option<u64> {
    numbers.into_iter().try_fold(1u64, |multiple, number| match number {
        0 => Some(0),
        _ => multiple.checked_mul(number / divisor(multiple, number)),
    })
}

/// Adds quantities as well as numbers; texts and the like are left out.
pub(crate) fn sum(values: Vec<Value>) -> Result<Value, Fault> {
    let mut total: Option<Value> = None;
    for value in values {
        match (value, &total) {
            (Value::Fault(fault), _) => return Err(fault),
            (value @ (Value::Number(_) | Value::Quantity(_)), None) => total = Some(value),
            (value @ (Value::Number(_) | Value::Quantity(_)), Some(so_far)) => total = Some(so_far.add(&value)?),
            _ => {}
        }
    }
    Ok(total.unwrap_or(Value::Number(Decimal::ZERO)))
}

pub(crate) fn product(numbers: Vec<Decimal>) -> Option<Decimal> {
    numbers.into_iter().try_fold(Decimal::ONE, Decimal::checked_mul)
}

pub(crate) fn sumsq(numbers: Vec<Decimal>) -> Option<Decimal> {
    numbers.into_iter().try_fold(Decimal::ZERO, |sum, number| sum.checked_add(number.checked_mul(number)?))
}

pub(crate) fn sumproduct(first: Vec<Value>, second: Vec<Value>) -> Result<Value, Fault> {
    if first.len() != second.len() {
        return Err(Fault::Type);
    }
    let products = first.iter().zip(&second).map(|(a, b)| a.multiply(b));
    sum(products.collect::<Result<_, _>>()?)
}
