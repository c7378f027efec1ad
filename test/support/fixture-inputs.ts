import { type Files, packageManifest, type State } from './fixture.ts'

/** Every macro of the fixture gets a library of its own, so that each look is one unit's only input of that class. */
export const macros = {
  file: 'read("schema.txt")',
  list: `{
        let mut names: Vec<_> = fs::read_dir(shared("listing")).unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.join("+")
    }`,
  absent:
    '{ let path = shared("maybe.txt"); if path.exists() { fs::read_to_string(path).unwrap() } else { "absent".into() } }',
  link: 'fs::read_link(shared("link")).unwrap().display().to_string()',
  var: 'env::var("MACRO_VAR").unwrap_or("unset".into())',
  environ: 'env::vars().filter(|(name, _)| name.starts_with("COUNTED_")).count().to_string()',
  program: 'String::from_utf8(Command::new("fixture-tool").output().unwrap().stdout).unwrap()',
  thread: 'std::thread::spawn(|| read("threaded.txt")).join().unwrap()',
}

export const macroSource = `use proc_macro::TokenStream;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

fn shared(name: &str) -> PathBuf {
    PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../shared").join(name)
}
#[allow(dead_code)]
fn read(name: &str) -> String {
    fs::read_to_string(shared(name)).unwrap()
}
fn literal(text: &str) -> TokenStream {
    format!("{:?}", support::finish(text)).parse().unwrap()
}
${Object.entries(macros)
  .map(
    ([name, body]) => `#[proc_macro]\npub fn see_${name}(_: TokenStream) -> TokenStream {\n    literal(&${body})\n}\n`,
  )
  .join('')}`

const users: Files = Object.fromEntries(
  Object.keys(macros).flatMap((name) => [
    [
      `users/${name}/Cargo.toml`,
      packageManifest(`sees-${name}`, '[dependencies]\nmacros = { path = "../../macros" }\n'),
    ],
    [`users/${name}/src/lib.rs`, `pub const SEEN: &str = macros::see_${name}!();\n`],
  ]),
)

const paint = `mod part;
#[path = "../../shared/outside.rs"]
mod outside;
include!("extra.rs");

pub fn said() -> Vec<(&'static str, String)> {
    vec![
        ("option", option_env!("PAINT_OPTION").unwrap_or("unset").into()),
        ("env", env!("PAINT_ENV").into()),
        ("motto", include_str!("../motto.txt").into()),
        ("bytes", include_bytes!("../blob.bin").len().to_string()),
        ("outside-text", include_str!("../../shared/outside.txt").into()),
        ("outside-module", outside::VALUE.into()),
        ("part", part::VALUE.into()),
        ("extra", EXTRA.into()),
        ("gloss", cfg!(feature = "gloss").to_string()),
        ("cfg", cfg!(paint_cfg).to_string()),
        ("optimised", (!cfg!(debug_assertions)).to_string()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("description", env!("CARGO_PKG_DESCRIPTION").into()),
    ]
}
`

export const buildScript = `use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn run(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().unwrap().success());
}

fn main() {
    let out = env::var("OUT_DIR").unwrap();
    for input in ["generated.txt", "env.txt", "cfg.txt", "native.c", "build.rs"] {
        println!("cargo:rerun-if-changed={input}");
    }
    let text = fs::read_to_string("generated.txt").unwrap();
    fs::write(Path::new(&out).join("generated.rs"), format!("pub const GENERATED: &str = {text:?};\\n")).unwrap();
    println!("cargo:rustc-env=BUILT_ENV={}", fs::read_to_string("env.txt").unwrap());
    println!("cargo:rustc-env=BUILT_BY={}", "one");
    println!("cargo:rustc-check-cfg=cfg(built_cfg)");
    if fs::read_to_string("cfg.txt").unwrap() == "on" {
        println!("cargo:rustc-cfg=built_cfg");
    }
    run("cc", &["-c", "native.c", "-o", &format!("{out}/native.o")]);
    run("ar", &["crsD", &format!("{out}/libnative.a"), &format!("{out}/native.o")]);
    println!("cargo:rustc-link-search=native={out}");
    println!("cargo:rustc-link-lib=static=native");
}
`

const built = `include!(concat!(env!("OUT_DIR"), "/generated.rs"));
extern "C" {
    fn native() -> i32;
}
pub fn said() -> Vec<(&'static str, String)> {
    vec![
        ("generated", GENERATED.into()),
        ("built-env", env!("BUILT_ENV").into()),
        ("built-by", env!("BUILT_BY").into()),
        ("built-cfg", cfg!(built_cfg).to_string()),
        ("native", unsafe { native() }.to_string()),
    ]
}
`

export const app = `fn main() {
    let mut all = paint::said();
    all.extend(built::said());
    all.extend([
        ("transitive", middle::twice().to_string()),
        ("main", "one".to_string()),
${Object.keys(macros)
  .map((name) => `        ("${name}", sees_${name}::SEEN.trim().to_string()),\n`)
  .join('')}    ]);
    for (name, value) in all {
        println!("{name}={}", value.trim());
    }
}
`

const depends = (...names: string[]): string =>
  `[dependencies]\n${names.map((name) => `${name.split('/').at(-1)} = { path = "../${name}" }\n`).join('')}`

export const files: Files = {
  'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ["paint", "built", "deep", "middle", "macros", "support", "users/*", "app"]\n`,
  '.cargo/config.toml': '[env]\nPAINT_ENV = "one"\n',
  'shared/outside.txt': 'one',
  'shared/outside.rs': 'pub const VALUE: &str = "one";\n',
  'shared/schema.txt': 'one',
  'shared/threaded.txt': 'one',
  'shared/listing/a': '',
  'shared/listing/b': '',
  'shared/maybe.txt': null,
  'shared/link': { link: 'one' },
  'tools/fixture-tool': { program: '#!/bin/sh\ncat "$(dirname "$0")/answer.txt"\n' },
  'tools/answer.txt': 'one',
  'paint/Cargo.toml': packageManifest(
    'paint',
    'description = "one"\n[features]\ngloss = []\n[lints.rust]\nunexpected_cfgs = "allow"\n',
  ),
  'paint/src/lib.rs': paint,
  'paint/src/part.rs': 'pub const VALUE: &str = "one";\n',
  'paint/src/part/mod.rs': null,
  'paint/src/extra.rs': 'const EXTRA: &str = "one";\n',
  'paint/motto.txt': 'one',
  'paint/blob.bin': '1',
  'built/Cargo.toml': packageManifest('built', 'build = "build.rs"\n'),
  'built/build.rs': buildScript,
  'built/generated.txt': 'one',
  'built/env.txt': 'one',
  'built/cfg.txt': 'off',
  'built/native.c': 'int native(void) { return 1; }\n',
  'built/src/lib.rs': built,
  'deep/Cargo.toml': packageManifest('deep'),
  'deep/src/lib.rs': 'pub const fn depth() -> u32 {\n    1\n}\n',
  'middle/Cargo.toml': packageManifest('middle', depends('deep')),
  'middle/src/lib.rs': 'pub fn twice() -> u32 {\n    const { deep::depth() * 2 }\n}\n',
  'support/Cargo.toml': packageManifest('support'),
  'support/src/lib.rs': 'pub fn finish(text: &str) -> String {\n    text.to_string()\n}\n',
  'macros/Cargo.toml': packageManifest('macros', `[lib]\nproc-macro = true\n${depends('support')}`),
  'macros/src/lib.rs': macroSource,
  ...users,
  'app/Cargo.toml': packageManifest(
    'app',
    `[features]\ngloss = ["paint/gloss"]\n[dependencies]\n${['paint', 'built', 'middle']
      .map((name) => `${name} = { path = "../${name}" }\n`)
      .join('')}${Object.keys(macros)
      .map((name) => `sees-${name} = { path = "../users/${name}" }\n`)
      .join('')}`,
  ),
  'app/src/main.rs': app,
}

/** A workspace in which every class of input of a library is some unit's, and a program that says them all. */
export function inputsState(dir: string): State {
  return {
    files,
    env: { PATH: `${dir}/earlier:${dir}/tools:${process.env.PATH}`, PAINT_OPTION: undefined, MACRO_VAR: undefined },
    args: ['build', '--offline'],
  }
}
