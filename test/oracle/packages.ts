import { type Files, packageManifest } from '../support/fixture.ts'

/** Small packages that use crates with awkward builds. Versions are exact: what is compared must be the same each time. */
export interface Package {
  files: Files
  edit: { file: string; text: string }
}

const unused = { file: 'src/lib.rs', text: '\nfn added_and_not_used() -> u8 {\n    7\n}\n' }
const roundTrips = (body: string): string =>
  `#[cfg(test)]\nmod tests {\n    #[test]\n    fn works() {\n        ${body}\n    }\n}\n`

export const packages: Readonly<Record<string, Package>> = {
  /** C code through `cc`. */
  'c-code': {
    files: {
      'Cargo.toml': packageManifest(
        'c-code',
        '[dependencies]\nflate2 = { version = "=1.1.11", default-features = false, features = ["zlib"] }\nlibz-sys = { version = "=1.1.31", features = ["static"] }\n',
      ),
      'src/lib.rs': `use std::io::Read;
pub fn packed(text: &str) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::ZlibEncoder::new(text.as_bytes(), flate2::Compression::best()).read_to_end(&mut packed).unwrap();
    packed
}
pub fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::ZlibDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}
${roundTrips('assert_eq!(super::unpacked(&super::packed("many small fish")), "many small fish");')}`,
      'src/main.rs': 'fn main() {\n    println!("{}", c_code::packed("many small fish").len());\n}\n',
    },
    edit: unused,
  },
  /** Assembly and C code, chosen by the features of the processor. */
  assembly: {
    files: {
      'Cargo.toml': packageManifest('assembly', '[dependencies]\nblake3 = "=1.8.7"\n'),
      'src/lib.rs': `pub fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_string()
}
${roundTrips('assert_eq!(super::digest("").len(), 64);')}`,
      'src/main.rs': 'fn main() {\n    println!("{}", assembly::digest("many small fish"));\n}\n',
    },
    edit: unused,
  },
  /** C++ code, generated on both sides of the bridge. */
  bridge: {
    files: {
      'Cargo.toml': packageManifest(
        'bridge',
        '[dependencies]\ncxx = "=1.0.205"\n[build-dependencies]\ncxx-build = "=1.0.205"\n',
      ),
      'build.rs': `fn main() {
    cxx_build::bridge("src/lib.rs").file("src/fish.cc").std("c++17").compile("fish");
    println!("cargo:rerun-if-changed=src/fish.cc");
    println!("cargo:rerun-if-changed=src/fish.h");
}
`,
      'src/fish.h': '#pragma once\n#include "rust/cxx.h"\nrust::String shoal(rust::Str fish, unsigned many);\n',
      'src/fish.cc': `#include "bridge/src/fish.h"
#include <string>
rust::String shoal(rust::Str fish, unsigned many) {
  std::string all;
  while (many--) all += std::string(fish);
  return all;
}
`,
      'src/lib.rs': `#[cxx::bridge]
mod ffi {
    unsafe extern "C++" {
        include!("bridge/src/fish.h");
        fn shoal(fish: &str, many: u32) -> String;
    }
}
pub fn shoal(many: u32) -> String {
    ffi::shoal("fish ", many)
}
${roundTrips('assert_eq!(super::shoal(2), "fish fish ");')}`,
      'src/main.rs': 'fn main() {\n    println!("{}", bridge::shoal(3));\n}\n',
    },
    edit: unused,
  },
  /** A table that a build script generates, included from OUT_DIR. */
  generated: {
    files: {
      'Cargo.toml': packageManifest('generated', '[dependencies]\nmime_guess = "=2.0.5"\n'),
      'src/lib.rs': `pub fn kind(path: &str) -> String {
    mime_guess::from_path(path).first_or_octet_stream().to_string()
}
${roundTrips('assert_eq!(super::kind("shoal.html"), "text/html");')}`,
      'src/main.rs': 'fn main() {\n    println!("{}", generated::kind("shoal.rs"));\n}\n',
    },
    edit: unused,
  },
  /** A macro that reads templates. */
  templates: {
    files: {
      'Cargo.toml': packageManifest('templates', '[dependencies]\naskama = "=0.14.0"\n'),
      'templates/base.txt': 'Dear {% block name %}{% endblock %}!\n',
      'templates/hello.txt': '{% extends "base.txt" %}{% block name %}{{ name }}{% endblock %}',
      'src/lib.rs': `use askama::Template;
#[derive(Template)]
#[template(path = "hello.txt")]
pub struct Hello<'a> {
    pub name: &'a str,
}
${roundTrips('use askama::Template;\n        assert_eq!(super::Hello { name: "fish" }.render().unwrap(), "Dear fish!");')}`,
      'src/main.rs':
        'use askama::Template;\nfn main() {\n    println!("{}", templates::Hello { name: "fish" }.render().unwrap());\n}\n',
    },
    edit: { file: 'templates/base.txt', text: '{#- added #}\n' },
  },
  /** A macro that reads a directory. */
  embedded: {
    files: {
      'Cargo.toml': packageManifest('embedded', '[dependencies]\ninclude_dir = "=0.7.4"\n'),
      'assets/one.txt': 'one\n',
      'assets/more/two.txt': 'two\n',
      'src/lib.rs': `use include_dir::{include_dir, Dir};
pub static ASSETS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets");
${roundTrips('assert_eq!(super::ASSETS.get_file("more/two.txt").unwrap().contents_utf8(), Some("two\\n"));')}`,
      'src/main.rs': `fn main() {
    for file in embedded::ASSETS.files() {
        println!("{} {}", file.path().display(), file.contents().len());
    }
}
`,
    },
    edit: unused,
  },
  /** A cdylib, and a test that loads it. */
  plugin: {
    files: {
      'Cargo.toml':
        '[workspace]\nresolver = "2"\nmembers = ["plugin", "host"]\n[profile.release]\nlto = "thin"\ncodegen-units = 1\n',
      'plugin/Cargo.toml': packageManifest('plugin', '[lib]\ncrate-type = ["cdylib", "rlib"]\n'),
      'plugin/src/lib.rs': '#[no_mangle]\npub extern "C" fn answer() -> i32 {\n    42\n}\n',
      'host/Cargo.toml': packageManifest(
        'host',
        '[dependencies]\nlibloading = "=0.8.9"\n[dev-dependencies]\nplugin = { path = "../plugin" }\n',
      ),
      'host/src/main.rs': `fn main() {
    let path = std::env::args().nth(1).unwrap();
    let library = unsafe { libloading::Library::new(path) }.unwrap();
    let answer: libloading::Symbol<extern "C" fn() -> i32> = unsafe { library.get(b"answer") }.unwrap();
    println!("{}", answer());
}
`,
      'host/tests/loads.rs': `#[test]
fn loads() {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_host"));
    let library = program.with_file_name("libplugin.so");
    let ran = std::process::Command::new(program).arg(library).output().unwrap();
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "42\\n");
    assert_eq!(plugin::answer(), 42);
}
`,
    },
    edit: { file: 'plugin/src/lib.rs', text: '\nfn added_and_not_used() -> u8 {\n    7\n}\n' },
  },
  /** Build scripts that ask rustc what it can do, and a macro that includes from its own OUT_DIR. */
  probes: {
    files: {
      'Cargo.toml': packageManifest(
        'probes',
        '[dependencies]\nanyhow = "=1.0.104"\nrustversion = "=1.0.23"\nthiserror = "=2.0.21"\nserde = { version = "=1.0.229", features = ["derive"] }\n',
      ),
      'src/lib.rs': `use serde::{Deserialize, Serialize};
#[derive(Debug, thiserror::Error)]
#[error("no fish but {0}")]
pub struct NoFish(pub String);
#[derive(Debug, Serialize, Deserialize)]
pub struct Fish {
    pub name: String,
}
#[rustversion::since(1.70)]
pub fn since() -> &'static str {
    "since"
}
#[rustversion::before(1.70)]
pub fn since() -> &'static str {
    "before"
}
pub fn find(name: &str) -> anyhow::Result<Fish> {
    anyhow::ensure!(name == "fish", NoFish(name.into()));
    Ok(Fish { name: name.into() })
}
${roundTrips('assert_eq!(super::find("bird").unwrap_err().to_string(), "no fish but bird");')}`,
      'src/main.rs': 'fn main() {\n    println!("{} {:?}", probes::since(), probes::find("fish"));\n}\n',
    },
    edit: unused,
  },
}
