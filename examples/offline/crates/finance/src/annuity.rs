use tally_decimal::Decimal;
use tally_record::FieldValue;

/// When in its period a payment is made.
#[derive(Clone, Copy, Debug, Default, Eq, FieldValue, Hash, PartialEq)]
pub enum Due {
    /// At the end, as rents of money are.
    #[default]
    End,
    /// At the start, as rents of flats are.
    Start,
}

/// Equal payments at equal distances, at a constant rate of interest. Money received is above zero, money paid below.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Annuity {
    /// The interest of one period, 0.01 for one per cent.
    pub rate: Decimal,
    /// How many periods there are.
    pub periods: i32,
    /// When the payments are made.
    pub due: Due,
}

impl Annuity {
    /// Payments at the end of each period.
    pub const fn new(rate: Decimal, periods: i32) -> Self {
        Self { rate, periods, due: Due::End }
    }

    /// What one unit of money grows to.
    fn growth(&self) -> Option<Decimal> {
        (Decimal::ONE.checked_add(self.rate)?).checked_powi(self.periods)
    }

    /// What payments of one unit of money grow to.
    fn payments(&self) -> Option<Decimal> {
        if self.rate.is_zero() {
            return Some(self.periods.into());
        }
        let at_end = self.growth()?.checked_sub(Decimal::ONE)?.checked_div(self.rate)?;
        match self.due {
            Due::End => Some(at_end),
            Due::Start => at_end.checked_mul(Decimal::ONE.checked_add(self.rate)?),
        }
    }

    /// What is there at the end; `None` if it leaves the range.
    pub fn future_value(&self, payment: Decimal, present: Decimal) -> Option<Decimal> {
        let grown = present.checked_mul(self.growth()?)?;
        Some(-grown.checked_add(payment.checked_mul(self.payments()?)?)?)
    }

    /// What it is worth now; `None` if it leaves the range.
    pub fn present_value(&self, payment: Decimal, future: Decimal) -> Option<Decimal> {
        let at_end = future.checked_add(payment.checked_mul(self.payments()?)?)?;
        Some(-at_end.checked_div(self.growth()?)?)
    }

    /// The payment that leads from one amount to the other; `None` without periods or out of range.
    pub fn payment(&self, present: Decimal, future: Decimal) -> Option<Decimal> {
        let missing = present.checked_mul(self.growth()?)?.checked_add(future)?;
        Some(-missing.checked_div(self.payments()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Annuity, Due};
    use tally_decimal::Decimal;

    #[test]
    fn a_loan_is_paid_back_by_its_payment() {
        let annuity = Annuity::new(Decimal::new(5, 3), 360);
        let payment = annuity.payment(Decimal::from(200_000), Decimal::ZERO).unwrap();
        assert_eq!(payment.round(2), Decimal::new(-119_910, 2));
        let left = annuity.future_value(payment, Decimal::from(200_000)).unwrap();
        assert_eq!(left.round(12), Decimal::ZERO);
    }

    #[test]
    fn paying_early_costs_less() {
        let end = Annuity::new(Decimal::new(1, 2), 12);
        let start = Annuity { due: Due::Start, ..end };
        let payment = |annuity: Annuity| annuity.payment(Decimal::from(1000), Decimal::ZERO).unwrap().abs();
        assert!(payment(start) < payment(end));
    }

    #[test]
    fn without_interest_amounts_are_sums() {
        let annuity = Annuity::new(Decimal::ZERO, 10);
        assert_eq!(annuity.future_value(Decimal::from(-5), Decimal::from(-50)), Some(Decimal::HUNDRED));
        assert_eq!(annuity.present_value(Decimal::from(-5), Decimal::ZERO), Some(Decimal::from(50)));
        assert_eq!(Annuity::new(Decimal::ZERO, 0).payment(Decimal::ONE, Decimal::ZERO), None);
    }
}
