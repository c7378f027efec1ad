//! Turns `units.txt` into types: an enum of all units, and one type for each dimension, with the products and quotients
//! that have a type of their own.
//!
//! Sets `TALLY_UNITS_DIGEST` to a digest of the table, and the cfg `imperial_units` if the table has any.

#[path = "build/generate.rs"]
mod generate;
#[path = "build/table.rs"]
mod table;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const TABLE: &str = "units.txt";

fn main() -> Result<(), Box<dyn Error>> {
    for path in [TABLE, "build.rs", "build"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rustc-check-cfg=cfg(imperial_units)");
    let text = fs::read_to_string(TABLE)?;
    let dimensions = table::parse(&text).map_err(|problem| format!("{TABLE}:{problem}"))?;
    if dimensions.iter().flat_map(|dimension| &dimension.units).any(|unit| unit.system == "imperial") {
        println!("cargo::rustc-cfg=imperial_units");
    }
    println!("cargo::rustc-env=TALLY_UNITS_DIGEST={:016x}", digest(text.as_bytes()));
    fs::write(Path::new(&env::var("OUT_DIR")?).join("units.rs"), generate::code(&dimensions)?)?;
    Ok(())
}

/// FNV-1a.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
