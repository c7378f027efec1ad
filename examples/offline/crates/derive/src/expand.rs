use crate::error::Error;
use crate::input::{Body, Input, Member};
use std::fmt::Write as _;

pub(crate) fn record(input: &Input) -> Result<String, Error> {
    let Body::Struct(fields) = &input.body else {
        return Err(Error::at(input.span, "only a struct is a record; for an enum derive FieldValue"));
    };
    unique(fields, heading)?;
    let (mut headings, mut reads, mut writes) = (String::new(), String::new(), String::new());
    for field in fields {
        let ident = &field.ident;
        let heading = heading(field);
        let read = if field.attributes.default { "read_or_default" } else { "read" };
        // Writing to a String cannot fail.
        let _ = write!(headings, "{heading:?}, ");
        let _ = write!(reads, "{ident}: ::tally_record::Row::{read}(row, {heading:?})?, ");
        let _ = write!(writes, "::tally_record::FieldValue::to_field(&self.{ident}), ");
    }
    Ok(format!(
        "#[automatically_derived]
        impl ::tally_record::Record for {name} {{
            const HEADINGS: &'static [&'static str] = &[{headings}];

            fn from_row(row: &::tally_record::Row<'_>)
                -> ::core::result::Result<Self, ::tally_record::RecordError>
            {{
                ::core::result::Result::Ok(Self {{ {reads} }})
            }}

            fn to_fields(&self) -> ::std::vec::Vec<::std::string::String> {{
                ::std::vec::Vec::from([{writes}])
            }}
        }}",
        name = input.name,
    ))
}

pub(crate) fn field_value(input: &Input) -> Result<String, Error> {
    let Body::Enum(variants) = &input.body else {
        return Err(Error::at(input.span, "only an enum of plain variants is a field; for a struct derive Record"));
    };
    if let Some(variant) = variants.iter().find(|variant| !variant.plain) {
        return Err(Error::at(variant.span, "a field is one word, so its variants cannot hold anything"));
    }
    unique(variants, spelling)?;
    let (mut reads, mut writes, mut words) = (String::new(), String::new(), String::new());
    for variant in variants {
        let ident = &variant.ident;
        let word = spelling(variant);
        let _ = write!(reads, "{word:?} => ::core::option::Option::Some(Self::{ident}), ");
        let _ = write!(writes, "Self::{ident} => {word:?}, ");
        let _ = write!(words, "{}{word}", if words.is_empty() { "" } else { ", " });
    }
    Ok(format!(
        "#[automatically_derived]
        impl ::tally_record::FieldValue for {name} {{
            const EXPECTED: &'static str = {expected:?};

            fn from_field(text: &str) -> ::core::option::Option<Self> {{
                match text {{ {reads} _ => ::core::option::Option::None }}
            }}

            fn to_field(&self) -> ::std::string::String {{
                ::std::string::String::from(match self {{ {writes} }})
            }}
        }}",
        name = input.name,
        expected = format!("one of {words}"),
    ))
}

fn heading(field: &Member) -> String {
    let ident = field.ident.strip_prefix("r#").unwrap_or(&field.ident);
    field.attributes.name.clone().unwrap_or_else(|| ident.to_owned())
}

/// `StraightLine` as `straight-line`.
fn spelling(variant: &Member) -> String {
    let kebab = || {
        variant.ident.chars().fold(String::new(), |mut word, char| {
            if char.is_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.extend(char.to_lowercase());
            word
        })
    };
    variant.attributes.name.clone().unwrap_or_else(kebab)
}

fn unique(members: &[Member], name: impl Fn(&Member) -> String) -> Result<(), Error> {
    let twice = |&(at, member): &(usize, &Member)| members[..at].iter().any(|other| name(other) == name(member));
    match members.iter().enumerate().find(twice) {
        Some((_, member)) => Err(Error::at(member.span, format!("{:?} is used twice", name(member)))),
        None => Ok(()),
    }
}
