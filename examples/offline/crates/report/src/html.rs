use crate::Table;
use std::fmt::{self, Write};
use tally_text::Align;

pub(crate) fn write(out: &mut String, table: &Table) -> fmt::Result {
    out.push_str("<table>\n  <thead>\n    <tr>");
    for column in &table.columns {
        write!(out, "<th scope=\"col\">{}</th>", escape(&column.heading))?;
    }
    out.push_str("</tr>\n  </thead>\n  <tbody>\n");
    for row in table.shown() {
        out.push_str("    <tr>");
        for (column, cell) in table.columns.iter().zip(row) {
            let class = if column.align == Align::Right { " class=\"number\"" } else { "" };
            write!(out, "<td{class}>{}</td>", escape(&cell))?;
        }
        out.push_str("</tr>\n");
    }
    out.push_str("  </tbody>\n</table>\n");
    Ok(())
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
