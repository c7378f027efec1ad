use crate::{Decimal, MAX_SCALE};
use std::fmt;
use std::str::FromStr;

/// Why a text is not a decimal number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ParseDecimalError {
    /// It has no digits.
    Empty,
    /// Something stands where a digit should.
    Character(char),
    /// It is too large, or has too many places.
    Range,
}

impl fmt::Display for ParseDecimalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("a number needs digits"),
            Self::Character(char) => write!(formatter, "{char:?} does not belong in a number"),
            Self::Range => formatter.write_str("the number is out of range"),
        }
    }
}

impl std::error::Error for ParseDecimalError {}

impl FromStr for Decimal {
    type Err = ParseDecimalError;

    /// Reads `-12.5`, `.5` and `1.5e3`.
    fn from_str(text: &str) -> Result<Self, ParseDecimalError> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().map_err(|_| ParseDecimalError::Range)?),
            None => (text, 0i32),
        };
        let negative = mantissa.starts_with('-');
        let digits = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (mut units, mut scale, mut point, mut any) = (0i128, 0i32, false, false);
        for char in digits.chars() {
            match char.to_digit(10) {
                Some(digit) => {
                    let next = units.checked_mul(10).and_then(|units| units.checked_add(i128::from(digit)));
                    units = next.ok_or(ParseDecimalError::Range)?;
                    scale += i32::from(point);
                    any = true;
                }
                None if char == '.' && !point => point = true,
                None => return Err(ParseDecimalError::Character(char)),
            }
        }
        if !any {
            return Err(ParseDecimalError::Empty);
        }
        scale = scale.checked_sub(exponent).ok_or(ParseDecimalError::Range)?;
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
            if units == 0 {
                scale = 0;
            }
        }
        if scale < 0 {
            let power = 10i128.checked_pow(scale.unsigned_abs());
            units = power.and_then(|power| units.checked_mul(power)).ok_or(ParseDecimalError::Range)?;
        }
        match u32::try_from(scale.max(0)) {
            Ok(scale) if scale <= MAX_SCALE => Ok(Self::new(if negative { -units } else { units }, scale)),
            _ => Err(ParseDecimalError::Range),
        }
    }
}

impl fmt::Display for Decimal {
    /// Honours the precision (`{:.2}`, rounding a half to even), the width and the sign.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = formatter.precision();
        let number = match places.and_then(|places| i32::try_from(places).ok()) {
            Some(places) => self.round(places),
            None => *self,
        };
        let digits = number.magnitude().to_string();
        let scale = number.scale as usize;
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (integer, fraction) = digits.split_at(digits.len() - scale);
        let places = places.unwrap_or(scale);
        let text = if places == 0 { integer.to_owned() } else { format!("{integer}.{fraction:0<places$}") };
        // `pad_integral` honours width and sign, but the precision has been dealt with.
        formatter.pad_integral(!number.is_negative(), "", &text)
    }
}

#[cfg(test)]
mod tests {
    use super::ParseDecimalError;
    use crate::Decimal;

    fn parse(text: &str) -> Result<Decimal, ParseDecimalError> {
        text.parse()
    }

    #[test]
    fn numbers_are_read_in_all_forms() {
        assert_eq!(parse("-12.50"), Ok(Decimal::new(-125, 1)));
        assert_eq!(parse(".5"), Ok(Decimal::new(5, 1)));
        assert_eq!(parse("1.5e3"), Ok(Decimal::new(1500, 0)));
        assert_eq!(parse("15E-3"), Ok(Decimal::new(15, 3)));
        assert_eq!(parse("0e-99"), Ok(Decimal::ZERO));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!(parse("-"), Err(ParseDecimalError::Empty));
        assert_eq!(parse("1.2.3"), Err(ParseDecimalError::Character('.')));
        assert_eq!(parse("1e40"), Err(ParseDecimalError::Range));
        assert_eq!(parse("1e-29"), Err(ParseDecimalError::Range));
        assert_eq!(parse("1e-9999999999"), Err(ParseDecimalError::Range));
    }

    #[test]
    fn numbers_are_shown_as_asked() {
        let number = Decimal::new(-12345, 3);
        assert_eq!(number.to_string(), "-12.345");
        assert_eq!(format!("{number:.2}"), "-12.34");
        assert_eq!(format!("{number:10.1}|"), "     -12.3|");
        assert_eq!(format!("{:.2}", Decimal::from(5)), "5.00");
        assert_eq!(format!("{:+}", Decimal::new(5, 2)), "+0.05");
    }
}
