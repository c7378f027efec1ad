use crate::Sheet;
use std::fmt;
use tally_syntax::CellRef;
use tally_value::Value;

/// How a cell came to its value, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Each cell after those it needs; the one in question is the last.
    pub steps: Vec<Step>,
    /// The longest chain of formulas that lead to it.
    pub chain: Vec<CellRef>,
}

/// One cell on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Which.
    pub cell: CellRef,
    /// What was typed into it.
    pub input: String,
    /// What it comes to.
    pub value: Value,
}

impl Sheet {
    /// Explains a cell.
    pub fn explain(&self, cell: CellRef) -> Explanation {
        let part = self.graph.restricted(&self.graph.closure([cell.place()]));
        let schedule = part.schedule();
        let in_cycles = schedule.cycles.iter().flat_map(|cycle| &cycle.0);
        let order = schedule.order().chain(in_cycles);
        let steps = order.filter_map(|&place| {
            let cell = self.cell(place)?;
            Some(Step { cell: place, input: cell.input.clone(), value: cell.value.clone() })
        });
        let cost = |place: &CellRef| u64::from(self.cell(*place).is_some_and(|cell| cell.formula().is_some()));
        let (chain, _) = part.critical_path(cost);
        Explanation { steps: steps.collect(), chain }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { cell, input, value } in &self.steps {
            let shown = value.to_string();
            match input.strip_prefix('=') {
                Some(formula) => writeln!(formatter, "{cell:<4} {shown} = {}", formula.trim())?,
                None => writeln!(formatter, "{cell:<4} {shown}")?,
            }
        }
        let chain: Vec<String> = self.chain.iter().map(ToString::to_string).collect();
        writeln!(formatter, "longest chain: {}", chain.join(" → "))
    }
}

#[cfg(test)]
mod tests {
    use crate::load;
    use tally_text::Source;

    #[test]
    fn each_step_comes_after_what_it_needs() {
        let sheet = load(&Source::new("t", "2,=A1*3,=B1+A1\n9,,\n")).unwrap();
        let explanation = sheet.explain("C1".parse().unwrap()).to_string();
        assert_eq!(explanation, "A1   2\nB1   6 = A1*3\nC1   8 = B1+A1\nlongest chain: A1 → B1 → C1\n");
    }
}
