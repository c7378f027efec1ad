use crate::Table;
use std::fmt::{self, Write};
use tally_value::Value;

pub(crate) fn write(out: &mut String, table: &Table) -> fmt::Result {
    if table.rows.is_empty() {
        return writeln!(out, "[]");
    }
    for (at, row) in table.rows.iter().enumerate() {
        out.push_str(if at == 0 { "[\n  {" } else { ",\n  {" });
        for (at, (column, cell)) in table.columns.iter().zip(row).enumerate() {
            out.push_str(if at == 0 { "" } else { ", " });
            string(out, &column.heading)?;
            out.push_str(": ");
            value(out, cell)?;
        }
        out.push('}');
    }
    writeln!(out, "\n]")
}

fn value(out: &mut String, value: &Value) -> fmt::Result {
    match value {
        Value::Empty => write!(out, "null"),
        Value::Bool(value) => write!(out, "{value}"),
        Value::Number(number) => write!(out, "{number}"),
        other => string(out, &other.to_string()),
    }
}

fn string(out: &mut String, text: &str) -> fmt::Result {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => write!(out, "\\{char}")?,
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => write!(out, "\\u{:04x}", u32::from(control))?,
            other => out.push(other),
        }
    }
    out.push('"');
    Ok(())
}
