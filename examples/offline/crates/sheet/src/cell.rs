use tally_eval::{check, simplify};
use tally_syntax::{Expr, parse};
use tally_text::Diagnostic;
use tally_value::{Fault, Value};

/// A cell as it was typed, and what became of it.
#[derive(Clone, Debug)]
pub struct Cell {
    /// As it was typed.
    pub input: String,
    /// What that means.
    pub content: Content,
    /// What it comes to.
    pub value: Value,
    /// What is wrong with it; places count from the start of the input.
    pub problems: Vec<Diagnostic>,
}

/// What an input means.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A value that stays as it is.
    Literal,
    /// What stood after `=`.
    Formula(Expr),
    /// What stood after `=` is no formula.
    Broken,
}

impl Cell {
    /// Reads an input. Formulas have no value yet.
    pub(crate) fn new(input: String) -> Self {
        let Some(text) = input.strip_prefix('=') else {
            let value = Value::from_input(&input);
            return Self { input, content: Content::Literal, value, problems: Vec::new() };
        };
        let shifted = |mut problem: Diagnostic| {
            problem.span.start += 1;
            problem.span.end += 1;
            problem
        };
        let (content, value, problems) = match parse(text) {
            Ok(expr) => {
                let problems = check(&expr);
                (Content::Formula(simplify(expr)), Value::Empty, problems)
            }
            Err(problem) => (Content::Broken, Value::Fault(Fault::Syntax), vec![problem]),
        };
        let problems = problems.into_iter().map(shifted).collect();
        Self { input, content, value, problems }
    }

    /// The formula, if it is one.
    pub const fn formula(&self) -> Option<&Expr> {
        match &self.content {
            Content::Formula(expr) => Some(expr),
            Content::Literal | Content::Broken => None,
        }
    }
}
