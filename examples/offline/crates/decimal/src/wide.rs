/// `10^exponent`, if it is below `2^128`.
pub(crate) const fn pow10(exponent: u32) -> Option<u128> {
    10u128.checked_pow(exponent)
}

/// A number of 256 bits: what two of 128 bits multiply to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wide {
    pub(crate) high: u128,
    pub(crate) low: u128,
}

impl Wide {
    /// Schoolbook multiplication with halves as digits.
    pub(crate) const fn product(a: u128, b: u128) -> Self {
        const HALF: u128 = u64::MAX as u128;
        let (a1, a0) = (a >> 64, a & HALF);
        let (b1, b0) = (b >> 64, b & HALF);
        let low = a0 * b0;
        let middle = a1 * b0 + (low >> 64);
        let (middle_high, middle_low) = (middle >> 64, middle & HALF);
        let cross = a0 * b1 + middle_low;
        Self { high: a1 * b1 + middle_high + (cross >> 64), low: cross << 64 | low & HALF }
    }

    /// Quotient and remainder; `None` when the quotient needs more than 128 bits.
    pub(crate) const fn div_rem(self, divisor: u128) -> Option<(u128, u128)> {
        if self.high >= divisor {
            return None;
        }
        if self.high == 0 {
            return Some((self.low / divisor, self.low % divisor));
        }
        let (mut remainder, mut quotient) = (self.high, 0);
        let mut bit = 128;
        while bit > 0 {
            bit -= 1;
            let carried = remainder >> 127 == 1;
            remainder = remainder << 1 | self.low >> bit & 1;
            if carried || remainder >= divisor {
                remainder = remainder.wrapping_sub(divisor);
                quotient |= 1 << bit;
            }
        }
        Some((quotient, remainder))
    }
}

#[cfg(test)]
mod tests {
    use super::Wide;

    #[test]
    fn a_product_is_divided_back() {
        let numbers = [1, 7, u128::from(u64::MAX), 1 << 64, u128::MAX - 1, u128::MAX];
        for a in numbers {
            for b in numbers {
                assert_eq!(Wide::product(a, b).div_rem(b), Some((a, 0)), "{a} * {b}");
            }
        }
    }

    #[test]
    fn a_quotient_that_does_not_fit_is_refused() {
        assert_eq!(Wide { high: 5, low: 0 }.div_rem(5), None);
        assert_eq!(Wide { high: 5, low: 1 }.div_rem(0), None);
    }
}
