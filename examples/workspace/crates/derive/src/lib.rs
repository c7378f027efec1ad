//! `#[derive(Document)]`: says which fields of a struct are searched, and how much a hit in each one weighs.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Field, Fields, LitFloat, LitStr, parse_macro_input};

/// Implements `shelf_index::Document`.
///
/// A field takes part when it carries `#[search(...)]`:
/// `weight = 2.0` scales its hits (default 1.0), `name = "tag"` is its name in queries (default: the field's own),
/// `each` indexes every element of a collection. A searched value must implement `AsRef<str>`.
#[proc_macro_derive(Document, attributes(search))]
pub fn derive_document(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

struct Search {
    name: LitStr,
    weight: f32,
    each: bool,
}

fn expand(input: &DeriveInput) -> syn::Result<Tokens> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => &fields.named,
            other => return Err(syn::Error::new(other.span(), "Document needs named fields")),
        },
        _ => return Err(syn::Error::new(input.span(), "Document can only be derived for a struct")),
    };
    let visits = fields
        .iter()
        .filter_map(|field| search_attribute(field).map(|attribute| visit(field, attribute)))
        .collect::<syn::Result<Vec<_>>>()?;
    if visits.is_empty() {
        return Err(syn::Error::new(input.ident.span(), "no field is marked #[search]"));
    }
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::shelf_index::Document for #name #type_generics #where_clause {
            fn visit(&self, sink: &mut dyn ::core::ops::FnMut(::shelf_index::Field, &str)) {
                #(#visits)*
            }
        }
    })
}

fn search_attribute(field: &Field) -> Option<&Attribute> {
    field.attrs.iter().find(|attribute| attribute.path().is_ident("search"))
}

fn visit(field: &Field, attribute: &Attribute) -> syn::Result<Tokens> {
    let ident = field.ident.as_ref().ok_or_else(|| syn::Error::new(field.span(), "the field has no name"))?;
    let Search { name, weight, each } = parse_search(attribute, LitStr::new(&ident.to_string(), ident.span()))?;
    let call = |value: Tokens| {
        quote_spanned! {field.span()=>
            sink(::shelf_index::Field { name: #name, weight: #weight }, ::core::convert::AsRef::<str>::as_ref(#value));
        }
    };
    Ok(if each {
        let one = call(quote!(value));
        quote!(for value in &self.#ident { #one })
    } else {
        call(quote!(&self.#ident))
    })
}

fn parse_search(attribute: &Attribute, name: LitStr) -> syn::Result<Search> {
    let mut search = Search { name, weight: 1.0, each: false };
    if matches!(attribute.meta, syn::Meta::Path(_)) {
        return Ok(search);
    }
    attribute.parse_nested_meta(|meta| {
        if meta.path.is_ident("weight") {
            let literal: LitFloat = meta.value()?.parse()?;
            search.weight = literal.base10_parse()?;
            if search.weight <= 0.0 {
                return Err(syn::Error::new(literal.span(), "a weight must be above zero"));
            }
        } else if meta.path.is_ident("name") {
            search.name = meta.value()?.parse()?;
        } else if meta.path.is_ident("each") {
            search.each = true;
        } else {
            return Err(meta.error("expected `weight`, `name` or `each`"));
        }
        Ok(())
    })?;
    Ok(search)
}

#[cfg(test)]
mod tests {
    use super::expand;
    use syn::parse_quote;

    #[test]
    fn an_unmarked_struct_is_refused() {
        let error = expand(&parse_quote!(
            struct Empty {
                title: String,
            }
        ))
        .unwrap_err();
        assert_eq!(error.to_string(), "no field is marked #[search]");
    }

    #[test]
    fn a_weight_of_zero_is_refused() {
        let error = expand(&parse_quote!(
            struct Page {
                #[search(weight = 0.0)]
                title: String,
            }
        ))
        .unwrap_err();
        assert_eq!(error.to_string(), "a weight must be above zero");
    }

    #[test]
    fn a_renamed_field_is_visited_under_its_new_name() {
        let code = expand(&parse_quote!(
            struct Page<'a> {
                #[search(name = "tag", each)]
                tags: Vec<&'a str>,
            }
        ))
        .unwrap()
        .to_string();
        assert!(code.contains("name : \"tag\""), "{code}");
        assert!(code.contains("impl < 'a >"), "{code}");
    }
}
