//! Searches over a handful of documents, through the derived `Document`.

use shelf_index::{Document, Index, Query};

#[derive(Document)]
struct Page {
    #[search(weight = 3.0)]
    title: &'static str,
    #[search(name = "tag", weight = 2.0, each)]
    tags: Vec<&'static str>,
    #[search]
    text: &'static str,
}

fn library() -> Index<u32> {
    let mut index = Index::new();
    let pages = [
        Page { title: "The Rust book", tags: vec!["rust", "book"], text: "Learn the language from the start" },
        Page { title: "Tokio tutorial", tags: vec!["rust", "async"], text: "Write a mini Redis with async tasks" },
        Page { title: "Redis manual", tags: vec!["database"], text: "Commands, data types, the wire protocol" },
        Page { title: "Corrosion", tags: vec!["metal"], text: "Why steel gets rust and aluminium does not" },
    ];
    for (key, page) in (1..).zip(&pages) {
        index.insert(key, page);
    }
    index
}

fn found(index: &Index<u32>, query: &str) -> Vec<u32> {
    let query: Query = query.parse().expect("the query is well-formed");
    index.search(&query).into_iter().map(|hit| hit.key).collect()
}

#[test]
fn a_hit_in_a_heavier_field_comes_first() {
    assert_eq!(found(&library(), "rust"), [1, 2, 4]);
    assert_eq!(found(&library(), "redis"), [3, 2]);
}

#[test]
fn every_clause_must_match() {
    assert_eq!(found(&library(), "rust redis"), [2]);
    assert_eq!(found(&library(), "rust nosuchword"), [] as [u32; 0]);
}

#[test]
fn a_field_limits_a_clause() {
    assert_eq!(found(&library(), "tag:rust"), [1, 2]);
    assert_eq!(found(&library(), "-tag:rust rust"), [4]);
}

#[test]
fn a_phrase_needs_adjacent_words_of_one_value() {
    assert_eq!(found(&library(), r#""data types""#), [3]);
    assert_eq!(found(&library(), r#""types data""#), [] as [u32; 0]);
    assert_eq!(found(&library(), r#""book rust""#), [] as [u32; 0]);
}

#[test]
fn a_pattern_matches_whole_words() {
    assert_eq!(found(&library(), "/red.*/"), [3, 2]);
    assert_eq!(found(&library(), "/red/"), [] as [u32; 0]);
}

#[test]
fn a_document_is_replaced_and_removed_whole() {
    let mut index = library();
    index.insert(3, &Page { title: "Valkey manual", tags: vec![], text: "A fork" });
    assert_eq!(found(&index, "redis"), [2]);
    assert!(index.remove(&2));
    assert!(!index.remove(&2));
    assert_eq!(found(&index, "redis"), [] as [u32; 0]);
    assert_eq!(index.len(), 3);
    assert_eq!(index.complete("ru").into_iter().collect::<Vec<_>>(), ["rust"]);
}
