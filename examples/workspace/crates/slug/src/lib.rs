//! Readable short names for URLs: `brave-otter-7q`. The same text always gets the same name.

mod words;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use words::{ADJECTIVES, NOUNS};

/// Digits that are hard to mistake for one another (Crockford's base 32).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The longest name a user may choose.
const MAX_LENGTH: usize = 64;

/// A name for a link: lower-case letters, digits and single hyphens.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

/// Why a text is not a slug.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum SlugError {
    /// Empty, or longer than 64 bytes.
    #[error("a slug has 1 to 64 characters, not {0}")]
    Length(usize),
    /// Something other than `a-z`, `0-9` and hyphens.
    #[error("{0:?} may not stand in a slug")]
    Character(char),
    /// A hyphen at an end, or two in a row.
    #[error("hyphens stand alone and between other characters")]
    Hyphen,
}

impl Slug {
    /// The `attempt`-th name for a text; attempts above zero are for when an earlier name is taken. Each attempt
    /// adds a digit, so that names stay short while there are few and a free one is always found.
    pub fn suggest(text: &str, attempt: u8) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let mut bits = Bits { bytes: &hash, used: 0 };
        let adjective = ADJECTIVES.words[bits.take(ADJECTIVES.bits)];
        let noun = NOUNS.words[bits.take(NOUNS.bits)];
        let digits = (0..2 + usize::from(attempt)).map(|_| char::from(DIGITS[bits.take(5)]));
        Self(format!("{adjective}-{noun}-{}", digits.collect::<String>()))
    }

    /// Whether the name could come from [`Slug::suggest`] rather than from a user.
    pub fn is_suggested(&self) -> bool {
        let mut parts = self.0.splitn(3, '-');
        let (Some(adjective), Some(noun), Some(digits)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let digits_only = digits.len() >= 2 && digits.bytes().all(|byte| DIGITS.contains(&byte));
        ADJECTIVES.place(adjective).is_some() && NOUNS.place(noun).is_some() && digits_only
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a digest from its first bit on, and starts over at its end.
struct Bits<'a> {
    bytes: &'a [u8],
    used: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> usize {
        (0..count).fold(0, |value, _| {
            let byte = self.bytes[self.used / 8 % self.bytes.len()];
            let bit = byte >> (7 - self.used % 8) & 1;
            self.used += 1;
            value << 1 | usize::from(bit)
        })
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(SlugError::Length(text.chars().count()));
        }
        let allowed = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
        if let Some(char) = text.chars().find(|&char| !allowed(char)) {
            return Err(SlugError::Character(char));
        }
        if text.starts_with('-') || text.ends_with('-') || text.contains("--") {
            return Err(SlugError::Hyphen);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Slug {
    type Error = SlugError;

    fn try_from(text: String) -> Result<Self, SlugError> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl AsRef<str> for Slug {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Slug, SlugError};

    #[test]
    fn the_same_text_gets_the_same_name() {
        let slug = Slug::suggest("https://www.rust-lang.org/", 0);
        assert_eq!(slug, Slug::suggest("https://www.rust-lang.org/", 0));
        assert_ne!(slug, Slug::suggest("https://www.rust-lang.org/learn", 0));
    }

    #[test]
    fn each_attempt_adds_a_digit() {
        let first = Slug::suggest("https://example.com/", 0);
        let third = Slug::suggest("https://example.com/", 2);
        assert!(third.as_str().starts_with(first.as_str()));
        assert_eq!(third.as_str().len(), first.as_str().len() + 2);
    }

    #[test]
    fn a_hundred_attempts_outlast_the_digest() {
        assert_eq!(Slug::suggest("x", 98).as_str().rsplit('-').next().map(str::len), Some(100));
    }

    #[test]
    fn suggested_names_are_told_from_chosen_ones() {
        assert!(Slug::suggest("https://example.com/", 1).is_suggested());
        for chosen in ["handbook", "brave-otter", "brave-rust-7q", "brave-otter-u7"] {
            assert!(!chosen.parse::<Slug>().unwrap().is_suggested(), "{chosen}");
        }
    }

    #[test]
    fn what_is_no_slug_is_refused_with_the_reason() {
        assert_eq!("".parse::<Slug>(), Err(SlugError::Length(0)));
        assert_eq!("x".repeat(65).parse::<Slug>(), Err(SlugError::Length(65)));
        assert_eq!("Team".parse::<Slug>(), Err(SlugError::Character('T')));
        assert_eq!("a--b".parse::<Slug>(), Err(SlugError::Hyphen));
        assert_eq!("-a".parse::<Slug>(), Err(SlugError::Hyphen));
    }
}
