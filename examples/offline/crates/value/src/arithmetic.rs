use crate::{Fault, Value};
use tally_calendar::Date;
use tally_decimal::Decimal;
use tally_units::{Quantity, Unit};

type Outcome = Result<Value, Fault>;

/// A number out of range is the only way for plain arithmetic to fail.
fn number(result: Option<Decimal>) -> Outcome {
    result.map(Value::Number).ok_or(Fault::Number)
}

fn quantity(result: Result<Result<Quantity, Decimal>, tally_units::UnitError>) -> Outcome {
    Ok(match result? {
        Ok(quantity) => Value::Quantity(quantity),
        Err(number) => Value::Number(number),
    })
}

/// What a value counts for when it is computed with.
enum Operand {
    Number(Decimal),
    Quantity(Quantity),
    Date(Date),
}

impl Operand {
    fn of(value: &Value) -> Result<Self, Fault> {
        match value {
            Value::Empty => Ok(Self::Number(Decimal::ZERO)),
            Value::Bool(value) => Ok(Self::Number(u8::from(*value).into())),
            Value::Number(number) => Ok(Self::Number(*number)),
            Value::Quantity(quantity) => Ok(Self::Quantity(*quantity)),
            Value::Date(date) => Ok(Self::Date(*date)),
            Value::Text(text) => text.trim().parse().map(Self::Number).map_err(|_| Fault::Type),
            Value::Fault(fault) => Err(*fault),
        }
    }
}

fn days(count: Decimal) -> Result<i32, Fault> {
    i32::try_from(count).ok().filter(|days| days.abs() < 10_000_000).ok_or(Fault::Number)
}

fn duration(quantity: Quantity) -> Result<i32, Fault> {
    days(quantity.convert(Unit::Days)?.amount())
}

impl Value {
    /// The sum: of numbers, of quantities of one kind, of a day and a number of days.
    pub fn add(&self, other: &Self) -> Outcome {
        match (Operand::of(self)?, Operand::of(other)?) {
            (Operand::Number(a), Operand::Number(b)) => number(a.checked_add(b)),
            (Operand::Quantity(a), Operand::Quantity(b)) => Ok(Self::Quantity(a.checked_add(b)?)),
            (Operand::Date(date), Operand::Number(n)) | (Operand::Number(n), Operand::Date(date)) => {
                Ok(Self::Date(date + days(n)?))
            }
            (Operand::Date(date), Operand::Quantity(q)) | (Operand::Quantity(q), Operand::Date(date)) => {
                Ok(Self::Date(date + duration(q)?))
            }
            (Operand::Date(_), Operand::Date(_)) => Err(Fault::Type),
            (Operand::Quantity(_), _) | (_, Operand::Quantity(_)) => Err(Fault::Unit),
        }
    }

    /// The difference: of numbers, of quantities of one kind, of days in days.
    pub fn subtract(&self, other: &Self) -> Outcome {
        match (Operand::of(self)?, Operand::of(other)?) {
            (Operand::Number(a), Operand::Number(b)) => number(a.checked_sub(b)),
            (Operand::Quantity(a), Operand::Quantity(b)) => Ok(Self::Quantity(a.checked_sub(b)?)),
            (Operand::Date(a), Operand::Date(b)) => Ok(Self::Number((a - b).into())),
            (Operand::Date(date), Operand::Number(n)) => Ok(Self::Date(date - days(n)?)),
            (Operand::Date(date), Operand::Quantity(q)) => Ok(Self::Date(date - duration(q)?)),
            (_, Operand::Date(_)) => Err(Fault::Type),
            (Operand::Quantity(_), _) | (_, Operand::Quantity(_)) => Err(Fault::Unit),
        }
    }

    /// The product; units are multiplied along.
    pub fn multiply(&self, other: &Self) -> Outcome {
        match (Operand::of(self)?, Operand::of(other)?) {
            (Operand::Number(a), Operand::Number(b)) => number(a.checked_mul(b)),
            (Operand::Quantity(q), Operand::Number(n)) | (Operand::Number(n), Operand::Quantity(q)) => {
                Ok(Self::Quantity(q.map(|amount| amount.checked_mul(n))?))
            }
            (Operand::Quantity(a), Operand::Quantity(b)) => quantity(a.checked_mul(b)),
            (Operand::Date(_), _) | (_, Operand::Date(_)) => Err(Fault::Type),
        }
    }

    /// The quotient; units are divided along.
    pub fn divide(&self, other: &Self) -> Outcome {
        let (a, b) = (Operand::of(self)?, Operand::of(other)?);
        let divisor = match &b {
            Operand::Number(number) => *number,
            Operand::Quantity(quantity) => quantity.amount(),
            Operand::Date(_) => return Err(Fault::Type),
        };
        if divisor.is_zero() {
            return Err(Fault::Division);
        }
        match (a, b) {
            (Operand::Number(a), Operand::Number(b)) => number(a.checked_div(b)),
            (Operand::Quantity(q), Operand::Number(n)) => Ok(Self::Quantity(q.map(|amount| amount.checked_div(n))?)),
            (Operand::Quantity(a), Operand::Quantity(b)) => quantity(a.checked_div(b)),
            (Operand::Number(_), Operand::Quantity(_)) => Err(Fault::Unit),
            (Operand::Date(_), _) | (_, Operand::Date(_)) => Err(Fault::Type),
        }
    }

    /// The power of a number. Exponents that are not integers are computed in floating point and rounded to 12 places.
    pub fn power(&self, exponent: &Self) -> Outcome {
        let (Operand::Number(base), Operand::Number(exponent)) = (Operand::of(self)?, Operand::of(exponent)?) else {
            return Err(Fault::Type);
        };
        if base.is_zero() && exponent.is_negative() {
            return Err(Fault::Division);
        }
        if let Ok(exponent) = i32::try_from(exponent) {
            return number(base.checked_powi(exponent));
        }
        let power = base.to_f64().powf(exponent.to_f64());
        number(Decimal::from_f64(power).map(|power| power.round(12)))
    }

    /// The number or quantity below zero instead of above.
    pub fn negate(&self) -> Outcome {
        match Operand::of(self)? {
            Operand::Number(number) => Ok(Self::Number(-number)),
            Operand::Quantity(quantity) => Ok(Self::Quantity(quantity.map(|amount| Some(-amount))?)),
            Operand::Date(_) => Err(Fault::Type),
        }
    }

    /// The same quantity in another unit; a plain number gets the unit.
    pub fn convert(&self, unit: Unit) -> Outcome {
        match Operand::of(self)? {
            Operand::Number(number) => Ok(Self::Quantity(Quantity::new(number, unit))),
            Operand::Quantity(quantity) => Ok(Self::Quantity(quantity.convert(unit)?)),
            Operand::Date(_) => Err(Fault::Type),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Fault, Value};

    fn value(text: &str) -> Value {
        Value::from_input(text)
    }

    #[test]
    fn days_are_counted() {
        assert_eq!(value("2024-02-28").add(&value("2")), Ok(value("2024-03-01")));
        assert_eq!(value("2024-02-28").add(&value("1 week")), Ok(value("2024-03-06")));
        assert_eq!(value("2024-03-01").subtract(&value("2024-02-01")), Ok(value("29")));
        assert_eq!(value("2024-03-01").add(&value("2024-03-01")), Err(Fault::Type));
    }

    #[test]
    fn units_follow_the_arithmetic() {
        assert_eq!(value("60 km/h").multiply(&value("30 min")), Ok(value("30000 m")));
        assert_eq!(value("6 m").divide(&value("2 m")), Ok(value("3")));
        assert_eq!(value("6 m").add(&value("2")), Err(Fault::Unit));
        assert_eq!(value("6 m").convert(tally_units::Unit::Centimetres), Ok(value("600 cm")));
    }

    #[test]
    fn nothing_counts_as_zero_and_faults_spread() {
        assert_eq!(value("").add(&value("TRUE")), Ok(value("1")));
        assert_eq!(value("1").divide(&value("")), Err(Fault::Division));
        assert_eq!(value("#N/A").multiply(&value("0")), Err(Fault::Missing));
        assert_eq!(value("apples").negate(), Err(Fault::Type));
        assert_eq!(value("2").power(&value("0.5")), Ok(value("1.414213562373")));
    }
}
