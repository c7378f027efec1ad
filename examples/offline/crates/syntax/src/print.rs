use crate::{Binary, Expr, Kind, Unary};
use std::fmt::{self, Display, Formatter};

/// Writes the formula with as few brackets as it takes to read it back.
impl Display for Expr {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number(number) => number.fmt(formatter),
            Kind::Text(text) => write!(formatter, "\"{}\"", text.replace('"', "\"\"")),
            Kind::Date(date) => write!(formatter, "@{date}"),
            Kind::Name(name) => formatter.write_str(name),
            Kind::Cell(cell) => cell.fmt(formatter),
            Kind::Range(range) => range.fmt(formatter),
            Kind::Quantity(number, unit) => write!(formatter, "{number} {unit}"),
            Kind::Convert(inner, unit) => write!(formatter, "{} in {unit}", Operand(inner, 0)),
            Kind::Unary(Unary::Negate, inner) => write!(formatter, "-{}", Operand(inner, Unary::SIGN)),
            Kind::Unary(Unary::Plus, inner) => write!(formatter, "+{}", Operand(inner, Unary::SIGN)),
            Kind::Unary(Unary::Percent, inner) => write!(formatter, "{}%", Operand(inner, Unary::PERCENT)),
            Kind::Binary(operator, left, right) => {
                let least = operator.precedence();
                let (left_least, right_least) = match operator {
                    Binary::Power => (least + 1, least),
                    _ => (least, least + 1),
                };
                let (left, right) = (Operand(left, left_least), Operand(right, right_least));
                write!(formatter, "{left} {} {right}", operator.symbol())
            }
            Kind::Call(name, arguments) => {
                write!(formatter, "{name}(")?;
                for (at, argument) in arguments.iter().enumerate() {
                    let separator = if at == 0 { "" } else { ", " };
                    write!(formatter, "{separator}{argument}")?;
                }
                formatter.write_str(")")
            }
        }
    }
}

/// An operand, in brackets if it does not hold together tightly enough.
struct Operand<'a>(&'a Expr, u8);

impl Display for Operand<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self(expr, least) = self;
        if expr.kind.precedence() < *least { write!(formatter, "({expr})") } else { expr.fmt(formatter) }
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn brackets_are_kept_where_they_matter() {
        for text in [
            "(1 + 2) * 3",
            "1 - (2 - 3)",
            "(2 ^ 3) ^ 4",
            "2 ^ 3 ^ 4",
            "(-2) ^ 2",
            "-2 ^ 2",
            "(A1 + B1)%",
            "(A1 in km) * 2",
            "2 ^ (-1)",
            "\"a\"\"b\" & $C$4",
            "IF(A1 > 1, @2024-02-29, \"\")",
        ] {
            let expr = parse(text).unwrap();
            assert_eq!(expr.to_string(), text);
            assert_eq!(parse(&expr.to_string()), Ok(expr));
        }
        assert_eq!(parse("((1)+(2*3))").unwrap().to_string(), "1 + 2 * 3");
    }
}
