use tally_syntax::{CellRef, Range};
use tally_value::Value;

/// Where a formula finds the cells it names.
pub trait Scope {
    /// The value of a cell.
    fn cell(&self, cell: CellRef) -> Value;

    /// The values of a range, row by row.
    fn range(&self, range: Range) -> Vec<Value> {
        range.cells().map(|cell| self.cell(cell)).collect()
    }
}

/// For formulas that stand alone: every cell is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCells;

impl Scope for NoCells {
    fn cell(&self, _: CellRef) -> Value {
        Value::Empty
    }
}

impl<F: Fn(CellRef) -> Value> Scope for F {
    fn cell(&self, cell: CellRef) -> Value {
        self(cell)
    }
}
