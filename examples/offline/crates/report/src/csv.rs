use crate::Table;
use std::fmt;
use tally_csv::Writer;

/// Writes values as they are, whatever places they are shown with elsewhere: they are meant to be read back.
pub(crate) fn write(out: &mut String, table: &Table) -> fmt::Result {
    let mut writer = Writer::new(Vec::new());
    let headings = table.columns.iter().map(|column| column.heading.clone()).collect::<Vec<_>>();
    let rows = table.rows.iter().map(|row| row.iter().map(ToString::to_string).collect());
    for row in std::iter::once(headings).chain(rows) {
        writer.row(row).map_err(|_| fmt::Error)?;
    }
    out.push_str(&String::from_utf8(writer.into_inner()).map_err(|_| fmt::Error)?);
    Ok(())
}
