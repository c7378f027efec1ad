use crate::{Expr, Kind, Range};

/// Shows every part of a formula to `visit`, parts before wholes.
pub fn walk<'a>(expr: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    match &expr.kind {
        Kind::Convert(inner, _) | Kind::Unary(_, inner) => walk(inner, visit),
        Kind::Binary(_, left, right) => {
            walk(left, visit);
            walk(right, visit);
        }
        Kind::Call(_, arguments) => arguments.iter().for_each(|argument| walk(argument, visit)),
        Kind::Number(_)
        | Kind::Text(_)
        | Kind::Date(_)
        | Kind::Name(_)
        | Kind::Cell(_)
        | Kind::Range(_)
        | Kind::Quantity(..) => {}
    }
    visit(expr);
}

/// Builds another formula from what `change` makes of each part, parts before wholes.
pub fn fold(expr: Expr, change: &mut dyn FnMut(Expr) -> Expr) -> Expr {
    let mut inside = |inner: Box<Expr>| Box::new(fold(*inner, change));
    let kind = match expr.kind {
        Kind::Convert(inner, unit) => Kind::Convert(inside(inner), unit),
        Kind::Unary(operator, inner) => Kind::Unary(operator, inside(inner)),
        Kind::Binary(operator, left, right) => Kind::Binary(operator, inside(left), inside(right)),
        Kind::Call(name, arguments) => {
            Kind::Call(name, arguments.into_iter().map(|argument| fold(argument, change)).collect())
        }
        leaf => leaf,
    };
    change(Expr { kind, span: expr.span })
}

/// The ranges a formula reads; a single cell is a range of one.
pub fn references(expr: &Expr) -> Vec<Range> {
    let mut ranges = Vec::new();
    walk(expr, &mut |part| match part.kind {
        Kind::Cell(cell) => ranges.push(Range { from: cell.place(), to: cell.place() }),
        Kind::Range(Range { from, to }) => ranges.push(Range { from: from.place(), to: to.place() }),
        _ => {}
    });
    ranges
}

#[cfg(test)]
mod tests {
    use super::{fold, references};
    use crate::{Kind, parse};

    #[test]
    fn cells_and_ranges_are_found() {
        let ranges = references(&parse("$A$1 + SUM(B1:B2) * -A1").unwrap());
        assert_eq!(ranges.iter().map(ToString::to_string).collect::<Vec<_>>(), ["A1:A1", "B1:B2", "A1:A1"]);
    }

    #[test]
    fn a_formula_can_be_moved() {
        let moved = fold(parse("A1 + $A1 * SUM(B1)").unwrap(), &mut |mut part| {
            if let Kind::Cell(cell) = &mut part.kind {
                *cell = cell.moved(1, 1).unwrap_or(*cell);
            }
            part
        });
        assert_eq!(moved.to_string(), "B2 + $A2 * SUM(C2)");
    }
}
