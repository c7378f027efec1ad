/** Packages with build scripts that compile C, ask the compiler, or generate sources, and a program that needs what they leave. */
export interface Subject {
  dependencies: string
  buildDependencies?: string
  /** `src/main.rs`, and what else there is. */
  files: Record<string, string>
  /** A published package that depends on it, whose own tests are to pass: name and version, and what is given to `cargo test`. */
  tested?: { name: string; version: string; args: readonly string[] }
}

/** Of a function of C that says which version it is of. */
const asks = (declared: string, call: string): Record<string, string> => ({
  'src/main.rs': `${declared}\nfn main() { println!("{:?}", unsafe { ${call} }) }\n`,
})

export const subjects: Readonly<Record<string, Subject>> = {
  ring: {
    dependencies: 'ring = "=0.17.14"',
    files: {
      'src/main.rs':
        'fn main() { println!("{:?}", ring::digest::digest(&ring::digest::SHA256, b"fish").as_ref().first()) }\n',
    },
  },
  'libz-sys': {
    dependencies: 'libz-sys = { version = "=1.1.22", features = ["static"] }',
    files: asks('', 'libz_sys::zlibCompileFlags()'),
    tested: { name: 'flate2', version: '1.1.2', args: ['--no-default-features', '--features=zlib', '--lib'] },
  },
  'zstd-sys': {
    dependencies:
      'zstd-sys = { version = "=2.0.15", default-features = false, features = ["legacy", "zdict_builder"] }',
    files: asks('', 'zstd_sys::ZSTD_versionNumber()'),
    tested: { name: 'zstd', version: '0.13.3', args: ['--doc'] },
  },
  'libsqlite3-sys': {
    dependencies: 'libsqlite3-sys = { version = "=0.35.0", features = ["bundled"] }',
    files: asks('', 'libsqlite3_sys::sqlite3_libversion_number()'),
    tested: { name: 'rusqlite', version: '0.37.0', args: ['--features=bundled', '--lib'] },
  },
  'bzip2-sys': {
    dependencies: 'bzip2-sys = { version = "=0.1.13", features = ["static"] }',
    files: asks('', 'bzip2_sys::BZ2_bzCompressEnd(std::ptr::null_mut())'),
    tested: { name: 'bzip2', version: '0.5.2', args: ['--features=static', '--lib'] },
  },
  'lz4-sys': {
    dependencies: 'lz4-sys = "=1.11.1"',
    files: asks('extern crate lz4_sys;', 'lz4_sys::LZ4_versionNumber()'),
    tested: { name: 'lz4', version: '1.28.1', args: ['--lib'] },
  },
  blake3: {
    dependencies: 'blake3 = "=1.8.2"',
    files: { 'src/main.rs': 'fn main() { println!("{}", blake3::hash(b"fish")) }\n' },
  },
  'libgit2-sys': {
    dependencies: 'libgit2-sys = { version = "=0.18.2", default-features = false, features = ["vendored"] }',
    files: asks('', 'libgit2_sys::git_libgit2_init()'),
    tested: {
      name: 'git2',
      version: '0.20.2',
      args: ['--no-default-features', '--features=vendored-libgit2', '--lib'],
    },
  },
  'aws-lc-sys': {
    dependencies: 'aws-lc-sys = "=0.30.0"',
    files: asks('', 'aws_lc_sys::FIPS_mode()'),
    tested: { name: 'aws-lc-rs', version: '1.13.3', args: ['--lib'] },
  },
  'openssl-sys': {
    dependencies: 'openssl-sys = { version = "=0.9.109", features = ["vendored"] }',
    files: asks('', 'openssl_sys::OpenSSL_version_num()'),
  },
  'prost-build': {
    dependencies: 'prost = "=0.14.1"',
    buildDependencies: 'prost-build = "=0.14.1"\nprotoc-bin-vendored = "=3.2.0"',
    files: {
      'build.rs':
        'fn main() { std::env::set_var("PROTOC", protoc_bin_vendored::protoc_bin_path().unwrap()); prost_build::compile_protos(&["fish.proto"], &["."]).unwrap() }\n',
      'fish.proto': 'syntax = "proto3";\npackage fish;\nmessage Fish { string name = 1; repeated int32 fins = 2; }\n',
      'src/main.rs':
        'mod fish { include!(concat!(env!("OUT_DIR"), "/fish.rs")); }\nfn main() { println!("{:?}", fish::Fish::default()) }\n',
    },
  },
  cxx: {
    dependencies: 'cxx = "=1.0.205"',
    files: { 'src/main.rs': 'fn main() { cxx::let_cxx_string!(name = "fish"); println!("{name}") }\n' },
  },
  bindgen: {
    dependencies: '',
    buildDependencies: 'bindgen = "=0.72.1"',
    files: {
      'build.rs':
        'fn main() { let made = bindgen::Builder::default().header("c/fish.h").generate().unwrap(); made.write_to_file(std::path::PathBuf::from(std::env::var("OUT_DIR").unwrap()).join("fish.rs")).unwrap() }\n',
      'c/fish.h': 'struct fish { unsigned long fins; };\n',
      'src/main.rs':
        '#![allow(dead_code, non_camel_case_types, non_upper_case_globals, non_snake_case)]\nmod fish { include!(concat!(env!("OUT_DIR"), "/fish.rs")); }\nfn main() { println!("{}", fish::fish { fins: 7 }.fins) }\n',
    },
  },
  typenum: {
    dependencies: 'typenum = "=1.17.0"',
    files: {
      'src/main.rs': 'use typenum::Unsigned;\nfn main() { println!("{}", typenum::U7::to_u32()) }\n',
    },
  },
  'proc-macro2': {
    dependencies: 'proc-macro2 = "=1.0.95"',
    files: { 'src/main.rs': 'fn main() { println!("{}", "7".parse::<proc_macro2::TokenStream>().unwrap()) }\n' },
  },
  serde: {
    dependencies: 'serde = { version = "=1.0.219", features = ["derive"] }',
    files: {
      'src/main.rs':
        '#[derive(serde::Serialize)]\nstruct Fish { fins: u32 }\nfn main() { println!("{}", Fish { fins: 7 }.fins) }\n',
    },
  },
  libc: {
    dependencies: 'libc = "=0.2.174"',
    files: { 'src/main.rs': 'fn main() { println!("{}", unsafe { libc::getppid() } > 0) }\n' },
  },
  probes: {
    dependencies:
      'serde = { version = "1", features = ["derive"] }\nlibc = "0.2"\nanyhow = "1"\nthiserror = "2"\ntypenum = "1"\nnum-traits = "0.2"\nsemver = "1"\nserde_json = "1"\nindexmap = "1"\nproc-macro2 = "1"',
    files: {
      'src/main.rs':
        'fn main() { println!("{}", serde_json::json!({ "fish": semver::Version::new(1, 2, 3).to_string() })) }\n',
    },
  },
}
