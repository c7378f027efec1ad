//! What is written for each dimension and unit.

use crate::table::{Dimension, Number, Powers, Unit};
use std::fmt::{Error, Write as _};

pub fn code(dimensions: &[Dimension<'_>]) -> Result<String, Error> {
    let mut code = String::new();
    dimension_enum(&mut code, dimensions)?;
    unit_enum(&mut code, dimensions)?;
    for dimension in dimensions {
        quantity(&mut code, dimension)?;
    }
    for left in dimensions {
        for right in dimensions {
            product(&mut code, dimensions, left, right)?;
        }
    }
    Ok(code)
}

/// `kilometres per hour` as `KilometresPerHour`.
fn variant(unit: &Unit<'_>) -> String {
    let capitalise = |word: &str| word[..1].to_uppercase() + &word[1..];
    unit.name.split(' ').map(capitalise).collect()
}

/// `kilometres per hour` as `kilometres_per_hour`.
fn method(unit: &Unit<'_>) -> String {
    unit.name.replace(' ', "_")
}

fn decimal(number: Number) -> String {
    format!("Decimal::new({}, {})", number.units, number.scale)
}

fn dimension_enum(code: &mut String, dimensions: &[Dimension<'_>]) -> Result<(), Error> {
    writeln!(code, "/// What a quantity measures.")?;
    writeln!(code, "#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]\npub enum Dimension {{")?;
    for dimension in dimensions {
        writeln!(code, "    /// Measured in {}.\n    {},", dimension.units[0].name, dimension.name)?;
    }
    writeln!(code, "}}\n\nimpl Dimension {{\n    /// All dimensions.")?;
    writeln!(code, "    pub const ALL: [Self; {}] = [", dimensions.len())?;
    for dimension in dimensions {
        writeln!(code, "        Self::{},", dimension.name)?;
    }
    writeln!(
        code,
        "    ];\n\n    /// Its English name.\n    pub const fn name(self) -> &'static str {{\n        match self {{"
    )?;
    for dimension in dimensions {
        writeln!(code, "            Self::{} => {:?},", dimension.name, dimension.name.to_lowercase())?;
    }
    writeln!(code, "        }}\n    }}\n\n    /// Its powers of length, mass, time and data.")?;
    writeln!(code, "    pub const fn powers(self) -> [i8; 4] {{\n        match self {{")?;
    for dimension in dimensions {
        writeln!(code, "            Self::{} => {:?},", dimension.name, dimension.powers)?;
    }
    writeln!(code, "        }}\n    }}\n\n    /// The unit the others are multiples of.")?;
    writeln!(code, "    pub const fn base(self) -> Unit {{\n        match self {{")?;
    for dimension in dimensions {
        writeln!(code, "            Self::{} => Unit::{},", dimension.name, variant(&dimension.units[0]))?;
    }
    writeln!(code, "        }}\n    }}\n}}\n")
}

fn unit_enum(code: &mut String, dimensions: &[Dimension<'_>]) -> Result<(), Error> {
    let all = || dimensions.iter().flat_map(|dimension| dimension.units.iter().map(move |unit| (dimension, unit)));
    writeln!(code, "/// A unit of measure.")?;
    writeln!(code, "#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]\npub enum Unit {{")?;
    for (_, unit) in all() {
        writeln!(code, "    /// `{}`\n    {},", unit.symbol, variant(unit))?;
    }
    writeln!(code, "}}\n\nimpl Unit {{\n    /// All units.\n    pub const ALL: [Self; {}] = [", all().count())?;
    for (_, unit) in all() {
        writeln!(code, "        Self::{},", variant(unit))?;
    }
    writeln!(code, "    ];\n")?;
    let mut table = |doc: &str, signature: &str, value: &dyn Fn(&Dimension<'_>, &Unit<'_>) -> String| {
        writeln!(code, "    /// {doc}\n    pub const fn {signature} {{\n        match self {{")?;
        for (dimension, unit) in all() {
            writeln!(code, "            Self::{} => {},", variant(unit), value(dimension, unit))?;
        }
        writeln!(code, "        }}\n    }}\n")
    };
    table("How it is written after a number.", "symbol(self) -> &'static str", &|_, unit| {
        format!("{:?}", unit.symbol)
    })?;
    table("Its English name, in the plural.", "name(self) -> &'static str", &|_, unit| format!("{:?}", unit.name))?;
    table("What it measures.", "dimension(self) -> Dimension", &|dimension, _| {
        format!("Dimension::{}", dimension.name)
    })?;
    table("How many base units it is: a numerator and a denominator.", "factor(self) -> [Decimal; 2]", &|_, unit| {
        let [numerator, denominator] = unit.factor;
        format!("[{}, {}]", decimal(numerator), decimal(denominator))
    })?;
    writeln!(code, "    /// The unit of a symbol.\n    pub fn from_symbol(symbol: &str) -> Option<Self> {{")?;
    writeln!(code, "        match symbol {{")?;
    for (_, unit) in all() {
        writeln!(code, "            {:?} => Some(Self::{}),", unit.symbol, variant(unit))?;
    }
    writeln!(code, "            _ => None,\n        }}\n    }}\n}}\n")
}

fn quantity(code: &mut String, dimension: &Dimension<'_>) -> Result<(), Error> {
    let Dimension { name, units, .. } = dimension;
    writeln!(code, "quantity! {{\n    {name}, {:?} {{", format!("A quantity of {}.", name.to_lowercase()))?;
    for unit in units {
        let method = method(unit);
        writeln!(code, "        from_{method} {method} {} {:?},", variant(unit), format!("In {}.", unit.name))?;
    }
    writeln!(code, "    }}\n}}\n")
}

fn product(
    code: &mut String,
    dimensions: &[Dimension<'_>],
    left: &Dimension<'_>,
    right: &Dimension<'_>,
) -> Result<(), Error> {
    let combined = |sign: i8| -> Powers { std::array::from_fn(|at| left.powers[at] + sign * right.powers[at]) };
    let find = |powers: Powers| dimensions.iter().find(|dimension| dimension.powers == powers);
    let operators = [(1, "Mul", "mul", "checked_mul"), (-1, "Div", "div", "checked_div")];
    for (sign, operator, method, checked) in operators {
        let output = match find(combined(sign)) {
            Some(dimension) => dimension.name,
            // A quotient of two of a kind is a plain number, which `quantity!` sees to.
            None => continue,
        };
        writeln!(code, "relate!({operator} {method} {checked}: {} {} {output});", left.name, right.name)?;
    }
    Ok(())
}
