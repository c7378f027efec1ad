//! The program as a script uses it.

use std::path::Path;
use std::process::{Command, Output};

fn tally(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new(env!("CARGO_BIN_EXE_tally")).args(args).current_dir(root).output().expect("the program starts")
}

fn stdout(args: &[&str]) -> String {
    let output = tally(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the program prints UTF-8")
}

#[test]
fn the_version_names_the_table_of_units() {
    let version = stdout(&["--version"]);
    assert!(version.starts_with(&format!("tally {} (units ", env!("CARGO_PKG_VERSION"))), "{version}");
}

#[test]
fn formulas_are_computed() {
    assert_eq!(stdout(&["eval", "0.1 + 0.2"]), "0.3\n");
    assert_eq!(stdout(&["eval", "90 km/h * 20 min in km"]), "30 km\n");
    assert_eq!(stdout(&["eval", "WORKDAY(@2024-03-28, 1)"]), "2024-04-02\n");
}

#[test]
fn a_bad_formula_is_explained() {
    let output = tally(&["eval", "1 + AVERGE(2)"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "\
error: there is no function AVERGE
 --> formula:1:5
1 | 1 + AVERGE(2)
  |     ^^^^^^^^^
  = help: did you mean AVERAGE?
";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

#[test]
fn the_sheets_are_sound() {
    for sheet in ["sheets/budget.csv", "sheets/trip.csv"] {
        assert!(stdout(&["check", sheet]).ends_with(" cells, no problems\n"), "{sheet}");
    }
}

#[test]
fn a_sheet_is_shown() {
    let expected = "\
leg               distance       speed       time
───────────────  ─────────  ──────────  ─────────
Basel - Bern     101.00 km  96.00 km/h  63.12 min
Bern - Lausanne   62.00 mi   52.00 mph  71.54 min
Lausanne - Sion   93.00 km    50.00 kn  60.26 min
total            293.78 km  90.43 km/h     3.25 h
";
    assert_eq!(stdout(&["show", "sheets/trip.csv", "--places", "2"]), expected);
    assert!(stdout(&["explain", "sheets/budget.csv", "D11"]).contains("\nD11  33299.64 = D9 + D10\n"));
}
