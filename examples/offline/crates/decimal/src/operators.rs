//! The operators, for every mix of decimals, integers and references. Like the integers' own they panic when a result
//! is out of range; the `checked_…` methods do not.

use crate::Decimal;
use std::iter::{Product, Sum};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign};

macro_rules! forward {
    ($trait:ident $method:ident $checked:ident: $($left:ty, $right:ty;)*) => {$(
        impl $trait<$right> for $left {
            type Output = Decimal;

            #[track_caller]
            fn $method(self, other: $right) -> Decimal {
                match Decimal::from(self).$checked(Decimal::from(other)) {
                    Some(result) => result,
                    None => panic!(concat!("decimal ", stringify!($method), " is out of range")),
                }
            }
        }
    )*};
}

macro_rules! operator {
    ($trait:ident $method:ident $assign_trait:ident $assign:ident $checked:ident; $($integer:ty)*) => {
        forward!($trait $method $checked:
            Decimal, Decimal;
            Decimal, &Decimal;
            &Decimal, Decimal;
            &Decimal, &Decimal;
            $(
                Decimal, $integer;
                &Decimal, $integer;
                Decimal, &$integer;
                &Decimal, &$integer;
                $integer, Decimal;
                $integer, &Decimal;
                &$integer, Decimal;
                &$integer, &Decimal;
            )*
        );

        impl<T> $assign_trait<T> for Decimal
        where
            Self: $trait<T, Output = Self>,
        {
            #[track_caller]
            fn $assign(&mut self, other: T) {
                *self = self.$method(other);
            }
        }
    };
}

macro_rules! operators {
    ($integers:tt) => {
        operators!(@each $integers Add add AddAssign add_assign checked_add);
        operators!(@each $integers Sub sub SubAssign sub_assign checked_sub);
        operators!(@each $integers Mul mul MulAssign mul_assign checked_mul);
        operators!(@each $integers Div div DivAssign div_assign checked_div);
        operators!(@each $integers Rem rem RemAssign rem_assign checked_rem);
    };
    (@each ($($integer:ty)*) $($operator:ident)*) => {
        operator!($($operator)*; $($integer)*);
    };
}

operators!((i8 i16 i32 i64 i128 u8 u16 u32 u64));

impl From<&Decimal> for Decimal {
    fn from(number: &Decimal) -> Self {
        *number
    }
}

impl Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self { units: -self.units, scale: self.scale }
    }
}

impl Neg for &Decimal {
    type Output = Decimal;

    fn neg(self) -> Decimal {
        -*self
    }
}

impl<T> Sum<T> for Decimal
where
    Self: Add<T, Output = Self>,
{
    fn sum<I: Iterator<Item = T>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, |sum, number| sum + number)
    }
}

impl<T> Product<T> for Decimal
where
    Self: Mul<T, Output = Self>,
{
    fn product<I: Iterator<Item = T>>(numbers: I) -> Self {
        numbers.fold(Self::ONE, |product, number| product * number)
    }
}

#[cfg(test)]
mod tests {
    use crate::Decimal;

    #[test]
    fn integers_and_references_mix() {
        let half = Decimal::new(5, 1);
        assert_eq!(half + 1, Decimal::new(15, 1));
        assert_eq!(3u8 * &half, Decimal::new(15, 1));
        assert_eq!(1i64 - half, half);
        let reference = &half;
        assert_eq!(reference / reference, Decimal::ONE);
        let mut total: Decimal = [1, 2, 3].iter().sum();
        total *= half;
        total -= &half;
        assert_eq!(total, Decimal::new(25, 1));
    }

    #[test]
    #[should_panic = "decimal div is out of range"]
    fn division_by_zero_panics() {
        let _ = Decimal::ONE / 0;
    }
}
