use crate::Length;
use tally_decimal::{Decimal, Rounding};

/// A length as carpenters write it: `5 ft 10 in`, to the nearest inch.
pub fn feet_and_inches(length: Length) -> String {
    let inches = length.inches().round_with(0, Rounding::HalfUp);
    let sign = if inches.is_negative() { "-" } else { "" };
    let foot = Decimal::from(12);
    let feet = (inches.abs() / foot).trunc();
    let rest = inches.abs() % foot;
    match (feet.is_zero(), rest.is_zero()) {
        (true, _) => format!("{sign}{rest} in"),
        (false, true) => format!("{sign}{feet} ft"),
        (false, false) => format!("{sign}{feet} ft {rest} in"),
    }
}

#[cfg(test)]
mod tests {
    use super::feet_and_inches;
    use crate::Length;

    #[test]
    fn whole_feet_need_no_inches() {
        assert_eq!(feet_and_inches(Length::from_centimetres(178)), "5 ft 10 in");
        assert_eq!(feet_and_inches(Length::from_yards(-2)), "-6 ft");
        assert_eq!(feet_and_inches(Length::from_millimetres(20)), "1 in");
    }
}
