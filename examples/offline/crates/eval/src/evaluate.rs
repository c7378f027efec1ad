use crate::Scope;
use std::cmp::Ordering;
use tally_decimal::Decimal;
use tally_functions::{Argument, Function};
use tally_syntax::{Binary, Expr, Kind, Unary};
use tally_units::{Quantity, Unit};
use tally_value::{Fault, Value};

/// π to 28 places.
const PI: Decimal = Decimal::new(31_415_926_535_897_932_384_626_433_833, 28);

/// The cells one formula may read, so that a slip of the pen such as `A1:ZZ99999` does not take the memory.
const MAX_RANGE: u32 = 1 << 20;

/// The value of a formula. Every trouble becomes a fault.
pub fn evaluate(expr: &Expr, scope: &dyn Scope) -> Value {
    value(expr, scope).unwrap_or_else(Value::Fault)
}

/// The value a name stands for, if any.
pub(crate) fn constant(name: &str) -> Option<Value> {
    match name.to_uppercase().as_str() {
        "TRUE" => Some(Value::Bool(true)),
        "FALSE" => Some(Value::Bool(false)),
        "PI" => Some(Value::Number(PI)),
        _ => None,
    }
}

fn value(expr: &Expr, scope: &dyn Scope) -> Result<Value, Fault> {
    match &expr.kind {
        Kind::Number(number) => Ok(Value::Number(*number)),
        Kind::Text(text) => Ok(Value::Text(text.clone())),
        Kind::Date(date) => date.parse().map(Value::Date).map_err(|_| Fault::Number),
        Kind::Name(name) => constant(name).ok_or(Fault::Name),
        Kind::Cell(cell) => Ok(scope.cell(cell.place())),
        // A range is no value of its own; alone it stands for its only cell.
        Kind::Range(range) => match range.size() {
            (1, 1) => Ok(scope.cell(range.from.place())),
            _ => Err(Fault::Type),
        },
        Kind::Quantity(amount, unit) => Ok(Value::Quantity(Quantity::new(*amount, self::unit(unit)?))),
        Kind::Convert(inner, unit) => value(inner, scope)?.convert(self::unit(unit)?),
        Kind::Unary(operator, inner) => unary(*operator, &value(inner, scope)?),
        Kind::Binary(operator, left, right) => binary(*operator, &value(left, scope)?, &value(right, scope)?),
        Kind::Call(name, arguments) => {
            let function = Function::from_name(name).ok_or(Fault::Name)?;
            let arguments = arguments.iter().map(|argument| self::argument(argument, scope));
            Ok(function.call(arguments.collect::<Result<_, _>>()?))
        }
    }
}

fn unit(symbol: &str) -> Result<Unit, Fault> {
    Unit::from_symbol(symbol).ok_or(Fault::Name)
}

/// A fault among the arguments is a value like any other: `IFERROR` has a use for it.
fn argument(expr: &Expr, scope: &dyn Scope) -> Result<Argument, Fault> {
    match &expr.kind {
        Kind::Range(range) => {
            let (rows, columns) = range.size();
            let few = rows.checked_mul(columns).is_some_and(|cells| cells <= MAX_RANGE);
            if few { Ok(Argument::Range(scope.range(*range))) } else { Err(Fault::Number) }
        }
        _ => Ok(Argument::Single(evaluate(expr, scope))),
    }
}

pub(crate) fn unary(operator: Unary, operand: &Value) -> Result<Value, Fault> {
    match operator {
        Unary::Negate => operand.negate(),
        Unary::Plus => operand.fault().map_or_else(|| Ok(operand.clone()), Err),
        Unary::Percent => operand.divide(&Value::Number(Decimal::HUNDRED)),
    }
}

pub(crate) fn binary(operator: Binary, left: &Value, right: &Value) -> Result<Value, Fault> {
    let compared = |holds: fn(Ordering) -> bool| Ok(Value::Bool(holds(left.compare(right)?)));
    match operator {
        Binary::Add => left.add(right),
        Binary::Subtract => left.subtract(right),
        Binary::Multiply => left.multiply(right),
        Binary::Divide => left.divide(right),
        Binary::Power => left.power(right),
        Binary::Join => match (left.fault(), right.fault()) {
            (Some(fault), _) | (_, Some(fault)) => Err(fault),
            _ => Ok(Value::Text(format!("{left}{right}"))),
        },
        Binary::Equal => compared(Ordering::is_eq),
        Binary::NotEqual => compared(Ordering::is_ne),
        Binary::Less => compared(Ordering::is_lt),
        Binary::LessOrEqual => compared(Ordering::is_le),
        Binary::Greater => compared(Ordering::is_gt),
        Binary::GreaterOrEqual => compared(Ordering::is_ge),
    }
}

#[cfg(test)]
mod tests {
    use super::evaluate;
    use tally_syntax::{CellRef, parse};
    use tally_value::Value;

    fn result(text: &str) -> String {
        // Column A holds the numbers of the rows, column B nothing, column C a fault.
        let scope = |cell: CellRef| match cell.column {
            0 => Value::from(cell.row + 1),
            2 => Value::from_input("#N/A"),
            _ => Value::Empty,
        };
        evaluate(&parse(text).unwrap(), &scope).to_string()
    }

    #[test]
    fn formulas_come_to_what_they_should() {
        for (text, expected) in [
            ("0.1 + 0.2 = 0.3", "TRUE"),
            ("-2 ^ 2", "-4"),
            ("200 * 19%", "38"),
            ("SUM(A1:A10, 5)", "60"),
            ("A2 & \" of \" & A10", "2 of 10"),
            ("@2024-02-28 + 2", "2024-03-01"),
            ("90 km/h * 20 min in km", "30 km"),
            ("ROUND(AMOUNT(5 ft + 11 inch in cm), 1)", "180.3"),
            ("IF(A3 > B3; \"more\"; \"less\")", "more"),
            ("ROUND(PI, 5)", "3.14159"),
        ] {
            assert_eq!(result(text), expected, "{text}");
        }
    }

    #[test]
    fn faults_spread_unless_they_are_caught() {
        assert_eq!(result("1 / B1"), "#DIV/0!");
        assert_eq!(result("C1 + 1"), "#N/A");
        assert_eq!(result("SUM(A1:C1)"), "#N/A");
        assert_eq!(result("IFERROR(C1, 7)"), "7");
        assert_eq!(result("NOSUCH(1)"), "#NAME?");
        assert_eq!(result("1 km + 1 kg"), "#UNIT!");
        assert_eq!(result("A1:A2 + 1"), "#VALUE!");
        assert_eq!(result("SUM(A1:ZZ99999)"), "#NUM!");
    }
}
