use crate::Table;
use std::fmt::{self, Write};
use tally_text::pad;

pub(crate) fn write(out: &mut String, table: &Table) -> fmt::Result {
    let rows = table.shown();
    let widths = table.widths(&rows);
    let mut line = |cells: Vec<&str>| {
        let columns = table.columns.iter().zip(&widths).zip(cells);
        let padded: Vec<String> = columns.map(|((column, &width), cell)| pad(cell, width, column.align)).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(table.columns.iter().map(|column| column.heading.as_str()).collect())?;
    let rules: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
    line(rules.iter().map(String::as_str).collect())?;
    rows.iter().try_for_each(|row| line(row.iter().map(String::as_str).collect()))
}
