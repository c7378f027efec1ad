import { type Files, packageManifest, type State } from './fixture.ts'

const macros = `use proc_macro::TokenStream;

/// How long the path of the working directory is.
#[proc_macro]
pub fn length_of_directory(_: TokenStream) -> TokenStream {
    std::env::current_dir().unwrap().as_os_str().len().to_string().parse().unwrap()
}
/// How long the path of the package is.
#[proc_macro]
pub fn length_of_package(_: TokenStream) -> TokenStream {
    std::env::var("CARGO_MANIFEST_DIR").unwrap().len().to_string().parse().unwrap()
}
`

const test = `use std::process::Command;

#[test]
fn places() {
    let program = env!("CARGO_BIN_EXE_placed");
    println!("exe={program}");
    println!("ran={}", String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap().trim());
    println!("package={}", bound::package());
    println!("out={}", bound::out());
    println!("file={}", free::file());
}
`

const counts = (name: string): Files => ({
  [`${name}/Cargo.toml`]: packageManifest(name, '[dependencies]\nmacros = { path = "../macros" }\n'),
  [`${name}/src/lib.rs`]: `pub const LENGTH: usize = macros::length_of_${name}!();\n`,
})

const depends = (...names: string[]): string =>
  `[dependencies]\n${names.map((name) => `${name} = { path = "../${name}" }\n`).join('')}`

const files: Files = {
  'Cargo.toml':
    '[workspace]\nresolver = "2"\nmembers = ["placed", "bound", "free", "counting", "directory", "package", "generated", "macros"]\n',
  'macros/Cargo.toml': packageManifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': macros,
  'free/Cargo.toml': packageManifest('free'),
  'free/src/lib.rs': "pub fn file() -> &'static str {\n    file!()\n}\n",
  'bound/Cargo.toml': packageManifest('bound', 'build = "build.rs"\n'),
  'bound/build.rs': 'fn main() {}\n',
  'bound/src/lib.rs': `pub fn package() -> &'static str {
    env!("CARGO_MANIFEST_DIR")
}
pub fn out() -> &'static str {
    env!("OUT_DIR")
}
`,
  ...counts('directory'),
  ...counts('package'),
  // The path itself is in no output: `env!` is gone once its length is known.
  'generated/Cargo.toml': packageManifest('generated', 'build = "build.rs"\n'),
  'generated/build.rs': 'fn main() {}\n',
  'generated/src/lib.rs': 'pub static LENGTH: usize = env!("OUT_DIR").len();\n',
  'counting/Cargo.toml': packageManifest('counting', depends('directory', 'package', 'generated')),
  'counting/src/main.rs': `fn main() {
    println!("directory={}\\npackage={}", directory::LENGTH, package::LENGTH);
    println!("out={}", generated::LENGTH);
}
`,
  'placed/Cargo.toml': packageManifest('placed', depends('bound', 'free', 'macros')),
  'placed/src/main.rs': 'fn main() {\n    println!("here");\n}\n',
  'placed/tests/places.rs': test,
}

/** A workspace some of whose units know where they are. */
export const placesState: State = {
  files,
  env: {},
  args: ['test', '--offline', '-p', 'placed', '--test', 'places', '--', '--nocapture'],
}

/** A program that a macro gave numbers which follow from where it is, and nothing else. */
export const countingState: State = { files, env: {}, args: ['build', '--offline', '-p', 'counting'] }
