use crate::{Event, Journal, JournalError};
use jiff::Timestamp;
use serde::Serialize;
use shelf_index::{Index, Query};
use shelf_model::{Address, Link, NewLink};
use shelf_slug::Slug;
use std::collections::{BTreeMap, HashMap};
use thiserror::Error;

/// Why a change was refused. Nothing has changed then.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The chosen name belongs to another page.
    #[error("{0} is taken")]
    Taken(Slug),
    /// The page is on the shelf already, under this name.
    #[error("the page is on the shelf as {0}")]
    Known(Slug),
    /// No link has this name.
    #[error("there is no {0}")]
    Missing(Slug),
    /// The journal could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A link with what the shelf knows about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found<'a> {
    /// The link.
    #[serde(flatten)]
    pub link: &'a Link,
    /// How often it was followed.
    pub visits: u64,
}

#[derive(Debug)]
struct Entry {
    link: Link,
    visits: u64,
}

/// The links, by name, by page and by word.
#[derive(Debug)]
pub struct Shelf {
    journal: Journal,
    entries: BTreeMap<Slug, Entry>,
    pages: HashMap<Address, Slug>,
    index: Index<Slug>,
}

impl Shelf {
    /// A shelf as the events left it, which writes further ones to the journal.
    pub fn new(journal: Journal, events: impl IntoIterator<Item = Event>) -> Self {
        let mut shelf = Self { journal, entries: BTreeMap::new(), pages: HashMap::new(), index: Index::new() };
        for event in events {
            shelf.apply(event);
        }
        shelf
    }

    /// The number of links.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the shelf holds nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The link of this name.
    pub fn get(&self, slug: &Slug) -> Option<Found<'_>> {
        self.entries.get(slug).map(|entry| Found { link: &entry.link, visits: entry.visits })
    }

    /// All links that match, best first; all there are, by name, when the query is empty.
    pub fn search(&self, query: &Query) -> impl Iterator<Item = Found<'_>> {
        self.index.search(query).into_iter().filter_map(|hit| self.get(&hit.key))
    }

    /// Puts a page on the shelf, under the name it asks for or else the first free one of those suggested.
    pub async fn add(&mut self, new: NewLink, now: Timestamp) -> Result<Found<'_>, StoreError> {
        if let Some(known) = self.pages.get(&new.url) {
            return Err(StoreError::Known(known.clone()));
        }
        let slug = match &new.slug {
            Some(chosen) if self.entries.contains_key(chosen) => return Err(StoreError::Taken(chosen.clone())),
            Some(chosen) => chosen.clone(),
            None => (0..=u8::MAX)
                .map(|attempt| Slug::suggest(new.url.as_str(), attempt))
                .find(|slug| !self.entries.contains_key(slug))
                .ok_or_else(|| StoreError::Taken(Slug::suggest(new.url.as_str(), u8::MAX)))?,
        };
        self.record(Event::Added(Link::new(new, slug.clone(), now))).await?;
        self.get(&slug).ok_or(StoreError::Missing(slug))
    }

    /// Counts a visit and returns the page to go to.
    pub async fn visit(&mut self, slug: &Slug, now: Timestamp) -> Result<Address, StoreError> {
        let entry = self.entries.get(slug).ok_or_else(|| StoreError::Missing(slug.clone()))?;
        let address = entry.link.url.clone();
        self.record(Event::Visited { slug: slug.clone(), at: now }).await?;
        Ok(address)
    }

    /// Takes a link off the shelf. Its name is free again.
    pub async fn remove(&mut self, slug: &Slug) -> Result<(), StoreError> {
        if !self.entries.contains_key(slug) {
            return Err(StoreError::Missing(slug.clone()));
        }
        self.record(Event::Removed { slug: slug.clone() }).await
    }

    async fn record(&mut self, event: Event) -> Result<(), StoreError> {
        self.journal.append(&event).await?;
        self.apply(event);
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Added(link) => {
                self.index.insert(link.slug.clone(), &link);
                self.pages.insert(link.url.clone(), link.slug.clone());
                self.entries.insert(link.slug.clone(), Entry { link, visits: 0 });
            }
            Event::Visited { slug, .. } => {
                if let Some(entry) = self.entries.get_mut(&slug) {
                    entry.visits += 1;
                }
            }
            Event::Removed { slug } => {
                self.index.remove(&slug);
                if let Some(entry) = self.entries.remove(&slug) {
                    self.pages.remove(&entry.link.url);
                }
            }
        }
    }
}
