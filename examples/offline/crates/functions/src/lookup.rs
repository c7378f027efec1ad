use crate::{math, statistics};
use std::cmp::Ordering;
use tally_decimal::Decimal;
use tally_units::{Quantity, Unit};
use tally_value::{Fault, Value};

fn same(a: &Value, b: &Value) -> bool {
    // What cannot be compared is not the same.
    a.compare(b) == Ok(Ordering::Equal)
}

pub(crate) fn index(values: Vec<Value>, place: usize) -> Result<Value, Fault> {
    let value = place.checked_sub(1).and_then(|at| values.into_iter().nth(at));
    value.ok_or(Fault::Missing)
}

pub(crate) fn r#match(value: Value, values: Vec<Value>) -> Result<usize, Fault> {
    let found = values.iter().position(|other| same(&value, other));
    found.map(|at| at + 1).ok_or(Fault::Missing)
}

pub(crate) fn lookup(value: Value, keys: Vec<Value>, values: Vec<Value>) -> Result<Value, Fault> {
    index(values, r#match(value, keys)?)
}

/// The values whose keys are the one wanted.
fn beside(keys: &[Value], key: &Value, values: Vec<Value>) -> Vec<Value> {
    keys.iter().zip(values).filter(|(other, _)| same(key, other)).map(|(_, value)| value).collect()
}

pub(crate) fn sumif(keys: Vec<Value>, key: Value, numbers: Vec<Value>) -> Result<Value, Fault> {
    math::sum(beside(&keys, &key, numbers))
}

pub(crate) fn countif(keys: Vec<Value>, key: Value) -> usize {
    keys.iter().filter(|other| same(&key, other)).count()
}

pub(crate) fn averageif(keys: Vec<Value>, key: Value, numbers: Vec<Value>) -> Result<Value, Fault> {
    let numbers = beside(&keys, &key, numbers);
    let count = Value::Number(Decimal::from(u64::try_from(statistics::count(numbers.clone())).unwrap_or_default()));
    math::sum(numbers)?.divide(&count)
}

pub(crate) fn convert(value: Value, unit: String) -> Result<Value, Fault> {
    value.convert(Unit::from_symbol(&unit).ok_or(Fault::Name)?)
}

pub(crate) fn amount(quantity: Quantity) -> Decimal {
    quantity.amount()
}
