//! Turns the word lists into static tables, so that a slug is made and read without parsing anything at run time.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let out_dir = env::var("OUT_DIR")?;
    let mut code = String::new();
    for (list, path) in [("ADJECTIVES", "words/adjectives.txt"), ("NOUNS", "words/nouns.txt")] {
        println!("cargo::rerun-if-changed={path}");
        let text = fs::read_to_string(path)?;
        let words = parse(&text).map_err(|problem| format!("{path}: {problem}"))?;
        table(&mut code, list, &words)?;
    }
    fs::write(Path::new(&out_dir).join("words.rs"), code)?;
    Ok(())
}

/// The words of a list in order. The number of words must be a power of two: a word stands for whole bits of a hash.
fn parse(text: &str) -> Result<Vec<&str>, String> {
    let mut words = Vec::new();
    let mut lines = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let word = line.trim();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        if !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(format!("line {number}: {word:?} is not a plain lower-case word"));
        }
        if let Some(first) = lines.insert(word, number) {
            return Err(format!("line {number}: {word:?} stands on line {first} already"));
        }
        words.push(word);
    }
    if words.len().is_power_of_two() { Ok(words) } else { Err(format!("{} words are no power of two", words.len())) }
}

/// Writes the list itself, the number of bits one word stands for, and the words' places sorted by word.
fn table(code: &mut String, list: &str, words: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut sorted: Vec<u16> = (0..u16::try_from(words.len())?).collect();
    sorted.sort_by_key(|&place| words[usize::from(place)]);
    writeln!(code, "pub(crate) static {list}: WordList = WordList {{")?;
    writeln!(code, "    bits: {},", words.len().trailing_zeros())?;
    writeln!(code, "    words: &{words:?},")?;
    writeln!(code, "    sorted: &{sorted:?},")?;
    writeln!(code, "}};")?;
    Ok(())
}
