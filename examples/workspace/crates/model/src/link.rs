use crate::{Address, Tag};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shelf_index::Document;
use shelf_slug::Slug;
use std::collections::BTreeSet;

/// What somebody asks to be put on the shelf.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// The page.
    pub url: Address,
    /// The name to use instead of a suggested one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<Slug>,
    /// What the page is called.
    pub title: String,
    /// Labels to find it by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A link on the shelf.
#[derive(Clone, Debug, Deserialize, Document, Eq, PartialEq, Serialize)]
pub struct Link {
    /// Its name, unique on the shelf.
    #[search(name = "slug")]
    pub slug: Slug,
    /// The page.
    #[search(name = "url")]
    pub url: Address,
    /// What the page is called.
    #[search(weight = 3.0)]
    pub title: String,
    /// Labels to find it by.
    #[search(name = "tag", weight = 2.0, each)]
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// What there is to say about it.
    #[search]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When it was put there.
    pub added: Timestamp,
}

impl Link {
    /// Accepts a new link under a name that the shelf found free.
    pub fn new(new: NewLink, slug: Slug, added: Timestamp) -> Self {
        let NewLink { url, slug: _, title, tags, note } = new;
        let title = title.trim();
        let title = if title.is_empty() { url.site().to_owned() } else { title.to_owned() };
        Self { slug, url, title, tags, note, added }
    }
}

#[cfg(test)]
mod tests {
    use super::{Link, NewLink};
    use jiff::Timestamp;

    #[test]
    fn a_link_survives_json() {
        let json = r#"{"slug":"book","url":"https://doc.rust-lang.org/book/","title":"The book","tags":["rust"],"added":"2025-03-01T09:30:00Z"}"#;
        let link: Link = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&link).unwrap(), json);
    }

    #[test]
    fn bad_parts_are_refused_at_the_door() {
        for json in [
            r#"{"url":"ftp://example.com/","title":"x"}"#,
            r#"{"url":"https://example.com/","title":"x","slug":"No Slug"}"#,
            r#"{"url":"https://example.com/","title":"x","tags":["two words"]}"#,
            r#"{"url":"https://example.com/","title":"x","colour":"red"}"#,
        ] {
            assert!(serde_json::from_str::<NewLink>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn an_untitled_page_is_called_by_its_site() {
        let new: NewLink = serde_json::from_str(r#"{"url":"https://www.example.com/a","title":" "}"#).unwrap();
        let link = Link::new(new, "a".parse().unwrap(), Timestamp::UNIX_EPOCH);
        assert_eq!(link.title, "example.com");
    }
}
