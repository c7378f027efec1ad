use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use tally_eval::{NoCells, evaluate};
use tally_functions::Function;
use tally_report::{Format, Table, render};
use tally_sheet::{Sheet, load};
use tally_syntax::{CellRef, parse};
use tally_text::Source;
use tally_units::{Dimension, TABLE_DIGEST, Unit};

pub(crate) fn version() -> String {
    format!("tally {} (units {})\n", env!("CARGO_PKG_VERSION"), &TABLE_DIGEST[..8])
}

/// The value of a formula, or what is wrong with it.
pub(crate) fn eval(formula: &str) -> Result<String, String> {
    let source = Source::new("formula", formula);
    let expr = parse(formula).map_err(|problem| problem.render(&source))?;
    let problems = tally_eval::check(&expr);
    if problems.is_empty() {
        Ok(format!("{}\n", evaluate(&expr, &NoCells)))
    } else {
        Err(problems.iter().map(|problem| problem.render(&source)).collect())
    }
}

fn open(file: &Path) -> Result<Sheet, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("tally: {}: {error}\n", file.display()))?;
    let source = Source::new(file.display().to_string(), text);
    load(&source).map_err(|error| error.diagnostic.render(&source))
}

pub(crate) fn show(file: &Path, format: Format, places: Option<usize>) -> Result<String, String> {
    Ok(render(&Table::from_sheet(&open(file)?, places), format))
}

pub(crate) fn explain(file: &Path, cell: CellRef) -> Result<String, String> {
    let sheet = open(file)?;
    match sheet.cell(cell) {
        Some(_) => Ok(sheet.explain(cell).to_string()),
        None => Err(format!("tally: there is nothing in {cell}\n")),
    }
}

/// Says what is wrong with a sheet; that something is wrong is an error.
pub(crate) fn check(file: &Path) -> Result<String, String> {
    let sheet = open(file)?;
    let mut report = String::new();
    for (place, cell, problem) in sheet.problems() {
        report.push_str(&problem.render(&Source::new(place.to_string(), cell.input.as_str())));
    }
    for cycle in sheet.cycles() {
        // Writing to a String cannot fail.
        let _ = writeln!(report, "error: cells need one another: {cycle}");
    }
    if report.is_empty() { Ok(format!("{} cells, no problems\n", sheet.cells().count())) } else { Err(report) }
}

pub(crate) fn functions() -> String {
    let width = Function::ALL.iter().map(|function| function.signature().len()).max().unwrap_or(0);
    let line = |function: Function| format!("{:<width$}  {}\n", function.signature(), function.summary());
    Function::ALL.into_iter().map(line).collect()
}

pub(crate) fn units() -> String {
    let line = |dimension: Dimension| {
        let units = Unit::ALL.into_iter().filter(|unit| unit.dimension() == dimension).map(Unit::symbol);
        format!("{:<12}  {}\n", dimension.name(), units.collect::<Vec<_>>().join(" "))
    };
    Dimension::ALL.into_iter().map(line).collect()
}
