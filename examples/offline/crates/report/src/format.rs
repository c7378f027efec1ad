use crate::{Table, csv, html, json, markdown, plain};
use std::fmt;
use tally_record::FieldValue;

/// What a table can be written as.
#[derive(Clone, Copy, Debug, Default, Eq, FieldValue, Hash, PartialEq)]
pub enum Format {
    /// Columns of text.
    #[default]
    Text,
    /// A table for GitHub and the like.
    Markdown,
    /// A table for browsers.
    Html,
    /// A list of objects.
    Json,
    /// Comma-separated values.
    Csv,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.to_field())
    }
}

/// Writes a table.
pub fn render(table: &Table, format: Format) -> String {
    let mut out = String::new();
    let written = match format {
        Format::Text => plain::write(&mut out, table),
        Format::Markdown => markdown::write(&mut out, table),
        Format::Html => html::write(&mut out, table),
        Format::Json => json::write(&mut out, table),
        Format::Csv => csv::write(&mut out, table),
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
    out
}

#[cfg(test)]
mod tests {
    use super::{Format, render};
    use crate::Table;
    use tally_record::FieldValue;
    use tally_sheet::load;
    use tally_text::Source;

    fn rendered(format: &str) -> String {
        let source = Source::new("t", "item,price,sold\n\"bolt, <long>\",2.5,2024-02-29\nnut|x,=B2*3,\n");
        let table = Table::from_sheet(&load(&source).unwrap(), Some(2));
        render(&table, Format::from_field(format).unwrap())
    }

    #[test]
    fn text_is_aligned() {
        let expected = "\
item          price        sold
────────────  ─────  ──────────
bolt, <long>   2.50  2024-02-29
nut|x          7.50
";
        assert_eq!(rendered("text"), expected);
    }

    #[test]
    fn markdown_escapes_its_bars() {
        let expected = "\
| item         | price |       sold |
|--------------|------:|-----------:|
| bolt, <long> |  2.50 | 2024-02-29 |
| nut\\|x       |  7.50 |            |
";
        assert_eq!(rendered("markdown"), expected);
    }

    #[test]
    fn html_escapes_its_brackets() {
        let html = rendered("html");
        assert!(html.contains("<td>bolt, &lt;long&gt;</td><td class=\"number\">2.50</td>"), "{html}");
    }

    #[test]
    fn json_keeps_numbers_as_numbers() {
        let expected = r#"[
  {"item": "bolt, <long>", "price": 2.5, "sold": "2024-02-29"},
  {"item": "nut|x", "price": 7.5, "sold": null}
]
"#;
        assert_eq!(rendered("json"), expected);
    }

    #[test]
    fn csv_quotes_its_commas() {
        assert_eq!(rendered("csv"), "item,price,sold\n\"bolt, <long>\",2.5,2024-02-29\nnut|x,7.5,\n");
    }
}
