use crate::Annuity;
use tally_calendar::Date;
use tally_decimal::Decimal;

/// How often a rate is improved before it is given up.
const STEPS: usize = 200;

/// What payments at the end of each period are worth now; `None` if it leaves the range.
pub fn net_present_value(rate: Decimal, payments: &[Decimal]) -> Option<Decimal> {
    let factor = Decimal::ONE.checked_add(rate)?;
    let discounted = |sum: Decimal, &payment: &Decimal| sum.checked_add(payment)?.checked_div(factor);
    // From the last to the first, as in Horner's scheme: each step discounts all that follow.
    payments.iter().rev().try_fold(Decimal::ZERO, discounted)
}

/// The rate at which the payments are worth nothing now, the first being made now; `None` if there is none between
/// -99 % and 1000 %.
pub fn internal_rate(payments: &[Decimal]) -> Option<Decimal> {
    bisect(|rate| net_present_value(rate, payments))
}

/// The rate of a year at which payments on any days are worth nothing on the first; `None` if there is none between
/// -99 % and 1000 %.
pub fn rate_of_payments(payments: &[(Date, Decimal)]) -> Option<Decimal> {
    let &(start, _) = payments.first()?;
    bisect(|rate| {
        let base = 1.0 + rate.to_f64();
        let worth =
            payments.iter().map(|&(date, payment)| payment.to_f64() / base.powf(f64::from(date - start) / 365.0));
        Decimal::from_f64(worth.sum())
    })
}

impl Annuity {
    /// The rate at which the payments lead from one amount to the other; `None` if there is none in reach. The rate of
    /// this annuity itself does not matter.
    pub fn rate(&self, payment: Decimal, present: Decimal, future: Decimal) -> Option<Decimal> {
        bisect(|rate| Self { rate, ..*self }.future_value(payment, present)?.checked_sub(future))
    }
}

/// Halves the interval in which a function changes its sign, until it is as narrow as twelve places allow.
fn bisect(function: impl Fn(Decimal) -> Option<Decimal>) -> Option<Decimal> {
    let places = [-99, -50, -20, -10, 0, 5, 10, 20, 50, 100, 200, 500, 1000].map(|percent| Decimal::new(percent, 2));
    let signs = |low: Decimal, high: Decimal| Some((function(low)?.signum(), function(high)?.signum()));
    let bracket = places.windows(2).find(|pair| signs(pair[0], pair[1]).is_some_and(|(a, b)| a * b <= 0))?;
    let (mut low, mut high) = (bracket[0], bracket[1]);
    let below = function(low)?.signum();
    if below == 0 {
        return Some(low);
    }
    for _ in 0..STEPS {
        let middle = low.checked_add(high)?.checked_div(Decimal::from(2))?.round(14);
        if high - low <= Decimal::new(1, 13) {
            break;
        }
        let sign = function(middle)?.signum();
        if sign == 0 {
            return Some(middle);
        }
        if sign == below { low = middle } else { high = middle }
    }
    Some(high.round(12))
}

#[cfg(test)]
mod tests {
    use super::{internal_rate, net_present_value, rate_of_payments};
    use crate::Annuity;
    use tally_decimal::Decimal;

    fn decimals(numbers: &[i32]) -> Vec<Decimal> {
        numbers.iter().map(Decimal::from).collect()
    }

    #[test]
    fn payments_are_discounted_by_their_distance() {
        let value = net_present_value(Decimal::new(1, 1), &decimals(&[110, 121])).unwrap();
        assert_eq!(value.round(12), Decimal::from(200));
    }

    #[test]
    fn at_its_own_rate_a_series_is_worth_nothing() {
        let payments = decimals(&[-70_000, 12_000, 15_000, 18_000, 21_000, 26_000]);
        let rate = internal_rate(&payments).unwrap();
        assert_eq!(rate.round(4), Decimal::new(866, 4));
        assert!(net_present_value(rate, &payments).unwrap().abs() < Decimal::new(1, 4));
        assert_eq!(internal_rate(&decimals(&[1, 2, 3])), None);
    }

    #[test]
    fn days_count_by_the_year() {
        let payments = [("2023-01-01", -1000), ("2024-01-01", 1100)];
        let payments = payments.map(|(date, amount)| (date.parse().unwrap(), Decimal::from(amount)));
        assert_eq!(rate_of_payments(&payments).map(|rate| rate.round(9)), Some(Decimal::new(1, 1)));
    }

    #[test]
    fn a_payment_tells_its_rate() {
        let annuity = Annuity::new(Decimal::new(5, 3), 360);
        let payment = annuity.payment(Decimal::from(200_000), Decimal::ZERO).unwrap();
        let rate = Annuity::new(Decimal::ZERO, 360).rate(payment, Decimal::from(200_000), Decimal::ZERO).unwrap();
        assert_eq!(rate.round(10), Decimal::new(5, 3));
    }
}
