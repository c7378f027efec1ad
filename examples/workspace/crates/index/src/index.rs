use crate::query::{Clause, Query, Term};
use crate::text::words;
use crate::{Document, Field};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A gap between the positions of two values of one document, so that no phrase spans both.
const GAP: u32 = 16;

/// One document found, and how well it matched.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit<K> {
    /// The key the document was inserted under.
    pub key: K,
    /// Higher is better; only comparable within one search.
    pub score: f32,
}

#[derive(Clone, Copy, Debug)]
struct Posting {
    field: Field,
    position: u32,
}

/// An inverted index: which words occur in which documents, where, and with what weight.
#[derive(Debug)]
pub struct Index<K> {
    postings: BTreeMap<String, BTreeMap<K, Vec<Posting>>>,
    lengths: HashMap<K, u32>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { postings: BTreeMap::new(), lengths: HashMap::new() }
    }
}

impl<K: Clone + Eq + std::hash::Hash + Ord> Index<K> {
    /// An index without documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of documents.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether no document was inserted.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Adds a document, in place of any other under the same key.
    pub fn insert(&mut self, key: K, document: &dyn Document) {
        self.remove(&key);
        let mut position = 0;
        let mut length = 0;
        document.visit(&mut |field, text| {
            for word in words(text) {
                let documents = self.postings.entry(word).or_default();
                documents.entry(key.clone()).or_default().push(Posting { field, position });
                position += 1;
                length += 1;
            }
            position += GAP;
        });
        self.lengths.insert(key, length);
    }

    /// Takes a document out; `false` if there was none under this key.
    pub fn remove(&mut self, key: &K) -> bool {
        if self.lengths.remove(key).is_none() {
            return false;
        }
        self.postings.retain(|_, documents| {
            documents.remove(key);
            !documents.is_empty()
        });
        true
    }

    /// The documents that match every clause, best first; equal scores come in key order.
    pub fn search(&self, query: &Query) -> Vec<Hit<K>> {
        let mut scores: BTreeMap<K, f32> = self.lengths.keys().map(|key| (key.clone(), 0.0)).collect();
        for clause in &query.clauses {
            let matches = self.matches(clause);
            if clause.negated {
                scores.retain(|key, _| !matches.contains_key(key));
            } else {
                scores.retain(|key, score| matches.get(key).inspect(|gained| *score += **gained).is_some());
            }
        }
        let mut hits: Vec<Hit<K>> = scores.into_iter().map(|(key, score)| Hit { key, score }).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(&b.key)));
        hits
    }

    fn matches(&self, clause: &Clause) -> HashMap<K, f32> {
        let in_field = |posting: &Posting| clause.field.as_deref().is_none_or(|name| name == posting.field.name);
        let mut found: HashMap<K, f32> = HashMap::new();
        let mut add = |key: &K, weight: f32, documents: usize| {
            *found.entry(key.clone()).or_default() += self.relevance(key, weight, documents);
        };
        match &clause.term {
            Term::Phrase(words) => {
                let lists: Option<Vec<_>> = words.iter().map(|word| self.postings.get(word)).collect();
                let Some(lists) = lists else { return found };
                let Some((first, rest)) = lists.split_first() else { return found };
                for (key, starts) in *first {
                    let weight: f32 = starts
                        .iter()
                        .filter(|start| in_field(start) && continues(rest, key, start.position))
                        .map(|start| start.field.weight)
                        .sum();
                    if weight > 0.0 {
                        add(key, weight, first.len());
                    }
                }
            }
            Term::Pattern(pattern) => {
                for (_, documents) in self.postings.iter().filter(|(word, _)| pattern.is_match(word)) {
                    for (key, postings) in documents {
                        let weight: f32 = postings.iter().filter(|p| in_field(p)).map(|p| p.field.weight).sum();
                        if weight > 0.0 {
                            add(key, weight, documents.len());
                        }
                    }
                }
            }
        }
        found
    }

    /// Okapi BM25 with k1 = 1.2 and b = 0.75, the weights standing in for the term frequency.
    fn relevance(&self, key: &K, weight: f32, documents: usize) -> f32 {
        let total = self.len() as f32;
        let mean = self.lengths.values().sum::<u32>() as f32 / total;
        let length = self.lengths.get(key).copied().unwrap_or_default() as f32;
        let rarity = (1.0 + (total - documents as f32 + 0.5) / (documents as f32 + 0.5)).ln();
        rarity * weight * 2.2 / (weight + 1.2 * (0.25 + 0.75 * length / mean))
    }

    /// All words that start with `prefix`, in order.
    pub fn complete<'a>(&'a self, prefix: &'a str) -> BTreeSet<&'a str> {
        let words = self.postings.range(prefix.to_owned()..).map(|(word, _)| word.as_str());
        words.take_while(|word| word.starts_with(prefix)).collect()
    }
}

fn continues<K: Ord>(rest: &[&BTreeMap<K, Vec<Posting>>], key: &K, start: u32) -> bool {
    rest.iter().zip(start + 1..).all(|(documents, position)| {
        documents.get(key).is_some_and(|postings| postings.iter().any(|posting| posting.position == position))
    })
}
