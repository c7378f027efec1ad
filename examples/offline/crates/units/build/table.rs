//! How the table is read.

use std::collections::HashSet;

/// The powers of length, mass, time and data.
pub type Powers = [i8; 4];

pub struct Dimension<'a> {
    pub name: &'a str,
    pub powers: Powers,
    pub units: Vec<Unit<'a>>,
}

pub struct Unit<'a> {
    pub symbol: &'a str,
    pub name: &'a str,
    /// How many base units it is, as a fraction of decimals.
    pub factor: [Number; 2],
    pub system: &'a str,
}

/// `units × 10^-scale`
#[derive(Clone, Copy)]
pub struct Number {
    pub units: i128,
    pub scale: u32,
}

/// The dimensions of a table; a problem starts with the number of its line.
pub fn parse(text: &str) -> Result<Vec<Dimension<'_>>, String> {
    let mut dimensions: Vec<Dimension<'_>> = Vec::new();
    let (mut symbols, mut names) = (HashSet::new(), HashSet::new());
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let problem = |what: &str| format!("{number}: {what}");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(heading) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let dimension = dimension(heading).ok_or_else(|| problem("a dimension has a name and four powers"))?;
            if dimensions.iter().any(|other| other.name == dimension.name || other.powers == dimension.powers) {
                return Err(problem("the dimension stands there already"));
            }
            dimensions.push(dimension);
            continue;
        }
        let unit = unit(line).ok_or_else(|| problem("a unit has a symbol, a name, a factor and a system"))?;
        if !symbols.insert(unit.symbol) || !names.insert(unit.name) {
            return Err(problem("the unit stands there already"));
        }
        let dimension = dimensions.last_mut().ok_or_else(|| problem("the unit has no dimension"))?;
        let is_base = unit.factor.iter().all(|number| number.units == 1 && number.scale == 0);
        if dimension.units.is_empty() && !is_base {
            return Err(problem("the first unit of a dimension is its base unit"));
        }
        dimension.units.push(unit);
    }
    Ok(dimensions)
}

fn dimension(heading: &str) -> Option<Dimension<'_>> {
    let mut words = heading.split_whitespace();
    let name = words.next()?;
    let powers: Vec<i8> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    Some(Dimension { name, powers: powers.try_into().ok()?, units: Vec::new() })
}

fn unit(line: &str) -> Option<Unit<'_>> {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let &[symbol, name, factor, system] = &columns[..] else { return None };
    let (numerator, denominator) = factor.split_once('/').unwrap_or((factor, "1"));
    let known = ["metric", "imperial", "other"].contains(&system);
    let factor = [number(numerator)?, number(denominator)?];
    known.then_some(Unit { symbol, name, factor, system })
}

fn number(text: &str) -> Option<Number> {
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    let units = format!("{integer}{fraction}").parse().ok().filter(|&units| units > 0)?;
    Some(Number { units, scale: u32::try_from(fraction.len()).ok()? })
}
