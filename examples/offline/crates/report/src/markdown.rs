use crate::Table;
use std::fmt::{self, Write};
use tally_text::{Align, pad};

pub(crate) fn write(out: &mut String, table: &Table) -> fmt::Result {
    let rows: Vec<Vec<String>> =
        table.shown().iter().map(|row| row.iter().map(|cell| escape(cell)).collect()).collect();
    let headings: Vec<String> = table.columns.iter().map(|column| escape(&column.heading)).collect();
    let widths: Vec<usize> = table.widths(&rows).into_iter().map(|width| width.max(3)).collect();
    line(out, table, &widths, &headings)?;
    let rules = table.columns.iter().zip(&widths).map(|(column, &width)| match column.align {
        Align::Left => "-".repeat(width + 2),
        Align::Right => format!("{}:", "-".repeat(width + 1)),
        Align::Center => format!(":{}:", "-".repeat(width)),
    });
    writeln!(out, "|{}|", rules.collect::<Vec<_>>().join("|"))?;
    rows.iter().try_for_each(|row| line(out, table, &widths, row))
}

fn line(out: &mut String, table: &Table, widths: &[usize], cells: &[String]) -> fmt::Result {
    let columns = table.columns.iter().zip(widths).zip(cells);
    let padded: Vec<String> = columns.map(|((column, &width), cell)| pad(cell, width, column.align)).collect();
    writeln!(out, "| {} |", padded.join(" | "))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', "<br>")
}
