use crate::Fault;
use std::fmt;
use tally_calendar::Date;
use tally_decimal::Decimal;
use tally_units::{Quantity, Unit};

/// What a cell can hold.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Empty,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(Decimal),
    /// A number with a unit.
    Quantity(Quantity),
    /// A day.
    Date(Date),
    /// Anything else.
    Text(String),
    /// Why there is no value.
    Fault(Fault),
}

impl Value {
    /// What somebody means who types this into a cell: a number if it looks like one, and so on; else text.
    pub fn from_input(text: &str) -> Self {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Self::Empty;
        }
        let percent = |text: &str| text.strip_suffix('%')?.trim_end().parse::<Decimal>().ok()?.checked_div(100.into());
        let quantity = |text: &str| {
            let (amount, symbol) = text.split_once(' ')?;
            Some(Quantity::new(amount.parse().ok()?, Unit::from_symbol(symbol.trim())?))
        };
        match trimmed {
            "TRUE" | "true" => return Self::Bool(true),
            "FALSE" | "false" => return Self::Bool(false),
            _ => {}
        }
        trimmed
            .parse()
            .map(Self::Number)
            .or_else(|_| trimmed.parse().map(Self::Date))
            .or_else(|_| trimmed.parse().map(Self::Fault))
            .ok()
            .or_else(|| percent(trimmed).map(Self::Number))
            .or_else(|| quantity(trimmed).map(Self::Quantity))
            .unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// What kind it is, as messages call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "nothing",
            Self::Bool(_) => "a truth value",
            Self::Number(_) => "a number",
            Self::Quantity(_) => "a quantity",
            Self::Date(_) => "a date",
            Self::Text(_) => "a text",
            Self::Fault(_) => "a fault",
        }
    }

    /// Whether it stands at the right of its cell.
    pub const fn is_numeric(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Quantity(_) | Self::Date(_))
    }

    /// The fault, if it is one.
    pub const fn fault(&self) -> Option<Fault> {
        match self {
            Self::Fault(fault) => Some(*fault),
            _ => None,
        }
    }

    /// The value with its number rounded to so many places, if it has one.
    #[must_use]
    pub fn rounded(self, places: i32) -> Self {
        match self {
            Self::Number(number) => Self::Number(number.round(places)),
            Self::Quantity(quantity) => Self::Quantity(Quantity::new(quantity.amount().round(places), quantity.unit())),
            other => other,
        }
    }
}

impl fmt::Display for Value {
    /// Honours the precision of numbers.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Bool(value) => formatter.write_str(if *value { "TRUE" } else { "FALSE" }),
            Self::Number(number) => number.fmt(formatter),
            Self::Quantity(quantity) => quantity.fmt(formatter),
            Self::Date(date) => date.fmt(formatter),
            Self::Text(text) => formatter.write_str(text),
            Self::Fault(fault) => fault.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Value;
    use crate::Fault;
    use tally_decimal::Decimal;

    #[test]
    fn input_is_taken_for_what_it_looks_like() {
        assert_eq!(Value::from_input(" 12.50 "), Value::Number(Decimal::new(125, 1)));
        assert_eq!(Value::from_input("19 %"), Value::Number(Decimal::new(19, 2)));
        assert_eq!(Value::from_input("  "), Value::Empty);
        assert_eq!(Value::from_input("#N/A"), Value::Fault(Fault::Missing));
        assert_eq!(Value::from_input("true"), Value::Bool(true));
        assert!(matches!(Value::from_input("2024-02-29"), Value::Date(_)));
        assert!(matches!(Value::from_input("2024-02-30"), Value::Text(_)));
        assert!(matches!(Value::from_input("5 km/h"), Value::Quantity(_)));
        assert!(matches!(Value::from_input("5 apples"), Value::Text(_)));
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["12.5", "TRUE", "2024-02-29", "5 km/h", "#DIV/0!", "some text", ""] {
            assert_eq!(Value::from_input(text).to_string(), text);
        }
    }
}
