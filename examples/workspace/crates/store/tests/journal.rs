//! What is on the shelf after it was closed, or torn away, and opened again.

use jiff::Timestamp;
use shelf_index::Query;
use shelf_model::NewLink;
use shelf_store::{Journal, JournalError, Shelf, StoreError};
use std::fs;
use std::path::{Path, PathBuf};

/// A path of this test's own, with no file at it.
fn fresh(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if path.exists() {
        fs::remove_file(&path).expect("an old journal can be removed");
    }
    path
}

fn page(json: &str) -> NewLink {
    serde_json::from_str(json).expect("the link is well-formed")
}

async fn open(path: &Path) -> Shelf {
    let (journal, events) = Journal::open(path).await.expect("the journal opens");
    Shelf::new(journal, events)
}

#[tokio::test]
async fn a_shelf_is_found_as_it_was_left() {
    let path = fresh("left.jsonl");
    let mut shelf = open(&path).await;
    let now = Timestamp::UNIX_EPOCH;
    let book = page(r#"{"url":"https://doc.rust-lang.org/book/","title":"The book","slug":"book"}"#);
    let tokio = page(r#"{"url":"https://tokio.rs/","title":"Tokio","slug":"tokio"}"#);
    shelf.add(book, now).await.unwrap();
    shelf.add(tokio, now).await.unwrap();
    shelf.visit(&"book".parse().unwrap(), now).await.unwrap();
    shelf.remove(&"tokio".parse().unwrap()).await.unwrap();
    drop(shelf);

    let shelf = open(&path).await;
    assert_eq!(shelf.len(), 1);
    assert_eq!(shelf.get(&"book".parse().unwrap()).map(|found| found.visits), Some(1));
    let everything: Query = "".parse().unwrap();
    assert_eq!(shelf.search(&everything).map(|found| found.link.slug.to_string()).collect::<Vec<_>>(), ["book"]);
}

#[tokio::test]
async fn an_unfinished_last_line_is_cut_off() {
    let path = fresh("torn.jsonl");
    let whole = concat!(r#"{"event":"visited","slug":"gone","at":"1970-01-01T00:00:00Z"}"#, "\n");
    fs::write(&path, format!(r#"{whole}{{"event":"rem"#)).unwrap();
    let mut shelf = open(&path).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    shelf.add(page(r#"{"url":"https://example.com/","title":"x"}"#), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(open(&path).await.len(), 1);
}

#[tokio::test]
async fn a_damaged_line_is_reported_with_its_number() {
    let path = fresh("damaged.jsonl");
    fs::write(&path, "{\"event\":\"visited\",\"slug\":\"a\",\"at\":\"1970-01-01T00:00:00Z\"}\nnot json\n").unwrap();
    let error = Journal::open(&path).await.unwrap_err();
    assert!(matches!(error, JournalError::Corrupt { line: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_page_is_kept_once_and_a_name_given_once() {
    let mut shelf = Shelf::new(Journal::in_memory(), []);
    let now = Timestamp::UNIX_EPOCH;
    let first = page(r#"{"url":"https://example.com/","title":"x","slug":"x"}"#);
    shelf.add(first, now).await.unwrap();
    let again = page(r#"{"url":"https://EXAMPLE.com/?utm_source=mail","title":"y"}"#);
    assert!(matches!(shelf.add(again, now).await, Err(StoreError::Known(slug)) if slug.as_str() == "x"));
    let other = page(r#"{"url":"https://example.org/","title":"z","slug":"x"}"#);
    assert!(matches!(shelf.add(other, now).await, Err(StoreError::Taken(slug)) if slug.as_str() == "x"));
}
