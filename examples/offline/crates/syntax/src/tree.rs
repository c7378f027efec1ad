use crate::{Binary, CellRef, Range, Unary};
use tally_decimal::Decimal;
use tally_text::Span;

/// A part of a formula and where it stands.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// Two formulas are equal when they mean the same, wherever they stand.
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// What a part of a formula is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `12.5`
    Number(Decimal),
    /// `"text"`
    Text(String),
    /// `@2024-02-29`, without the sign.
    Date(String),
    /// `PI`
    Name(String),
    /// `B12`
    Cell(CellRef),
    /// `A1:B12`
    Range(Range),
    /// `12 km/h`
    Quantity(Decimal, String),
    /// `speed in km/h`
    Convert(Box<Expr>, String),
    /// `-x`, `x%`
    Unary(Unary, Box<Expr>),
    /// `x + y`
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `SUM(A1:A9)`
    Call(String, Vec<Expr>),
}

impl Kind {
    /// The higher, the tighter its parts hold together.
    pub(crate) fn precedence(&self) -> u8 {
        match self {
            Self::Convert(..) => 0,
            Self::Binary(operator, ..) => operator.precedence(),
            Self::Unary(operator, _) => operator.precedence(),
            // A quantity is a literal, but a power would seem to belong to its unit.
            Self::Quantity(..) => Unary::SIGN,
            _ => u8::MAX,
        }
    }
}
