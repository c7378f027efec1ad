use tally_decimal::{Decimal, Rounding};
use tally_value::{Fault, Value};

/// The longest text a function makes.
const MAX_LENGTH: usize = 32_767;

pub(crate) fn len(text: String) -> usize {
    text.chars().count()
}

pub(crate) fn upper(text: String) -> String {
    text.to_uppercase()
}

pub(crate) fn lower(text: String) -> String {
    text.to_lowercase()
}

pub(crate) fn proper(text: String) -> String {
    let mut inside = false;
    let mut proper = String::with_capacity(text.len());
    for char in text.chars() {
        if inside {
            proper.extend(char.to_lowercase());
        } else {
            proper.extend(char.to_uppercase());
        }
        inside = char.is_alphanumeric();
    }
    proper
}

pub(crate) fn trim(text: String) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn left(text: String, count: Option<usize>) -> String {
    text.chars().take(count.unwrap_or(1)).collect()
}

pub(crate) fn right(text: String, count: Option<usize>) -> String {
    let skipped = text.chars().count().saturating_sub(count.unwrap_or(1));
    text.chars().skip(skipped).collect()
}

pub(crate) fn mid(text: String, start: usize, count: usize) -> Option<String> {
    Some(text.chars().skip(start.checked_sub(1)?).take(count).collect())
}

pub(crate) fn find(part: String, text: String, start: Option<usize>) -> Result<usize, Fault> {
    let skipped = start.unwrap_or(1).checked_sub(1).ok_or(Fault::Number)?;
    let from = text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at);
    let found = text[from..].find(&part).ok_or(Fault::Missing)?;
    Ok(text[..from + found].chars().count() + 1)
}

pub(crate) fn substitute(text: String, old: String, new: String) -> Result<String, Fault> {
    if old.is_empty() {
        return Ok(text);
    }
    bounded(text.replace(&old, &new))
}

pub(crate) fn rept(text: String, count: usize) -> Result<String, Fault> {
    if text.len().saturating_mul(count) > MAX_LENGTH { Err(Fault::Number) } else { Ok(text.repeat(count)) }
}

fn bounded(text: String) -> Result<String, Fault> {
    if text.len() > MAX_LENGTH { Err(Fault::Number) } else { Ok(text) }
}

pub(crate) fn concat(values: Vec<Value>) -> Result<String, Fault> {
    join(String::new(), values)
}

pub(crate) fn join(separator: String, values: Vec<Value>) -> Result<String, Fault> {
    if let Some(fault) = values.iter().find_map(Value::fault) {
        return Err(fault);
    }
    bounded(values.iter().map(Value::to_string).collect::<Vec<_>>().join(&separator))
}

pub(crate) fn exact(first: String, second: String) -> bool {
    first == second
}

pub(crate) fn value(text: String) -> Result<Decimal, Fault> {
    match Value::from_input(&text) {
        Value::Number(number) => Ok(number),
        _ => Err(Fault::Type),
    }
}

pub(crate) fn fixed(number: Decimal, places: Option<usize>) -> String {
    let places = places.unwrap_or(2).min(28);
    let rounded = number.round_with(i32::try_from(places).unwrap_or(28), Rounding::HalfUp);
    format!("{rounded:.places$}")
}

pub(crate) fn char(code: u32) -> Option<String> {
    char::from_u32(code).map(String::from)
}

pub(crate) fn code(text: String) -> Result<u32, Fault> {
    text.chars().next().map(u32::from).ok_or(Fault::Type)
}
