use crate::Decimal;
use crate::wide::pow10;

/// What becomes of the places that are cut off.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Rounding {
    /// To the nearest; a half to the even neighbour, as accountants do.
    #[default]
    HalfEven,
    /// To the nearest; a half away from 0, as schools teach.
    HalfUp,
    /// Towards 0.
    Down,
    /// Away from 0.
    Up,
    /// Towards negative infinity.
    Floor,
    /// Towards positive infinity.
    Ceiling,
}

impl Rounding {
    /// Whether a quotient with this remainder moves away from 0.
    pub(crate) fn moves(self, negative: bool, quotient: u128, remainder: u128, divisor: u128) -> bool {
        if remainder == 0 {
            return false;
        }
        let against_half = remainder.cmp(&(divisor - remainder));
        match self {
            Self::HalfEven => against_half.is_gt() || against_half.is_eq() && quotient % 2 == 1,
            Self::HalfUp => against_half.is_ge(),
            Self::Down => false,
            Self::Up => true,
            Self::Floor => negative,
            Self::Ceiling => !negative,
        }
    }
}

impl Decimal {
    /// The number with at most `places` after the point; below 0, tens and hundreds are cut off as well.
    #[must_use]
    pub fn round_with(self, places: i32, rounding: Rounding) -> Self {
        let cut = i64::from(self.scale) - i64::from(places);
        if cut <= 0 {
            return self;
        }
        let Some(divisor) = u32::try_from(cut).ok().and_then(pow10) else { return Self::ZERO };
        let (quotient, remainder) = (self.magnitude() / divisor, self.magnitude() % divisor);
        let moved = rounding.moves(self.is_negative(), quotient, remainder, divisor);
        let sign = if self.is_negative() { -1 } else { 1 };
        let units = (quotient + u128::from(moved)) as i128 * sign;
        match u32::try_from(places) {
            Ok(places) => Self::new(units, places),
            Err(_) => Self::new(units.saturating_mul(10i128.saturating_pow(places.unsigned_abs())), 0),
        }
    }

    /// The number with at most `places` after the point, a half rounded to even.
    #[must_use]
    pub fn round(self, places: i32) -> Self {
        self.round_with(places, Rounding::HalfEven)
    }

    /// The largest integer that is not above the number.
    #[must_use]
    pub fn floor(self) -> Self {
        self.round_with(0, Rounding::Floor)
    }

    /// The smallest integer that is not below the number.
    #[must_use]
    pub fn ceil(self) -> Self {
        self.round_with(0, Rounding::Ceiling)
    }

    /// The number without its places.
    #[must_use]
    pub fn trunc(self) -> Self {
        self.round_with(0, Rounding::Down)
    }
}

#[cfg(test)]
mod tests {
    use super::Rounding;
    use crate::Decimal;

    #[test]
    fn each_way_treats_a_half_as_it_says() {
        let expected = [
            (Rounding::HalfEven, [2, 2, -2, -2]),
            (Rounding::HalfUp, [2, 3, -2, -3]),
            (Rounding::Down, [1, 2, -1, -2]),
            (Rounding::Up, [2, 3, -2, -3]),
            (Rounding::Floor, [1, 2, -2, -3]),
            (Rounding::Ceiling, [2, 3, -1, -2]),
        ];
        for (rounding, integers) in expected {
            let halves = [15, 25, -15, -25].map(|units| Decimal::new(units, 1).round_with(0, rounding));
            assert_eq!(halves, integers.map(Decimal::from), "{rounding:?}");
        }
    }

    #[test]
    fn places_below_zero_cut_off_tens() {
        assert_eq!(Decimal::from(1250).round(-2), Decimal::from(1200));
        assert_eq!(Decimal::from(1251).round(-2), Decimal::from(1300));
        assert_eq!(Decimal::from(1251).round(-50), Decimal::ZERO);
    }
}
