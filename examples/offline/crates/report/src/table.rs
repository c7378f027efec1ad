use tally_sheet::Sheet;
use tally_syntax::CellRef;
use tally_text::Align;
use tally_value::Value;

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What stands above it.
    pub heading: String,
    /// Where its values stand.
    pub align: Align,
}

/// Values under headings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns, from the left.
    pub columns: Vec<Column>,
    /// The rows, each as long as there are columns.
    pub rows: Vec<Vec<Value>>,
    /// With how many places numbers are shown; all they have, if not given.
    pub places: Option<usize>,
}

impl Table {
    /// The table of a sheet whose first row has the headings. A column stands at the right when most of it is numbers.
    pub fn from_sheet(sheet: &Sheet, places: Option<usize>) -> Self {
        let (height, width) = sheet.size();
        let row = |row: u32| (0..width).map(move |column| sheet.value(CellRef::new(row, column)));
        let rows: Vec<Vec<Value>> = (1..height).map(|at| row(at).collect()).collect();
        let columns = row(0).enumerate().map(|(at, heading)| {
            let filled = rows.iter().map(|row| &row[at]).filter(|value| **value != Value::Empty);
            let (numeric, other): (Vec<&Value>, Vec<&Value>) = filled.partition(|value| value.is_numeric());
            let align = if numeric.len() > other.len() { Align::Right } else { Align::Left };
            Column { heading: heading.to_string(), align }
        });
        let columns = columns.collect();
        let places_of = |value: Value| match places.and_then(|places| i32::try_from(places).ok()) {
            Some(places) => value.rounded(places),
            None => value,
        };
        let rows = rows.into_iter().map(|row| row.into_iter().map(places_of).collect()).collect();
        Self { columns, rows, places }
    }

    /// A value as it is shown. Whole numbers get places only beside others that have some.
    pub(crate) fn show(&self, column: usize, value: &Value) -> String {
        let has_places = |value: &Value| match value {
            Value::Number(number) => !number.is_integer(),
            Value::Quantity(quantity) => !quantity.amount().is_integer(),
            _ => false,
        };
        match self.places.filter(|_| self.rows.iter().any(|row| has_places(&row[column]))) {
            Some(places) => format!("{value:.places$}"),
            None => value.to_string(),
        }
    }

    /// All values as they are shown.
    pub(crate) fn shown(&self) -> Vec<Vec<String>> {
        let row = |row: &Vec<Value>| row.iter().enumerate().map(|(column, value)| self.show(column, value)).collect();
        self.rows.iter().map(row).collect()
    }

    /// The width of each column, so that headings and `rows` fit.
    pub(crate) fn widths(&self, rows: &[Vec<String>]) -> Vec<usize> {
        let widest = |(at, column): (usize, &Column)| {
            let cells = rows.iter().map(|row| tally_text::width(&row[at]));
            cells.chain([tally_text::width(&column.heading)]).max().unwrap_or(0)
        };
        self.columns.iter().enumerate().map(widest).collect()
    }
}
