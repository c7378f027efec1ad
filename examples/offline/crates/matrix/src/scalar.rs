use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};
use tally_decimal::Decimal;

/// What a matrix can hold. Arithmetic that leaves the range yields `None`.
pub trait Scalar:
    Copy
    + Debug
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;

    /// `self + a × b`, if it can be represented.
    fn add_product(self, a: Self, b: Self) -> Option<Self>;

    /// The quotient, if it can be represented.
    fn divide(self, by: Self) -> Option<Self>;

    /// The square root, if there is one.
    fn root(self) -> Option<Self>;

    /// The distance from 0.
    fn magnitude(self) -> Self {
        if self < Self::ZERO { -self } else { self }
    }

    /// Whether it is so near to 0 that dividing by it means nothing.
    fn is_negligible(self) -> bool;

    /// The nearest number to an integer.
    fn from_integer(integer: i32) -> Self;
}

macro_rules! floats {
    ($($float:ident)*) => {$(
        impl Scalar for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            fn add_product(self, a: Self, b: Self) -> Option<Self> {
                Some(self + a * b).filter(|sum| sum.is_finite())
            }

            fn divide(self, by: Self) -> Option<Self> {
                Some(self / by).filter(|quotient| quotient.is_finite())
            }

            fn root(self) -> Option<Self> {
                (self >= 0.0).then(|| self.sqrt())
            }

            fn is_negligible(self) -> bool {
                self.abs() < 64.0 * $float::EPSILON
            }

            fn from_integer(integer: i32) -> Self {
                integer as $float
            }
        }
    )*};
}

floats!(f32 f64);

impl Scalar for Decimal {
    const ZERO: Self = Self::ZERO;
    const ONE: Self = Self::ONE;

    fn add_product(self, a: Self, b: Self) -> Option<Self> {
        self.checked_add(a.checked_mul(b)?)
    }

    fn divide(self, by: Self) -> Option<Self> {
        self.checked_div(by)
    }

    fn root(self) -> Option<Self> {
        self.sqrt()
    }

    fn is_negligible(self) -> bool {
        self.abs() < Self::new(1, 24)
    }

    fn from_integer(integer: i32) -> Self {
        integer.into()
    }
}
