use std::fmt;
use std::str::FromStr;

/// The largest number of columns: A to ZZ.
const COLUMNS: u32 = 702;

/// A cell by its place. `$` marks what stays when a formula is copied elsewhere.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CellRef {
    /// The row, from 0.
    pub row: u32,
    /// The column, from 0.
    pub column: u32,
    /// Whether the row stays.
    pub fixed_row: bool,
    /// Whether the column stays.
    pub fixed_column: bool,
}

impl CellRef {
    /// A cell that moves with the formula.
    pub const fn new(row: u32, column: u32) -> Self {
        Self { row, column, fixed_row: false, fixed_column: false }
    }

    /// The same place without `$`.
    #[must_use]
    pub const fn place(self) -> Self {
        Self::new(self.row, self.column)
    }

    /// Where the reference points after the formula moved by so many rows and columns; `None` beyond the edge.
    pub fn moved(self, rows: i32, columns: i32) -> Option<Self> {
        let row = if self.fixed_row { Some(self.row) } else { self.row.checked_add_signed(rows) };
        let column = if self.fixed_column { Some(self.column) } else { self.column.checked_add_signed(columns) };
        Some(Self { row: row?, column: column.filter(|&column| column < COLUMNS)?, ..self })
    }
}

impl fmt::Display for CellRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |index: u32| char::from(b'A' + (index % 26) as u8);
        let mut text = String::new();
        if self.fixed_column {
            text.push('$');
        }
        if self.column >= 26 {
            text.push(letter(self.column / 26 - 1));
        }
        text.push(letter(self.column));
        if self.fixed_row {
            text.push('$');
        }
        text.push_str(&(self.row + 1).to_string());
        formatter.pad(&text)
    }
}

/// The text is not a cell such as `B12` or `$B$12`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseCellError;

impl fmt::Display for ParseCellError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a cell is written like B12 or $B$12")
    }
}

impl std::error::Error for ParseCellError {}

impl FromStr for CellRef {
    type Err = ParseCellError;

    fn from_str(text: &str) -> Result<Self, ParseCellError> {
        let (fixed_column, rest) = text.strip_prefix('$').map_or((false, text), |rest| (true, rest));
        let letters = rest.bytes().take_while(u8::is_ascii_uppercase).count();
        let (letters, rest) = rest.split_at(letters);
        if !(1..=2).contains(&letters.len()) {
            return Err(ParseCellError);
        }
        let column = letters.bytes().fold(0, |column, byte| column * 26 + u32::from(byte - b'A') + 1) - 1;
        let (fixed_row, digits) = rest.strip_prefix('$').map_or((false, rest), |rest| (true, rest));
        if digits.starts_with(['0', '+']) {
            return Err(ParseCellError);
        }
        let row = digits.parse::<u32>().map_err(|_| ParseCellError)? - 1;
        Ok(Self { row, column, fixed_row, fixed_column })
    }
}

/// All cells between two corners.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Range {
    /// One corner.
    pub from: CellRef,
    /// The other.
    pub to: CellRef,
}

impl Range {
    /// How many rows and columns it has.
    pub fn size(self) -> (u32, u32) {
        (self.from.row.abs_diff(self.to.row) + 1, self.from.column.abs_diff(self.to.column) + 1)
    }

    /// Whether a cell lies in it.
    pub fn contains(self, cell: CellRef) -> bool {
        let between = |at: u32, a: u32, b: u32| (a.min(b)..=a.max(b)).contains(&at);
        between(cell.row, self.from.row, self.to.row) && between(cell.column, self.from.column, self.to.column)
    }

    /// The cells, row by row.
    pub fn cells(self) -> impl Iterator<Item = CellRef> {
        let (top, left) = (self.from.row.min(self.to.row), self.from.column.min(self.to.column));
        let (rows, columns) = self.size();
        (0..rows).flat_map(move |row| (0..columns).map(move |column| CellRef::new(top + row, left + column)))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::{CellRef, Range};

    #[test]
    fn places_survive_their_text_form() {
        for (text, row, column) in [("A1", 0, 0), ("Z9", 8, 25), ("AA10", 9, 26), ("ZZ1", 0, 701)] {
            let cell: CellRef = text.parse().unwrap();
            assert_eq!((cell.row, cell.column), (row, column));
            assert_eq!(cell.to_string(), text);
        }
        assert_eq!("$B$12".parse::<CellRef>().unwrap().to_string(), "$B$12");
        for text in ["", "A", "1", "A0", "AAA1", "a1", "A+1", "A99999999999"] {
            assert!(text.parse::<CellRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_is_not_fixed_moves() {
        let moved = |text: &str| text.parse::<CellRef>().unwrap().moved(2, -1).map(|cell| cell.to_string());
        assert_eq!(moved("B2").as_deref(), Some("A4"));
        assert_eq!(moved("$B$2").as_deref(), Some("$B$2"));
        assert_eq!(moved("A2"), None);
    }

    #[test]
    fn a_range_may_be_given_by_any_two_corners() {
        let range = Range { from: "B1".parse().unwrap(), to: "A2".parse().unwrap() };
        assert_eq!(range.cells().map(|cell| cell.to_string()).collect::<Vec<_>>(), ["A1", "B1", "A2", "B2"]);
        assert!(range.cells().all(|cell| range.contains(cell)));
        assert!(!range.contains(CellRef::new(0, 2)));
    }
}
