use crate::evaluate::constant;
use tally_functions::Function;
use tally_syntax::{Expr, Kind, walk};
use tally_text::{Diagnostic, Span, closest};
use tally_units::Unit;

/// What can be told about a formula without computing it: names that mean nothing, functions with too few arguments or
/// too many, days that do not exist.
pub fn check(expr: &Expr) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    walk(expr, &mut |part| found.extend(problem(part)));
    found
}

fn problem(expr: &Expr) -> Option<Diagnostic> {
    match &expr.kind {
        Kind::Name(name) if constant(name).is_none() => {
            Some(unknown(expr.span, "name", name, closest(name, ["TRUE", "FALSE", "PI"])))
        }
        Kind::Quantity(_, symbol) | Kind::Convert(_, symbol) if Unit::from_symbol(symbol).is_none() => {
            let symbols = Unit::ALL.into_iter().map(Unit::symbol);
            Some(unknown(expr.span, "unit", symbol, closest(symbol, symbols)))
        }
        Kind::Date(date) if date.parse::<tally_calendar::Date>().is_err() => {
            Some(Diagnostic::error(expr.span, format!("there is no day {date}")))
        }
        Kind::Call(name, arguments) => match Function::from_name(name) {
            None => Some(unknown(expr.span, "function", name, Function::closest(name))),
            Some(function) => arity(function, arguments.len(), expr.span),
        },
        _ => None,
    }
}

fn unknown(span: Span, what: &str, name: &str, closest: Option<&str>) -> Diagnostic {
    let error = Diagnostic::error(span, format!("there is no {what} {name}"));
    match closest {
        Some(closest) => error.with_help(format!("did you mean {closest}?")),
        None => error,
    }
}

fn arity(function: Function, count: usize, span: Span) -> Option<Diagnostic> {
    let trouble = if count < function.least() {
        "too few"
    } else if function.most().is_some_and(|most| count > most) {
        "too many"
    } else {
        return None;
    };
    let error = Diagnostic::error(span, format!("{trouble} arguments"));
    Some(error.with_help(format!("{}: {}", function.signature(), function.summary())))
}

#[cfg(test)]
mod tests {
    use super::check;
    use tally_syntax::parse;

    fn problems(text: &str) -> Vec<(usize, String, Option<String>)> {
        let found = check(&parse(text).unwrap());
        found.into_iter().map(|problem| (problem.span.start, problem.message, problem.help)).collect()
    }

    #[test]
    fn good_formulas_have_no_problems() {
        assert_eq!(problems("IF(SUM(A1:A9) > 5 km, PI, @2024-02-29)"), []);
    }

    #[test]
    fn a_likely_name_is_proposed() {
        let expected = (4, "there is no function AVERGE".into(), Some("did you mean AVERAGE?".into()));
        assert_eq!(problems("1 + AVERGE(2)"), [expected]);
        assert_eq!(problems("5 kms")[0].2.as_deref(), Some("did you mean km?"));
    }

    #[test]
    fn arguments_are_counted() {
        let help = "NOT(condition): The opposite.".to_owned();
        assert_eq!(problems("NOT(1, 2)"), [(0, "too many arguments".into(), Some(help))]);
        assert_eq!(problems("@2023-02-29")[0].1, "there is no day 2023-02-29");
    }
}
