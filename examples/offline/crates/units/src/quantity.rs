use crate::{Dimension, Unit};
use std::cmp::Ordering;
use std::fmt;
use tally_decimal::Decimal;

/// An amount of some unit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Quantity {
    amount: Decimal,
    unit: Unit,
}

/// Why two quantities do not go together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnitError {
    /// They measure different things.
    Mismatch(Dimension, Dimension),
    /// What comes out has no unit.
    NoUnit,
    /// The amount leaves the range.
    Range,
}

impl fmt::Display for UnitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch(a, b) => write!(formatter, "{} and {} do not mix", a.name(), b.name()),
            Self::NoUnit => formatter.write_str("the result has no unit"),
            Self::Range => formatter.write_str("the amount is out of range"),
        }
    }
}

impl std::error::Error for UnitError {}

impl Dimension {
    /// The dimension with these powers of length, mass, time and data.
    pub fn from_powers(powers: [i8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.powers() == powers)
    }
}

impl Quantity {
    /// So many of a unit.
    pub const fn new(amount: Decimal, unit: Unit) -> Self {
        Self { amount, unit }
    }

    /// How many.
    pub const fn amount(self) -> Decimal {
        self.amount
    }

    /// Of which unit.
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// The same quantity in another unit.
    pub fn convert(self, unit: Unit) -> Result<Self, UnitError> {
        if unit == self.unit {
            return Ok(self);
        }
        if unit.dimension() != self.unit.dimension() {
            return Err(UnitError::Mismatch(unit.dimension(), self.unit.dimension()));
        }
        let ([numerator, denominator], [to_numerator, to_denominator]) = (self.unit.factor(), unit.factor());
        let amount = fraction([self.amount, numerator, to_denominator], [denominator, to_numerator])?;
        Ok(Self { amount, unit })
    }

    /// The same unit of another amount.
    pub fn map(self, change: impl FnOnce(Decimal) -> Option<Decimal>) -> Result<Self, UnitError> {
        change(self.amount).map(|amount| Self { amount, unit: self.unit }).ok_or(UnitError::Range)
    }

    /// The sum, in the unit of the first.
    pub fn checked_add(self, other: Self) -> Result<Self, UnitError> {
        let other = other.convert(self.unit)?;
        self.map(|amount| amount.checked_add(other.amount))
    }

    /// The difference, in the unit of the first.
    pub fn checked_sub(self, other: Self) -> Result<Self, UnitError> {
        let other = other.convert(self.unit)?;
        self.map(|amount| amount.checked_sub(other.amount))
    }

    /// The product, in a base unit; a plain number if the units cancel out.
    pub fn checked_mul(self, other: Self) -> Result<Result<Self, Decimal>, UnitError> {
        let ([numerator, denominator], [other_numerator, other_denominator]) =
            (self.unit.factor(), other.unit.factor());
        let above = [self.amount, other.amount, numerator, other_numerator];
        self.combine(other, 1, fraction(above, [denominator, other_denominator])?)
    }

    /// The quotient, in a base unit; a plain number if the units cancel out.
    pub fn checked_div(self, other: Self) -> Result<Result<Self, Decimal>, UnitError> {
        let ([numerator, denominator], [other_numerator, other_denominator]) =
            (self.unit.factor(), other.unit.factor());
        let below = [other.amount, denominator, other_numerator];
        self.combine(other, -1, fraction([self.amount, numerator, other_denominator], below)?)
    }

    fn combine(self, other: Self, sign: i8, amount: Decimal) -> Result<Result<Self, Decimal>, UnitError> {
        let (a, b) = (self.unit.dimension().powers(), other.unit.dimension().powers());
        let powers = std::array::from_fn(|at| a[at] + sign * b[at]);
        if powers == [0; 4] {
            return Ok(Err(amount));
        }
        let dimension = Dimension::from_powers(powers).ok_or(UnitError::NoUnit)?;
        Ok(Ok(Self { amount, unit: dimension.base() }))
    }

    /// Which is more; an error if they measure different things.
    pub fn compare(self, other: Self) -> Result<Ordering, UnitError> {
        Ok(self.amount.cmp(&other.convert(self.unit)?.amount))
    }
}

/// A quotient of products, divided only once: 60 km/h times 30 min is 30 km and not a trifle more.
fn fraction<const A: usize, const B: usize>(above: [Decimal; A], below: [Decimal; B]) -> Result<Decimal, UnitError> {
    let product = |factors: &[Decimal]| factors.iter().try_fold(Decimal::ONE, |product, &f| product.checked_mul(f));
    let quotient = product(&above).zip(product(&below)).and_then(|(above, below)| above.checked_div(below));
    quotient.ok_or(UnitError::Range)
}

impl fmt::Display for Quantity {
    /// Honours the precision of the amount.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match formatter.precision() {
            Some(places) => write!(formatter, "{:.places$} {}", self.amount, self.unit.symbol()),
            None => write!(formatter, "{} {}", self.amount, self.unit.symbol()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Quantity, UnitError};
    use crate::{Dimension, Unit};
    use tally_decimal::Decimal;

    fn quantity(amount: i32, symbol: &str) -> Quantity {
        Quantity::new(amount.into(), Unit::from_symbol(symbol).unwrap())
    }

    #[test]
    fn every_unit_is_found_by_its_symbol_and_comes_back() {
        for unit in Unit::ALL {
            assert_eq!(Unit::from_symbol(unit.symbol()), Some(unit));
            let there = Quantity::new(Decimal::from(7), unit).convert(unit.dimension().base()).unwrap();
            assert_eq!(there.convert(unit).unwrap().amount().round(9), Decimal::from(7), "{}", unit.name());
        }
    }

    #[test]
    fn units_are_converted_on_the_way() {
        assert_eq!(quantity(1, "km").checked_add(quantity(1, "mi")).unwrap().to_string(), "2.609344 km");
        assert_eq!(quantity(90, "km/h").checked_mul(quantity(2, "h")).unwrap().unwrap(), quantity(180_000, "m"));
        assert_eq!(quantity(1, "h").checked_div(quantity(1, "min")), Ok(Err(Decimal::from(60))));
    }

    #[test]
    fn what_does_not_mix_is_refused() {
        let mismatch = UnitError::Mismatch(Dimension::Length, Dimension::Mass);
        assert_eq!(quantity(1, "m").checked_add(quantity(1, "kg")), Err(mismatch));
        assert_eq!(mismatch.to_string(), "length and mass do not mix");
        assert_eq!(quantity(1, "m").checked_mul(quantity(1, "B")), Err(UnitError::NoUnit));
    }
}
