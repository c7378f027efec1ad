import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { capture } from './cluster.ts'
import { type Files, type Mutation, packageManifest, readSaid, type Said, type State } from './fixture.ts'

/** Says `name=text`, in whatever it is compiled into. */
const says = (name: string, text: string): string => `println!("${name}=${text}")`
const exported = (name: string, text: string): string =>
  `#[no_mangle]\npub extern "C" fn ${name}() -> *const u8 {\n    "${name}=${text}\\n\\0".as_ptr()\n}\n`

const sources = {
  'many/src/lib.rs': (text: string) =>
    `pub fn text() -> &'static str {\n    "${text}"\n}\n#[test]\nfn of_the_library() {\n    ${says('unit-test', text)};\n}\n`,
  'many/src/main.rs': (text: string) =>
    `fn main() {\n    ${says('main', text)};\n    println!("library={}", many::text());\n}\n`,
  'many/examples/shown.rs': (text: string) => `fn main() {\n    ${says('example', text)};\n}\n`,
  'many/tests/whole.rs': (text: string) => `#[test]\nfn whole() {\n    ${says('test', text)};\n}\n`,
  'many/benches/timed.rs': (text: string) => `fn main() {\n    ${says('bench', text)};\n}\n`,
  'many/build.rs': (text: string) => `fn main() {\n    println!("cargo:rustc-env=SCRIPTED=${text}");\n}\n`,
  'foreign/src/lib.rs': (text: string) => exported('cdylib', text),
  'shared/src/lib.rs': (text: string) => exported('dylib', text),
  'archive/src/lib.rs': (text: string) => exported('staticlib', text),
}

const library = (name: string, type: string): string => packageManifest(name, `[lib]\ncrate-type = ["${type}"]\n`)

const files: Files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["many", "foreign", "shared", "archive"]\n',
  'many/Cargo.toml': packageManifest('many', '[[bench]]\nname = "timed"\nharness = false\n'),
  'foreign/Cargo.toml': library('foreign', 'cdylib'),
  'shared/Cargo.toml': library('shared', 'dylib'),
  'archive/Cargo.toml': library('archive', 'staticlib'),
  ...Object.fromEntries(Object.entries(sources).map(([path, source]) => [path, source('one')])),
}

/** Every kind of unit that cargo knows. */
export const kindsState: State = { files, env: {}, args: ['build', '--offline', '--workspace', '--all-targets'] }

const change = (path: keyof typeof sources): Files => ({ [path]: sources[path]('two') })

export const kindMutations: readonly Mutation[] = [
  {
    title: 'a library, and all that links it',
    files: change('many/src/lib.rs'),
    touches: ['many lib', 'many test', 'many bin', 'shown', 'whole', 'timed'],
    says: { library: 'two', 'unit-test': 'two' },
  },
  { title: 'a program', files: change('many/src/main.rs'), touches: ['many bin'], says: { main: 'two' } },
  { title: 'an example', files: change('many/examples/shown.rs'), touches: ['shown'], says: { example: 'two' } },
  { title: 'a test', files: change('many/tests/whole.rs'), touches: ['whole test'], says: { test: 'two' } },
  { title: 'a bench', files: change('many/benches/timed.rs'), touches: ['timed'], says: { bench: 'two' } },
  {
    title: 'a build script',
    files: change('many/build.rs'),
    touches: ['build_script_build build-script', 'many lib'],
  },
  { title: 'a cdylib', files: change('foreign/src/lib.rs'), touches: ['foreign cdylib'], says: { cdylib: 'two' } },
  { title: 'a dylib', files: change('shared/src/lib.rs'), touches: ['shared dylib'], says: { dylib: 'two' } },
  {
    title: 'a staticlib',
    files: change('archive/src/lib.rs'),
    touches: ['archive staticlib'],
    says: { staticlib: 'two' },
  },
  {
    title: 'the profile',
    args: [...kindsState.args, '--release'],
    touches: ['many lib', 'many bin', 'shown', 'whole', 'timed', 'foreign', 'shared', 'archive'],
  },
]

/** Runs every program and looks into every library. */
export async function listenToKinds(dir: string): Promise<Said> {
  const profile = (await readdir(join(dir, 'target'))).includes('debug') ? 'debug' : 'release'
  const built = join(dir, 'target', profile)
  const tests = (await readdir(join(built, 'deps'))).filter((name) => /^(many|whole|timed)-[0-9a-f]+$/.test(name))
  const programs = ['many', 'examples/shown', ...tests.map((name) => `deps/${name}`)]
  const said: Record<string, string> = {}
  for (const program of programs) {
    Object.assign(said, readSaid((await capture(join(built, program), ['--nocapture'])).stdout))
  }
  for (const name of ['libforeign.so', 'libshared.so', 'libarchive.a']) {
    const found = /\b(cdylib|dylib|staticlib)=(\w+)\n\0/.exec(await readFile(join(built, name), 'latin1'))
    if (found?.[1] !== undefined && found[2] !== undefined) said[found[1]] = found[2]
  }
  return said
}
