use crate::{Fault, Value};
use std::cmp::Ordering;
use tally_decimal::Decimal;

impl Value {
    /// Which comes first. Values of different kinds are ordered by kind: numbers, quantities, dates, texts, truth
    /// values; nothing counts as the zero of the other's kind. Texts are compared without regard to case.
    pub fn compare(&self, other: &Self) -> Result<Ordering, Fault> {
        match (self, other) {
            (Self::Fault(fault), _) | (_, Self::Fault(fault)) => Err(*fault),
            (Self::Empty, Self::Empty) => Ok(Ordering::Equal),
            (Self::Empty, _) => Ok(other.against_nothing().reverse()),
            (_, Self::Empty) => Ok(self.against_nothing()),
            (Self::Bool(a), Self::Bool(b)) => Ok(a.cmp(b)),
            (Self::Number(a), Self::Number(b)) => Ok(a.cmp(b)),
            (Self::Quantity(a), Self::Quantity(b)) => Ok(a.compare(*b)?),
            (Self::Date(a), Self::Date(b)) => Ok(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Ok(caseless(a).cmp(caseless(b))),
            _ => Ok(self.rank().cmp(&other.rank())),
        }
    }

    fn against_nothing(&self) -> Ordering {
        match self {
            Self::Bool(value) => value.cmp(&false),
            Self::Number(number) => number.cmp(&Decimal::ZERO),
            Self::Quantity(quantity) => quantity.amount().cmp(&Decimal::ZERO),
            Self::Text(text) => text.as_str().cmp(""),
            Self::Date(_) => Ordering::Greater,
            Self::Empty | Self::Fault(_) => Ordering::Equal,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Number(_) => 1,
            Self::Quantity(_) => 2,
            Self::Date(_) => 3,
            Self::Text(_) => 4,
            Self::Bool(_) => 5,
            Self::Fault(_) => 6,
        }
    }
}

fn caseless(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use crate::{Fault, Value};
    use std::cmp::Ordering;

    fn compare(a: &str, b: &str) -> Result<Ordering, Fault> {
        Value::from_input(a).compare(&Value::from_input(b))
    }

    #[test]
    fn values_of_a_kind_are_compared_by_what_they_mean() {
        assert_eq!(compare("1 km", "999 m"), Ok(Ordering::Greater));
        assert_eq!(compare("Äpfel", "äpfel"), Ok(Ordering::Equal));
        assert_eq!(compare("1 km", "1 kg"), Err(Fault::Unit));
        assert_eq!(compare("2023-12-31", "2024-01-01"), Ok(Ordering::Less));
    }

    #[test]
    fn nothing_is_like_zero() {
        assert_eq!(compare("", "0"), Ok(Ordering::Equal));
        assert_eq!(compare("", "-1"), Ok(Ordering::Greater));
        assert_eq!(compare("a", ""), Ok(Ordering::Greater));
    }

    #[test]
    fn kinds_have_an_order() {
        assert_eq!(compare("999", "a"), Ok(Ordering::Less));
        assert_eq!(compare("TRUE", "z"), Ok(Ordering::Greater));
    }
}
