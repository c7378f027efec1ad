//! One type for each dimension, so that a length cannot be added to a mass.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};
use tally_decimal::Decimal;

/// Defines the type of a dimension; amounts are kept in its base unit.
macro_rules! quantity {
    ($name:ident, $doc:literal { $($from:ident $to:ident $unit:ident $unit_doc:literal,)* }) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Decimal);

        impl $name {
            $(
                #[doc = $unit_doc]
                pub fn $from(amount: impl Into<Decimal>) -> Self {
                    let [numerator, denominator] = Unit::$unit.factor();
                    Self(amount.into() * numerator / denominator)
                }

                #[doc = $unit_doc]
                pub fn $to(self) -> Decimal {
                    let [numerator, denominator] = Unit::$unit.factor();
                    self.0 * denominator / numerator
                }
            )*

            /// The distance from nothing.
            #[must_use]
            pub fn abs(self) -> Self {
                Self(self.0.abs())
            }
        }

        impl Add for $name {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = Self;

            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                self.0 -= other.0;
            }
        }

        impl Neg for $name {
            type Output = Self;

            fn neg(self) -> Self {
                Self(-self.0)
            }
        }

        impl Mul<Decimal> for $name {
            type Output = Self;

            fn mul(self, factor: Decimal) -> Self {
                Self(self.0 * factor)
            }
        }

        impl Mul<$name> for Decimal {
            type Output = $name;

            fn mul(self, quantity: $name) -> $name {
                quantity * self
            }
        }

        impl Div<Decimal> for $name {
            type Output = Self;

            fn div(self, divisor: Decimal) -> Self {
                Self(self.0 / divisor)
            }
        }

        impl Div for $name {
            type Output = Decimal;

            fn div(self, other: Self) -> Decimal {
                self.0 / other.0
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
                quantities.fold(Self::default(), Add::add)
            }
        }

        impl From<$name> for crate::Quantity {
            fn from(quantity: $name) -> Self {
                Self::new(quantity.0, Dimension::$name.base())
            }
        }

        impl TryFrom<crate::Quantity> for $name {
            type Error = crate::UnitError;

            fn try_from(quantity: crate::Quantity) -> Result<Self, crate::UnitError> {
                quantity.convert(Dimension::$name.base()).map(|quantity| Self(quantity.amount()))
            }
        }
    };
}

/// Says which dimension comes of multiplying or dividing two others.
macro_rules! relate {
    ($operator:ident $method:ident $checked:ident: $left:ident $right:ident $output:ident) => {
        impl $operator<$right> for $left {
            type Output = $output;

            #[track_caller]
            fn $method(self, other: $right) -> $output {
                match self.0.$checked(other.0) {
                    Some(amount) => $output(amount),
                    None => panic!(concat!("quantity ", stringify!($method), " is out of range")),
                }
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/units.rs"));

#[cfg(test)]
mod tests {
    use super::{Area, Energy, Length, Power, Speed, Time, Volume};
    use tally_decimal::Decimal;

    #[test]
    fn products_have_their_own_type() {
        let floor: Area = Length::from_metres(4) * Length::from_centimetres(250);
        let room: Volume = floor * Length::from_metres(3);
        assert_eq!(room.litres(), Decimal::from(30_000));
        let bulb: Energy = Power::from_watts(60) * Time::from_hours(5);
        assert_eq!(bulb.kilowatt_hours(), Decimal::new(3, 1));
    }

    #[test]
    fn quotients_have_theirs() {
        let speed: Speed = Length::from_kilometres(90) / Time::from_minutes(60);
        assert_eq!(speed.metres_per_second(), Decimal::from(25));
        assert_eq!(Length::from_miles(1) / Length::from_feet(1), Decimal::from(5280));
    }

    #[test]
    fn quantities_are_summed_and_compared() {
        let total: Length = [Length::from_metres(1), Length::from_inches(1)].into_iter().sum();
        assert_eq!(total.millimetres(), Decimal::new(10_254, 1));
        assert!(total > Length::from_yards(1));
    }
}
