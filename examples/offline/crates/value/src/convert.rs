use crate::{Fault, Value};
use tally_calendar::Date;
use tally_decimal::Decimal;
use tally_units::Quantity;

/// What a function can take.
pub trait FromValue: Sized {
    /// Makes the most of a value that stands alone: a text that looks like a number is one.
    fn from_value(value: Value) -> Result<Self, Fault>;

    /// Takes a value out of a range, or passes over it: a sum leaves headings out.
    fn from_item(value: Value) -> Result<Option<Self>, Fault> {
        match value {
            Value::Empty => Ok(None),
            value => Self::from_value(value).map(Some),
        }
    }
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, Fault> {
        Ok(value)
    }

    fn from_item(value: Value) -> Result<Option<Self>, Fault> {
        Ok(Some(value))
    }
}

impl FromValue for Decimal {
    fn from_value(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Number(number) => Ok(number),
            Value::Empty => Ok(Self::ZERO),
            Value::Bool(value) => Ok(u8::from(value).into()),
            Value::Text(text) => text.trim().parse().map_err(|_| Fault::Type),
            Value::Fault(fault) => Err(fault),
            Value::Quantity(_) => Err(Fault::Unit),
            Value::Date(_) => Err(Fault::Type),
        }
    }

    fn from_item(value: Value) -> Result<Option<Self>, Fault> {
        match value {
            Value::Number(number) => Ok(Some(number)),
            Value::Fault(fault) => Err(fault),
            Value::Quantity(_) => Err(Fault::Unit),
            Value::Empty | Value::Bool(_) | Value::Text(_) | Value::Date(_) => Ok(None),
        }
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl FromValue for $integer {
            /// Places after the point are cut off.
            fn from_value(value: Value) -> Result<Self, Fault> {
                Decimal::from_value(value)?.trunc().try_into().map_err(|_| Fault::Number)
            }
        }
    )*};
}

integers!(i32 i64 u8 u32 u64);

impl FromValue for usize {
    fn from_value(value: Value) -> Result<Self, Fault> {
        Self::try_from(u32::from_value(value)?).map_err(|_| Fault::Number)
    }
}

impl FromValue for f64 {
    fn from_value(value: Value) -> Result<Self, Fault> {
        Decimal::from_value(value).map(Decimal::to_f64)
    }

    fn from_item(value: Value) -> Result<Option<Self>, Fault> {
        Ok(Decimal::from_item(value)?.map(Decimal::to_f64))
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Bool(value) => Ok(value),
            Value::Empty => Ok(false),
            Value::Number(number) => Ok(!number.is_zero()),
            Value::Fault(fault) => Err(fault),
            Value::Quantity(_) | Value::Date(_) | Value::Text(_) => Err(Fault::Type),
        }
    }

    fn from_item(value: Value) -> Result<Option<Self>, Fault> {
        match value {
            Value::Empty | Value::Text(_) => Ok(None),
            value => Self::from_value(value).map(Some),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Text(text) => Ok(text),
            Value::Fault(fault) => Err(fault),
            value => Ok(value.to_string()),
        }
    }
}

impl FromValue for Date {
    fn from_value(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Date(date) => Ok(date),
            Value::Text(text) => text.trim().parse().map_err(|_| Fault::Type),
            Value::Fault(fault) => Err(fault),
            Value::Empty | Value::Bool(_) | Value::Number(_) | Value::Quantity(_) => Err(Fault::Type),
        }
    }
}

impl FromValue for Quantity {
    fn from_value(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Quantity(quantity) => Ok(quantity),
            Value::Fault(fault) => Err(fault),
            _ => Err(Fault::Unit),
        }
    }
}

/// What a function can return.
pub trait IntoValue {
    /// The value; a fault is one too.
    fn into_value(self) -> Value;
}

impl<T: IntoValue> IntoValue for Result<T, Fault> {
    fn into_value(self) -> Value {
        self.map_or_else(Value::Fault, T::into_value)
    }
}

/// `None` is what functions of numbers return when there is no such number.
impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Value {
        self.ok_or(Fault::Number).into_value()
    }
}

macro_rules! variants {
    ($($variant:ident($type:ty): $($from:ty)*;)*) => {$($(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(<$type>::from(value))
            }
        }

        impl IntoValue for $from {
            fn into_value(self) -> Value {
                self.into()
            }
        }
    )*)*};
}

variants! {
    Bool(bool): bool;
    Number(Decimal): Decimal i8 i16 i32 i64 u8 u16 u32 u64;
    Quantity(Quantity): Quantity;
    Date(Date): Date;
    Text(String): String &str char;
    Fault(Fault): Fault;
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}

impl IntoValue for usize {
    fn into_value(self) -> Value {
        u64::try_from(self).ok().into_value()
    }
}

impl IntoValue for f64 {
    /// Floating-point results are rounded to 12 places, so that what differs between machines does not show.
    fn into_value(self) -> Value {
        Decimal::from_f64(self).map(|number| number.round(12)).into_value()
    }
}

#[cfg(test)]
mod tests {
    use super::{FromValue, IntoValue};
    use crate::{Fault, Value};
    use tally_decimal::Decimal;

    #[test]
    fn alone_a_text_may_be_a_number_but_not_in_a_range() {
        let text = || Value::Text("12".into());
        assert_eq!(Decimal::from_value(text()), Ok(Decimal::from(12)));
        assert_eq!(Decimal::from_item(text()), Ok(None));
        assert_eq!(i32::from_value(Value::Number(Decimal::new(-29, 1))), Ok(-2));
        assert_eq!(u32::from_value(Value::Number(Decimal::new(-29, 1))), Err(Fault::Number));
    }

    #[test]
    fn missing_numbers_are_faults() {
        assert_eq!(None::<Decimal>.into_value(), Value::Fault(Fault::Number));
        assert_eq!(f64::NAN.into_value(), Value::Fault(Fault::Number));
        assert_eq!(Err::<bool, _>(Fault::Cycle).into_value(), Value::Fault(Fault::Cycle));
    }
}
