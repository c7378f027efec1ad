use crate::Annuity;
use tally_calendar::{Date, Every, Holidays, Schedule};
use tally_decimal::{Decimal, Rounding};
use tally_record::Record;

/// A loan that is paid back in equal monthly instalments.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct Loan {
    /// What was lent.
    pub principal: Decimal,
    /// The interest of a year, 0.06 for six per cent.
    #[record(name = "annual rate")]
    pub annual_rate: Decimal,
    /// How many instalments there are.
    pub months: u32,
    /// When the first is due.
    #[record(name = "first due")]
    pub first_due: Date,
}

/// One line of the plan.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct Instalment {
    /// Counted from 1.
    pub number: u32,
    /// The working day it is due on.
    pub due: Date,
    /// What is paid.
    pub payment: Decimal,
    /// The part that is interest.
    pub interest: Decimal,
    /// What is still owed after it.
    pub balance: Decimal,
}

impl Loan {
    /// The plan of all instalments, rounded to cents; the last takes what the rounding left over. `None` if an amount
    /// leaves the range.
    pub fn plan(&self, holidays: &Holidays) -> Option<Vec<Instalment>> {
        let rate = self.annual_rate.checked_div(Decimal::from(12))?;
        let cents = |amount: Decimal| amount.round_with(2, Rounding::HalfUp);
        let annuity = Annuity::new(rate, i32::try_from(self.months).ok()?);
        let regular = cents(-annuity.payment(self.principal, Decimal::ZERO)?);
        let schedule = Schedule::new(self.first_due, Every::Months(1)).on_working_days(holidays.clone());
        let mut balance = self.principal;
        let instalments = (1..=self.months).zip(schedule.dates()).map(|(number, due)| {
            let interest = cents(balance.checked_mul(rate)?);
            let owed = balance.checked_add(interest)?;
            let payment = if number == self.months { owed } else { regular.min(owed) };
            balance = owed.checked_sub(payment)?;
            Some(Instalment { number, due, payment, interest, balance })
        });
        instalments.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Loan;
    use tally_calendar::Holidays;
    use tally_decimal::Decimal;

    #[test]
    fn the_last_instalment_settles_everything() {
        let loan = Loan {
            principal: Decimal::from(10_000),
            annual_rate: Decimal::new(6, 2),
            months: 12,
            first_due: "2024-01-31".parse().unwrap(),
        };
        let plan = loan.plan(&Holidays::target()).unwrap();
        assert_eq!(plan.len(), 12);
        assert_eq!(plan[0].payment, Decimal::new(86_066, 2));
        assert_eq!(plan[2].due.to_string(), "2024-04-02");
        assert_eq!(plan[11].balance, Decimal::ZERO);
        let paid: Decimal = plan.iter().map(|instalment| instalment.payment).sum();
        let interest: Decimal = plan.iter().map(|instalment| instalment.interest).sum();
        assert_eq!(paid - interest, loan.principal);
    }
}
