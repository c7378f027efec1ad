//! Places in source text, messages about them, and the width of text on a screen.

mod diagnostic;
mod similar;
mod source;
mod width;

pub use diagnostic::{Diagnostic, Severity};
pub use similar::{closest, distance};
pub use source::{Location, Source, Span};
pub use width::{Align, pad, truncate, width};
