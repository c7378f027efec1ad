//! The program as a script uses it.

use std::path::Path;
use std::process::{Command, Output};

fn shelf(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shelf")).args(args).output().expect("the program starts")
}

fn stdout(args: &[&str]) -> String {
    let output = shelf(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the program prints UTF-8")
}

fn sample() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sample/links.jsonl").display().to_string()
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(stdout(&["--version"]), format!("shelf {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_page_has_one_name() {
    let names = stdout(&["slug", "https://www.rust-lang.org", "https://www.rust-lang.org/?utm_source=x"]);
    let names: Vec<&str> = names.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[0], names[1]);
}

#[test]
fn the_sample_is_searched() {
    let found = stdout(&["--file", &sample(), "search", "tag:rust", "-async"]);
    let names: Vec<&str> = found.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["std", "cargo", "book"]);
}

#[test]
fn a_search_leaves_no_new_file_for_a_mistyped_journal() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistyped.jsonl");
    let output = shelf(&["--file", &path.display().to_string(), "search", "rust"]);
    assert!(!output.status.success());
    assert!(!path.exists());
}
