use crate::Decimal;
use std::fmt;

/// The number has places after the point, or is too large for the type.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ConvertError;

impl fmt::Display for ConvertError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the number does not fit the type")
    }
}

impl std::error::Error for ConvertError {}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Decimal {
            fn from(integer: $integer) -> Self {
                Self::new(i128::from(integer), 0)
            }
        }

        impl From<&$integer> for Decimal {
            fn from(integer: &$integer) -> Self {
                Self::from(*integer)
            }
        }

        impl TryFrom<Decimal> for $integer {
            type Error = ConvertError;

            fn try_from(number: Decimal) -> Result<Self, ConvertError> {
                if number.is_integer() { number.units.try_into().map_err(|_| ConvertError) } else { Err(ConvertError) }
            }
        }

        impl PartialEq<$integer> for Decimal {
            fn eq(&self, integer: &$integer) -> bool {
                *self == Self::from(*integer)
            }
        }

        impl PartialEq<Decimal> for $integer {
            fn eq(&self, number: &Decimal) -> bool {
                number == self
            }
        }

        impl PartialOrd<$integer> for Decimal {
            fn partial_cmp(&self, integer: &$integer) -> Option<std::cmp::Ordering> {
                self.partial_cmp(&Self::from(*integer))
            }
        }

        impl PartialOrd<Decimal> for $integer {
            fn partial_cmp(&self, number: &Decimal) -> Option<std::cmp::Ordering> {
                Decimal::from(*self).partial_cmp(number)
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 i128 u8 u16 u32 u64);

impl Decimal {
    /// The shortest decimal number that stands for the same `f64`; `None` if there is none in range.
    pub fn from_f64(float: f64) -> Option<Self> {
        if !float.is_finite() {
            return None;
        }
        let text = format!("{float:e}");
        // Places that a decimal cannot hold are dropped rather than refused.
        text.parse().ok().or_else(|| format!("{float:.28}").parse().ok())
    }

    /// The nearest `f64`.
    pub fn to_f64(self) -> f64 {
        // Rust parses floats correctly rounded, which a division by a power of ten would not be.
        format!("{}e-{}", self.units, self.scale).parse().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::ConvertError;
    use crate::Decimal;

    #[test]
    fn integers_go_in_and_come_out() {
        assert_eq!(i8::try_from(Decimal::from(-128)), Ok(-128));
        assert_eq!(i8::try_from(Decimal::from(128)), Err(ConvertError));
        assert_eq!(u64::try_from(Decimal::new(5, 1)), Err(ConvertError));
        assert!(Decimal::new(15, 1) > 1 && 2 > Decimal::new(15, 1));
    }

    #[test]
    fn floats_keep_their_shortest_form() {
        assert_eq!(Decimal::from_f64(0.1), Some(Decimal::new(1, 1)));
        assert_eq!(Decimal::from_f64(1e-40), Some(Decimal::ZERO));
        assert_eq!(Decimal::from_f64(f64::NAN), None);
        assert_eq!(Decimal::from_f64(1e39), None);
        assert_eq!(Decimal::new(1, 1).to_f64(), 0.1);
    }
}
