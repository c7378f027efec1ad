//! The derives of `tally-record`, written against the compiler's own `proc_macro` alone.

mod error;
mod expand;
mod input;

use error::Error;
use input::Input;
use proc_macro::TokenStream;

/// Implements `tally_record::Record` for a struct with named fields.
///
/// `#[record(name = "due date")]` gives a field another heading, `#[record(default)]` lets its column be missing.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(item: TokenStream) -> TokenStream {
    run(item, expand::record)
}

/// Implements `tally_record::FieldValue` for an enum of plain variants, written in kebab-case.
///
/// `#[record(name = "n/a")]` gives a variant another spelling.
#[proc_macro_derive(FieldValue, attributes(record))]
pub fn derive_field_value(item: TokenStream) -> TokenStream {
    run(item, expand::field_value)
}

fn run(item: TokenStream, expand: fn(&Input) -> Result<String, Error>) -> TokenStream {
    let code = Input::parse(item).and_then(|input| {
        let code = expand(&input)?;
        code.parse().map_err(|error| Error::at(input.span, format!("the derived code is wrong: {error}")))
    });
    code.unwrap_or_else(Error::into_tokens)
}
