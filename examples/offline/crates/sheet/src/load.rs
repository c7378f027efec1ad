use crate::Sheet;
use tally_csv::{Dialect, Error, parse};
use tally_syntax::CellRef;
use tally_text::Source;

/// Reads a sheet from comma-separated values: each field is typed into its cell. Lines that start with `#` are comments
/// and take no row.
pub fn load(source: &Source) -> Result<Sheet, Error> {
    let dialect = Dialect { comment: Some(b'#'), trim: true, ..Dialect::default() };
    let rows = parse(source, dialect)?;
    let cells = (0..).zip(rows).flat_map(|(row, fields)| {
        let places = (0..).map(move |column| CellRef::new(row, column));
        places.zip(fields).filter(|(_, input)| !input.is_empty())
    });
    Ok(Sheet::from_inputs(cells))
}

#[cfg(test)]
mod tests {
    use super::load;
    use tally_text::Source;

    #[test]
    fn fields_become_cells() {
        let source = Source::new("t", "# a comment\nitem, price\nbolt, 2.50\n\nnut, \"=B2 * 2\"\n,=SUM(B2:B3)\n");
        let sheet = load(&source).unwrap();
        assert_eq!(sheet.size(), (4, 2));
        assert_eq!(sheet.value("B4".parse().unwrap()).to_string(), "7.5");
        assert_eq!(sheet.cells().count(), 7);
    }
}
