use crate::text::words;
use regex::{Regex, RegexBuilder};
use std::iter::Peekable;
use std::str::{CharIndices, FromStr};
use thiserror::Error;

/// The largest compiled size of one `/pattern/`, so that a query cannot take the service's memory.
const PATTERN_LIMIT: usize = 64 * 1024;

/// A parsed query; see the crate's documentation for the syntax.
#[derive(Clone, Debug)]
pub struct Query {
    pub(crate) clauses: Vec<Clause>,
}

#[derive(Clone, Debug)]
pub(crate) struct Clause {
    pub(crate) field: Option<String>,
    pub(crate) negated: bool,
    pub(crate) term: Term,
}

#[derive(Clone, Debug)]
pub(crate) enum Term {
    /// Adjacent words; a single word is a phrase of one.
    Phrase(Vec<String>),
    /// Any word of the vocabulary that the whole pattern matches.
    Pattern(Regex),
}

/// Why a query was refused.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum QueryError {
    /// A `"` or `/` was opened and not closed.
    #[error("{delimiter} at byte {at} is never closed")]
    Unclosed {
        /// The delimiter in question.
        delimiter: char,
        /// Where it was opened.
        at: usize,
    },
    /// `-` or `field:` with nothing after it.
    #[error("nothing to search for at byte {0}")]
    Dangling(usize),
    /// The pattern is not a regular expression, or too large a one.
    #[error("bad pattern: {0}")]
    Pattern(#[from] regex::Error),
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let mut chars = text.char_indices().peekable();
        let mut clauses = Vec::new();
        while let Some(&(at, first)) = chars.peek() {
            if first.is_whitespace() {
                chars.next();
            } else {
                clauses.push(clause(at, &mut chars)?);
            }
        }
        Ok(Self { clauses })
    }
}

fn clause(at: usize, chars: &mut Peekable<CharIndices<'_>>) -> Result<Clause, QueryError> {
    let negated = chars.next_if(|&(_, char)| char == '-').is_some();
    let mut field = None;
    let mut bare = String::new();
    loop {
        match chars.peek().copied() {
            Some((open, delimiter @ ('"' | '/'))) if bare.is_empty() => {
                chars.next();
                let inner = delimited(open, delimiter, chars)?;
                return Ok(Clause { field, negated, term: delimited_term(at, delimiter, &inner)? });
            }
            Some((_, ':')) if field.is_none() && !bare.is_empty() => {
                chars.next();
                field = Some(std::mem::take(&mut bare).to_lowercase());
            }
            Some((_, char)) if !char.is_whitespace() => {
                chars.next();
                bare.push(char);
            }
            _ => return Ok(Clause { field, negated, term: phrase(at, &bare)? }),
        }
    }
}

fn delimited(open: usize, delimiter: char, chars: &mut Peekable<CharIndices<'_>>) -> Result<String, QueryError> {
    let mut inner = String::new();
    for (_, char) in chars.by_ref() {
        if char == delimiter {
            return Ok(inner);
        }
        inner.push(char);
    }
    Err(QueryError::Unclosed { delimiter, at: open })
}

fn delimited_term(at: usize, delimiter: char, inner: &str) -> Result<Term, QueryError> {
    if delimiter == '"' {
        return phrase(at, inner);
    }
    let whole_word = format!("^(?:{inner})$");
    let pattern = RegexBuilder::new(&whole_word).case_insensitive(true).size_limit(PATTERN_LIMIT).build()?;
    Ok(Term::Pattern(pattern))
}

fn phrase(at: usize, text: &str) -> Result<Term, QueryError> {
    let words: Vec<String> = words(text).collect();
    if words.is_empty() { Err(QueryError::Dangling(at)) } else { Ok(Term::Phrase(words)) }
}

#[cfg(test)]
mod tests {
    use super::{Query, QueryError, Term};

    #[test]
    fn a_clause_may_have_a_field_and_a_sign() {
        let query: Query = r#"rust -tag:"web server" /as+ync/"#.parse().unwrap();
        let [plain, phrase, pattern] = &query.clauses[..] else { panic!("{query:?}") };
        assert!(matches!(&plain.term, Term::Phrase(words) if words == &["rust"]));
        assert!(phrase.negated);
        assert_eq!(phrase.field.as_deref(), Some("tag"));
        assert!(matches!(&phrase.term, Term::Phrase(words) if words == &["web", "server"]));
        assert!(matches!(&pattern.term, Term::Pattern(regex) if regex.is_match("assync")));
    }

    #[test]
    fn an_open_quote_is_named_with_its_place() {
        let error = r#"rust "web"#.parse::<Query>().unwrap_err();
        assert_eq!(error, QueryError::Unclosed { delimiter: '"', at: 5 });
    }

    #[test]
    fn a_sign_alone_is_refused() {
        assert_eq!("rust -".parse::<Query>().unwrap_err(), QueryError::Dangling(5));
    }

    #[test]
    fn a_pattern_that_would_take_too_much_memory_is_refused() {
        let error = r"/(\w{99}){99}/".parse::<Query>().unwrap_err();
        assert!(matches!(error, QueryError::Pattern(regex::Error::CompiledTooBig(_))), "{error:?}");
    }
}
