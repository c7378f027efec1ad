use crate::wide::pow10;
use std::cmp::Ordering;

/// The most places after the point.
pub const MAX_SCALE: u32 = 28;

/// A decimal number: `units × 10^-scale`. Equal numbers are stored equally, without trailing zeros.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Decimal {
    pub(crate) units: i128,
    pub(crate) scale: u32,
}

impl Decimal {
    /// 0.
    pub const ZERO: Self = Self::new(0, 0);
    /// 1.
    pub const ONE: Self = Self::new(1, 0);
    /// 100.
    pub const HUNDRED: Self = Self::new(100, 0);

    /// `units × 10^-scale`.
    ///
    /// # Panics
    ///
    /// When `scale` is above [`MAX_SCALE`].
    pub const fn new(mut units: i128, mut scale: u32) -> Self {
        assert!(scale <= MAX_SCALE, "too many places");
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        Self { units, scale }
    }

    /// The number without its point.
    pub const fn units(self) -> i128 {
        self.units
    }

    /// How many places it has after the point.
    pub const fn scale(self) -> u32 {
        self.scale
    }

    /// Whether it is 0.
    pub const fn is_zero(self) -> bool {
        self.units == 0
    }

    /// Whether it is below 0.
    pub const fn is_negative(self) -> bool {
        self.units < 0
    }

    /// Whether it has no places after the point.
    pub const fn is_integer(self) -> bool {
        self.scale == 0
    }

    /// -1, 0 or 1.
    pub const fn signum(self) -> i32 {
        self.units.signum() as i32
    }

    /// The distance from 0.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self { units: self.units.abs(), scale: self.scale }
    }

    pub(crate) const fn magnitude(self) -> u128 {
        self.units.unsigned_abs()
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_sign = self.signum().cmp(&other.signum());
        if by_sign.is_ne() {
            return by_sign;
        }
        let scale = self.scale.max(other.scale);
        let at_scale = |number: &Self| number.units.checked_mul(pow10(scale - number.scale)? as i128);
        match (at_scale(self), at_scale(other)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // Only the one with fewer places is scaled up, and it has become too large: it is farther from 0.
            (None, _) => self.signum().cmp(&0),
            (_, None) => 0.cmp(&self.signum()),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(Decimal::new(1500, 3), Decimal::new(15, 1));
        assert_eq!(Decimal::new(0, 5), Decimal::ZERO);
    }

    #[test]
    fn order_ignores_the_form() {
        let (small, large) = (Decimal::new(1, 28), Decimal::new(i128::MAX, 0));
        assert!(small < large);
        assert!(Decimal::new(-1, 28) > Decimal::new(i128::MIN, 0));
        assert!(Decimal::new(15, 1) < Decimal::new(2, 0));
        assert!(Decimal::new(-15, 1) > Decimal::new(-2, 0));
    }
}
