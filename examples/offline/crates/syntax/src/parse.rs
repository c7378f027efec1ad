use crate::{Binary, CellRef, Expr, Kind, Range, Unary};
use tally_decimal::Decimal;
use tally_lexer::{Token, TokenKind, tokenize};
use tally_text::{Diagnostic, Span};

/// How deeply a formula may be nested, so that a long row of brackets cannot exhaust the stack.
const MAX_DEPTH: usize = 128;

/// Reads a formula, without the `=` that marks it in a sheet.
pub fn parse(text: &str) -> Result<Expr, Diagnostic> {
    let tokens = tokenize(text)?;
    let mut parser = Parser { text, tokens: &tokens, at: 0, depth: 0 };
    let expr = parser.expression(0)?;
    match parser.peek() {
        Some(token) => Err(parser.unexpected(token, "an operator")),
        None => Ok(expr),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn next_if(&mut self, kind: TokenKind) -> Option<Token> {
        let token = self.peek().filter(|token| token.kind == kind)?;
        self.at += 1;
        Some(token)
    }

    fn slice(&self, span: Span) -> &'a str {
        &self.text[span.range()]
    }

    fn unexpected(&self, token: Token, wanted: &str) -> Diagnostic {
        Diagnostic::error(token.span, format!("{wanted} is expected, not {}", token.kind.title()))
    }

    fn expect(&mut self, kind: TokenKind, opened: Span) -> Result<Token, Diagnostic> {
        if let Some(token) = self.next_if(kind) {
            return Ok(token);
        }
        Err(match self.peek() {
            Some(token) => self.unexpected(token, kind.title()),
            None => Diagnostic::error(opened, "the bracket is never closed"),
        })
    }

    /// Precedence climbing: everything that binds at least as tightly as asked.
    fn expression(&mut self, least: u8) -> Result<Expr, Diagnostic> {
        self.depth += 1;
        let mut left = self.prefix()?;
        while let Some(token) = self.peek() {
            left = if token.kind == TokenKind::Percent && Unary::PERCENT >= least {
                self.at += 1;
                let span = left.span.to(token.span);
                Expr { kind: Kind::Unary(Unary::Percent, Box::new(left)), span }
            } else if token.kind == TokenKind::In && least == 0 {
                self.at += 1;
                let (unit, span) = self.unit().ok_or_else(|| self.missing("a unit"))?;
                Expr { span: left.span.to(span), kind: Kind::Convert(Box::new(left), unit) }
            } else {
                let operator = Binary::from_token(token.kind).filter(|operator| operator.precedence() >= least);
                let Some(operator) = operator else { break };
                self.at += 1;
                let above = operator.precedence() + u8::from(!operator.associates_right());
                let right = self.expression(above)?;
                Expr { span: left.span.to(right.span), kind: Kind::Binary(operator, Box::new(left), Box::new(right)) }
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn missing(&self, wanted: &str) -> Diagnostic {
        match self.peek() {
            Some(token) => self.unexpected(token, wanted),
            None => Diagnostic::error(Span::new(self.text.len(), self.text.len()), format!("{wanted} is missing")),
        }
    }

    fn prefix(&mut self) -> Result<Expr, Diagnostic> {
        let token = self.peek().ok_or_else(|| self.missing("a value"))?;
        if self.depth > MAX_DEPTH {
            return Err(Diagnostic::error(token.span, "the formula is nested too deeply"));
        }
        self.at += 1;
        let operator = match token.kind {
            TokenKind::Minus => Unary::Negate,
            TokenKind::Plus => Unary::Plus,
            _ => return self.atom(token),
        };
        let operand = self.expression(Unary::SIGN)?;
        Ok(Expr { span: token.span.to(operand.span), kind: Kind::Unary(operator, Box::new(operand)) })
    }

    fn atom(&mut self, token: Token) -> Result<Expr, Diagnostic> {
        let text = self.slice(token.span);
        let mut span = token.span;
        let kind = match token.kind {
            TokenKind::Number => {
                let number: Decimal =
                    text.parse().map_err(|error| Diagnostic::error(span, format!("{text}: {error}")))?;
                match self.unit() {
                    Some((unit, end)) => {
                        span = span.to(end);
                        Kind::Quantity(number, unit)
                    }
                    None => Kind::Number(number),
                }
            }
            TokenKind::Text => Kind::Text(text[1..text.len() - 1].replace("\"\"", "\"")),
            TokenKind::Date => Kind::Date(text[1..].to_owned()),
            // Some functions are called like cells.
            TokenKind::Name | TokenKind::Cell if self.next_if(TokenKind::Open).is_some() => {
                let (arguments, end) = self.arguments(span)?;
                span = span.to(end);
                Kind::Call(text.to_uppercase(), arguments)
            }
            TokenKind::Name => Kind::Name(text.to_owned()),
            TokenKind::Cell => {
                let from = self.cell(token)?;
                match self.next_if(TokenKind::Colon) {
                    Some(_) => {
                        let end = self.next_if(TokenKind::Cell).ok_or_else(|| self.missing("a cell"))?;
                        span = span.to(end.span);
                        Kind::Range(Range { from, to: self.cell(end)? })
                    }
                    None => Kind::Cell(from),
                }
            }
            TokenKind::Open => {
                let inner = self.expression(0)?;
                let close = self.expect(TokenKind::Close, token.span)?;
                return Ok(Expr { kind: inner.kind, span: span.to(close.span) });
            }
            _ => return Err(self.unexpected(token, "a value")),
        };
        Ok(Expr { kind, span })
    }

    fn cell(&self, token: Token) -> Result<CellRef, Diagnostic> {
        self.slice(token.span).parse().map_err(|error| Diagnostic::error(token.span, format!("{error}")))
    }

    fn arguments(&mut self, opened: Span) -> Result<(Vec<Expr>, Span), Diagnostic> {
        let mut arguments = Vec::new();
        if let Some(close) = self.next_if(TokenKind::Close) {
            return Ok((arguments, close.span));
        }
        loop {
            arguments.push(self.expression(0)?);
            if self.next_if(TokenKind::Comma).or_else(|| self.next_if(TokenKind::Semicolon)).is_none() {
                return Ok((arguments, self.expect(TokenKind::Close, opened)?.span));
            }
        }
    }

    /// A unit such as `km` or `km/h`; no blank may stand around the stroke, which would divide otherwise.
    fn unit(&mut self) -> Option<(String, Span)> {
        let name = self.next_if(TokenKind::Name)?;
        let span = match self.tokens.get(self.at..self.at + 2) {
            Some([slash, per])
                if slash.kind == TokenKind::Slash
                    && per.kind == TokenKind::Name
                    && name.span.end == slash.span.start
                    && slash.span.end == per.span.start =>
            {
                self.at += 2;
                name.span.to(per.span)
            }
            _ => name.span,
        };
        Some((self.slice(span).to_owned(), span))
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn printed(text: &str) -> String {
        parse(text).unwrap().to_string()
    }

    fn refused(text: &str) -> (usize, String) {
        let error = parse(text).unwrap_err();
        (error.span.start, error.message)
    }

    #[test]
    fn operators_bind_as_in_school() {
        assert_eq!(parse("1+2*3^4^5%"), parse("1+(2*(3^(4^(5%))))"));
        assert_eq!(parse("-2^2"), parse("-(2^2)"));
        assert_eq!(parse("1-2-3"), parse("(1-2)-3"));
        assert_eq!(parse("1&2=3+4"), parse("(1&2)=(3+4)"));
    }

    #[test]
    fn units_stick_to_their_number() {
        assert_eq!(printed("90 km/h*2 h in mi"), "90 km/h * 2 h in mi");
        assert_eq!(printed("6 m / x"), "6 m / x");
    }

    #[test]
    fn calls_take_any_expressions() {
        assert_eq!(printed("sum(A1:B2; LOG10(2))"), "SUM(A1:B2, LOG10(2))");
        assert_eq!(printed("NOW()"), "NOW()");
    }

    #[test]
    fn errors_point_at_the_culprit() {
        assert_eq!(refused("1 +"), (3, "a value is missing".into()));
        assert_eq!(refused("(1 + 2"), (0, "the bracket is never closed".into()));
        assert_eq!(refused("1 2"), (2, "an operator is expected, not a number".into()));
        assert_eq!(refused("A1:2"), (3, "a cell is expected, not a number".into()));
        assert_eq!(refused("3 in *"), (5, "a unit is expected, not `*`".into()));
        assert_eq!(refused(&"(".repeat(5000)).1, "the formula is nested too deeply");
    }
}
