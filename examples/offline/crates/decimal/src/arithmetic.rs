use crate::wide::{Wide, pow10};
use crate::{Decimal, MAX_SCALE, Rounding};

/// The largest power of ten that 128 bits hold.
const MAX_POWER: u32 = 38;

/// `wide / divisor` rounded to even, with a sign and a scale; `None` if it does not fit.
fn quotient(wide: Wide, divisor: u128, negative: bool, scale: u32) -> Option<Decimal> {
    let (quotient, remainder) = wide.div_rem(divisor)?;
    let moved = Rounding::HalfEven.moves(negative, quotient, remainder, divisor);
    let units = i128::try_from(quotient.checked_add(u128::from(moved))?).ok()?;
    Some(Decimal::new(if negative { -units } else { units }, scale))
}

impl Decimal {
    /// The sum; `None` if it is too large.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        // Where a very large and a very small number meet, the small one gives up places.
        (0..=self.scale.max(other.scale)).rev().find_map(|scale| {
            let sum = self.units_at(scale)?.checked_add(other.units_at(scale)?)?;
            Some(Self::new(sum, scale))
        })
    }

    /// The units the number would have with this many places, rounded; `None` if there are too many.
    fn units_at(self, scale: u32) -> Option<i128> {
        let rounded = self.round(i32::try_from(scale).ok()?);
        rounded.units.checked_mul(i128::try_from(pow10(scale - rounded.scale)?).ok()?)
    }

    /// The difference; `None` if it is too large.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(Self { units: other.units.checked_neg()?, scale: other.scale })
    }

    /// The product; `None` if it is too large.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let wide = Wide::product(self.magnitude(), other.magnitude());
        let negative = self.is_negative() != other.is_negative();
        let scale = self.scale + other.scale;
        (scale.saturating_sub(MAX_SCALE)..=scale.min(MAX_POWER))
            .find_map(|cut| quotient(wide, pow10(cut)?, negative, scale - cut))
    }

    /// The quotient; `None` if the divisor is 0 or the quotient too large.
    pub fn checked_div(self, divisor: Self) -> Option<Self> {
        if divisor.is_zero() {
            return None;
        }
        let negative = self.is_negative() != divisor.is_negative();
        let by = divisor.magnitude();
        let (mut quotient, mut remainder) = (self.magnitude() / by, self.magnitude() % by);
        let mut scale = i64::from(self.scale) - i64::from(divisor.scale);
        // Long division: one more place each time, as far as they go and fit.
        while scale < 0 || scale < i64::from(MAX_SCALE) && remainder > 0 {
            let (digit, left) = Wide::product(remainder, 10).div_rem(by)?;
            let longer = quotient.checked_mul(10).and_then(|shifted| shifted.checked_add(digit));
            match longer.filter(|&longer| longer < i128::MAX.unsigned_abs()) {
                Some(longer) => (quotient, remainder, scale) = (longer, left, scale + 1),
                None if scale < 0 => return None,
                None => break,
            }
        }
        let moved = Rounding::HalfEven.moves(negative, quotient, remainder, by);
        let units = i128::try_from(quotient + u128::from(moved)).ok()?;
        Some(Self::new(if negative { -units } else { units }, u32::try_from(scale).ok()?))
    }

    /// What is left over by [`Decimal::checked_div`] cut to an integer; it has the sign of the dividend.
    pub fn checked_rem(self, divisor: Self) -> Option<Self> {
        if divisor.is_zero() {
            return None;
        }
        let scale = self.scale.max(divisor.scale);
        Some(Self::new(self.units_at(scale)?.checked_rem(divisor.units_at(scale)?)?, scale))
    }

    /// The number times itself, `exponent` times over.
    pub fn checked_powi(self, exponent: i32) -> Option<Self> {
        let (mut base, mut left, mut result) = (self, exponent.unsigned_abs(), Self::ONE);
        while left > 0 {
            if left % 2 == 1 {
                result = result.checked_mul(base)?;
            }
            left /= 2;
            if left > 0 {
                base = base.checked_mul(base)?;
            }
        }
        if exponent < 0 { Self::ONE.checked_div(result) } else { Some(result) }
    }

    /// The square root, by Newton's method; `None` below 0.
    pub fn sqrt(self) -> Option<Self> {
        if self.is_negative() {
            return None;
        }
        if self.is_zero() {
            return Some(self);
        }
        let mut root = Self::from_f64(self.to_f64().sqrt()).filter(|guess| !guess.is_zero()).unwrap_or(Self::ONE);
        for _ in 0..8 {
            let next = root.checked_add(self.checked_div(root)?)?.checked_div(Self::new(2, 0))?;
            if next == root {
                break;
            }
            root = next;
        }
        // The last places are uncertain; a root that is exact without them is the one meant.
        let rounded = root.round(MAX_SCALE as i32 - 2);
        Some(if rounded.checked_mul(rounded) == Some(self) { rounded } else { root })
    }
}

#[cfg(test)]
mod tests {
    use crate::Decimal;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn tenths_add_up() {
        assert_eq!(decimal("0.1").checked_add(decimal("0.2")), Some(decimal("0.3")));
        assert_eq!(decimal("1").checked_sub(decimal("0.9")), Some(decimal("0.1")));
    }

    #[test]
    fn quotients_have_as_many_places_as_there_are() {
        let third = decimal("1").checked_div(decimal("3")).unwrap();
        assert_eq!(third.to_string(), "0.3333333333333333333333333333");
        assert_eq!(
            decimal("10").checked_div(decimal("0.0000000000000000000000000004")).unwrap().to_string(),
            format!("25{}", "0".repeat(27))
        );
        assert_eq!(decimal("1").checked_div(Decimal::ZERO), None);
    }

    #[test]
    fn products_are_rounded_when_they_must_be() {
        let tiny = decimal("0.000000000000001");
        assert_eq!(tiny.checked_mul(tiny), Some(Decimal::ZERO));
        assert_eq!(decimal("99999999999999999999").checked_powi(2), None);
        assert_eq!(decimal("1.5").checked_powi(-2), Some(decimal("0.4444444444444444444444444444")));
    }

    #[test]
    fn large_and_small_meet_in_the_middle() {
        let large = decimal("10000000000000000000000000000000000");
        assert_eq!(large.checked_add(decimal("0.00001")), Some(large));
        assert_eq!(large.checked_add(decimal("0.5")).unwrap().to_string(), format!("{large}.5"));
    }

    #[test]
    fn roots_of_squares_are_exact() {
        for text in ["0", "1", "2.25", "152399025", "0.0001"] {
            let root = decimal(text).sqrt().unwrap();
            assert_eq!(root.checked_mul(root), Some(decimal(text)), "{text}");
        }
        assert_eq!(decimal("2").sqrt().unwrap().round(20).to_string(), "1.4142135623730950488");
        assert_eq!(decimal("-1").sqrt(), None);
    }

    #[test]
    fn the_remainder_has_the_sign_of_the_dividend() {
        assert_eq!(decimal("-7.5").checked_rem(decimal("2")), Some(decimal("-1.5")));
        assert_eq!(decimal("7.5").checked_rem(decimal("-2")), Some(decimal("1.5")));
    }
}
