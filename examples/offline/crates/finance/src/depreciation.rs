use tally_decimal::{Decimal, Rounding};
use tally_record::{FieldValue, Record};

/// How a thing loses its worth.
#[derive(Clone, Copy, Debug, Default, Eq, FieldValue, Hash, PartialEq)]
pub enum Method {
    /// By the same amount each year.
    #[default]
    StraightLine,
    /// By the same share of what is left each year, twice that of the straight line.
    DoubleDeclining,
    /// By an amount that shrinks by the same step each year.
    SumOfYears,
}

/// One year of a thing.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct WriteOff {
    /// Counted from 1.
    pub year: u32,
    /// What it lost in that year.
    pub amount: Decimal,
    /// What it is worth at the end of it.
    pub value: Decimal,
}

/// What a thing loses in each year of its life, in cents, down to what it is worth as scrap. `None` if an amount leaves
/// the range or it lives less than a year.
pub fn depreciate(cost: Decimal, scrap: Decimal, years: u32, method: Method) -> Option<Vec<WriteOff>> {
    let base = cost.checked_sub(scrap)?;
    let life = Decimal::from((years > 0).then_some(years)?);
    let mut value = cost;
    let lines = (1..=years).map(|year| {
        let exact = match method {
            Method::StraightLine => base.checked_div(life)?,
            Method::DoubleDeclining => value.checked_mul(Decimal::from(2).checked_div(life)?)?,
            Method::SumOfYears => {
                let all = Decimal::from(u64::from(years) * u64::from(years + 1) / 2);
                base.checked_mul(Decimal::from(years - year + 1).checked_div(all)?)?
            }
        };
        let left = value.checked_sub(scrap)?;
        let last = year == years && method != Method::DoubleDeclining;
        let amount = if last { left } else { exact.round_with(2, Rounding::HalfUp).min(left) };
        value = value.checked_sub(amount)?;
        Some(WriteOff { year, amount, value })
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{Method, depreciate};
    use tally_decimal::Decimal;

    fn amounts(method: Method) -> Vec<Decimal> {
        let lines = depreciate(Decimal::from(1000), Decimal::HUNDRED, 5, method).unwrap();
        lines.iter().map(|line| line.amount).collect()
    }

    #[test]
    fn each_method_has_its_own_curve() {
        assert_eq!(amounts(Method::StraightLine), [180; 5].map(Decimal::from));
        assert_eq!(amounts(Method::SumOfYears), [300, 240, 180, 120, 60].map(Decimal::from));
        let declining = amounts(Method::DoubleDeclining);
        assert_eq!(declining[..3], [400, 240, 144].map(Decimal::from));
        assert_eq!(declining.iter().sum::<Decimal>(), Decimal::from(900));
    }

    #[test]
    fn nothing_lives_for_no_years() {
        assert_eq!(depreciate(Decimal::ONE, Decimal::ZERO, 0, Method::StraightLine), None);
    }
}
