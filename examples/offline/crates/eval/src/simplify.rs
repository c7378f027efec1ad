use crate::evaluate::{binary, unary};
use tally_syntax::{Expr, Kind, fold};
use tally_value::Value;

/// A formula with the same value in which whatever depends on no cell has been computed: `A1 * (60 * 24)` becomes
/// `A1 * 1440`. What comes to a fault, or to something that is no literal, is left as it is.
pub fn simplify(expr: Expr) -> Expr {
    fold(expr, &mut |part| {
        let computed = match &part.kind {
            Kind::Unary(operator, inner) => literal(inner).map(|inner| unary(*operator, &inner)),
            Kind::Binary(operator, left, right) => {
                literal(left).zip(literal(right)).map(|(left, right)| binary(*operator, &left, &right))
            }
            _ => None,
        };
        match computed {
            // Below zero a number is written with an operator, so it is none itself.
            Some(Ok(Value::Number(number))) if !number.is_negative() => {
                Expr { kind: Kind::Number(number), span: part.span }
            }
            Some(Ok(Value::Text(text))) => Expr { kind: Kind::Text(text), span: part.span },
            _ => part,
        }
    })
}

fn literal(expr: &Expr) -> Option<Value> {
    match &expr.kind {
        Kind::Number(number) => Some(Value::Number(*number)),
        Kind::Text(text) => Some(Value::Text(text.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::simplify;
    use tally_syntax::parse;

    #[test]
    fn what_depends_on_no_cell_is_computed() {
        let simplified = |text: &str| simplify(parse(text).unwrap()).to_string();
        assert_eq!(simplified("A1 * (60 * 24)"), "A1 * 1440");
        assert_eq!(simplified("SUM(1 + 1, \"a\" & 2)"), "SUM(2, \"a2\")");
        assert_eq!(simplified("1 / 0 + (2 - 5)"), "1 / 0 + (2 - 5)");
    }
}
