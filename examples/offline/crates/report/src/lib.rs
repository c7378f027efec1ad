//! Sheets as text, Markdown, HTML, JSON and CSV.

mod csv;
mod format;
mod html;
mod json;
mod markdown;
mod plain;
mod table;

pub use format::{Format, render};
pub use table::{Column, Table};
