use regex::Regex;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use thiserror::Error;

static TAG: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[\p{Ll}\p{Lo}\p{N}][\p{Ll}\p{Lo}\p{N}+#.-]{0,31}$").expect("the pattern is fixed"));

/// A lower-case label such as `rust`, `c++` or `node.js`, of at most 32 characters.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// The text is not a tag.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error("{0:?} is not a tag: use up to 32 letters, digits and + # . -")]
pub struct TagError(String);

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let tag = text.trim().to_lowercase();
        if TAG.is_match(&tag) { Ok(Self(tag)) } else { Err(TagError(text.to_owned())) }
    }
}

impl TryFrom<String> for Tag {
    type Error = TagError;

    fn try_from(text: String) -> Result<Self, TagError> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

impl AsRef<str> for Tag {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Tag;

    #[test]
    fn tags_are_lower_case_and_trimmed() {
        assert_eq!(" Node.JS ".parse::<Tag>().unwrap().as_ref(), "node.js");
        assert_eq!("C++".parse::<Tag>().unwrap().as_ref(), "c++");
    }

    #[test]
    fn what_would_not_survive_a_query_is_refused() {
        for text in ["", "two words", "-draft", "a:b", &"x".repeat(33)] {
            assert!(text.parse::<Tag>().is_err(), "{text:?}");
        }
    }
}
