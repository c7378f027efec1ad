use crate::Cell;
use std::collections::{BTreeMap, BTreeSet};
use tally_eval::evaluate;
use tally_graph::{Cycle, Graph};
use tally_syntax::{CellRef, references};
use tally_text::Diagnostic;
use tally_value::{Fault, Value};

/// Cells that are always up to date: every change computes what depends on it, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    cells: BTreeMap<CellRef, Cell>,
    pub(crate) graph: Graph<CellRef>,
}

impl Sheet {
    /// A sheet without cells.
    pub fn new() -> Self {
        Self::default()
    }

    /// A sheet with these inputs.
    pub fn from_inputs(inputs: impl IntoIterator<Item = (CellRef, String)>) -> Self {
        let cells = inputs.into_iter().map(|(place, input)| (place.place(), Cell::new(input))).collect();
        let mut sheet = Self { cells, graph: Graph::new() };
        sheet.connect();
        sheet.compute(sheet.cells.keys().copied().collect());
        sheet
    }

    /// Types something into a cell, and returns the cells whose value is another now.
    pub fn set(&mut self, place: CellRef, input: impl Into<String>) -> Vec<CellRef> {
        let place = place.place();
        self.cells.insert(place, Cell::new(input.into()));
        self.connect();
        self.compute(self.graph.affected([place]))
    }

    /// Notes which cells each formula reads. What is not there needs no computing, so ranges count only for the cells
    /// they have.
    fn connect(&mut self) {
        let mut graph = Graph::new();
        for (&place, cell) in &self.cells {
            let ranges = cell.formula().map(references).unwrap_or_default();
            let needs = ranges.iter().flat_map(|range| {
                let rows = CellRef::new(range.from.row.min(range.to.row), 0)..;
                let last = range.from.row.max(range.to.row);
                let near = self.cells.range(rows).map(|(cell, _)| *cell).take_while(move |cell| cell.row <= last);
                near.filter(|&cell| range.contains(cell))
            });
            graph.set(place, needs);
        }
        self.graph = graph;
    }

    /// Computes these cells in an order in which each finds what it needs.
    fn compute(&mut self, cells: BTreeSet<CellRef>) -> Vec<CellRef> {
        let schedule = self.graph.restricted(&cells).schedule();
        let mut changed = Vec::new();
        let in_cycles = schedule.cycles.iter().flat_map(|cycle| &cycle.0);
        for &place in in_cycles {
            self.store(place, Value::Fault(Fault::Cycle), &mut changed);
        }
        for &place in schedule.order() {
            let Some(expr) = self.cells.get(&place).and_then(Cell::formula) else {
                changed.push(place);
                continue;
            };
            let value = evaluate(expr, &|cell: CellRef| self.value(cell));
            self.store(place, value, &mut changed);
        }
        changed.sort();
        changed
    }

    fn store(&mut self, place: CellRef, value: Value, changed: &mut Vec<CellRef>) {
        if let Some(cell) = self.cells.get_mut(&place) {
            if cell.value != value {
                cell.value = value;
                changed.push(place);
            }
        }
    }

    /// A cell, if anything was typed into it.
    pub fn cell(&self, place: CellRef) -> Option<&Cell> {
        self.cells.get(&place.place())
    }

    /// All cells, row by row.
    pub fn cells(&self) -> impl Iterator<Item = (CellRef, &Cell)> {
        self.cells.iter().map(|(place, cell)| (*place, cell))
    }

    /// The value of a cell.
    pub fn value(&self, place: CellRef) -> Value {
        self.cell(place).map(|cell| cell.value.clone()).unwrap_or_default()
    }

    /// How many rows and columns hold all cells.
    pub fn size(&self) -> (u32, u32) {
        let most = |side: fn(&CellRef) -> u32| self.cells.keys().map(side).max().map_or(0, |last| last + 1);
        (most(|cell| cell.row), most(|cell| cell.column))
    }

    /// What is wrong with which cell.
    pub fn problems(&self) -> impl Iterator<Item = (CellRef, &Cell, &Diagnostic)> {
        self.cells().flat_map(|(place, cell)| cell.problems.iter().map(move |problem| (place, cell, problem)))
    }

    /// Cells that need their own value.
    pub fn cycles(&self) -> Vec<Cycle<CellRef>> {
        self.graph.schedule().cycles
    }
}

#[cfg(test)]
mod tests {
    use super::Sheet;
    use tally_syntax::CellRef;

    fn cell(text: &str) -> CellRef {
        text.parse().unwrap()
    }

    fn sheet(inputs: &[(&str, &str)]) -> Sheet {
        Sheet::from_inputs(inputs.iter().map(|(place, input)| (cell(place), (*input).to_owned())))
    }

    fn shown(sheet: &Sheet, place: &str) -> String {
        sheet.value(cell(place)).to_string()
    }

    #[test]
    fn cells_are_computed_in_any_order() {
        let sheet = sheet(&[("A1", "=B1*2"), ("B1", "=C1+1"), ("C1", "20")]);
        assert_eq!(shown(&sheet, "A1"), "42");
    }

    #[test]
    fn a_change_computes_what_depends_on_it() {
        let mut sheet = sheet(&[("A1", "1"), ("A2", "2"), ("B1", "=SUM(A1:A9)"), ("B2", "=B1*10"), ("C1", "=A2")]);
        let changed: Vec<String> = sheet.set(cell("A1"), "5").iter().map(ToString::to_string).collect();
        assert_eq!(changed, ["A1", "B1", "B2"]);
        assert_eq!(shown(&sheet, "B2"), "70");
        sheet.set(cell("A3"), "3");
        assert_eq!(shown(&sheet, "B2"), "100", "a new cell in a range counts");
    }

    #[test]
    fn cycles_are_faults_and_can_be_broken() {
        let mut sheet = sheet(&[("A1", "=B1"), ("B1", "=A1+1"), ("C1", "=B1"), ("D1", "7")]);
        assert_eq!(shown(&sheet, "C1"), "#CYCLE!");
        assert_eq!(shown(&sheet, "D1"), "7");
        assert_eq!(sheet.cycles()[0].to_string(), "A1 → B1 → A1");
        sheet.set(cell("B1"), "1");
        assert_eq!(shown(&sheet, "C1"), "1");
        assert!(sheet.cycles().is_empty());
    }

    #[test]
    fn problems_point_into_the_input() {
        let sheet = sheet(&[("A1", "=1 +"), ("B1", "=SUMM(1)")]);
        let problems: Vec<_> =
            sheet.problems().map(|(place, _, problem)| (place.to_string(), problem.span.start)).collect();
        assert_eq!(problems, [("A1".to_owned(), 4), ("B1".to_owned(), 1)]);
        assert_eq!(shown(&sheet, "A1"), "#SYNTAX!");
        assert_eq!(shown(&sheet, "B1"), "#NAME?");
    }
}
