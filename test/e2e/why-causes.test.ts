import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { type Files, packageManifest, writeFiles } from '../support/fixture.ts'
import { settled } from '../support/settled.ts'
import { because, readWhy } from '../support/why.ts'

const needs = (...names: string[]): string =>
  `[dependencies]\n${names.map((name) => `${name} = { path = "../${name}" }\n`).join('')}`

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["leaf", "mid", "macros", "reader", "program"]\n',
  'motto.txt': 'one',
  'leaf/Cargo.toml': packageManifest('leaf', '[features]\ndeep = []\n'),
  'leaf/src/lib.rs': `pub const MOTTO: &str = include_str!("../../motto.txt");
pub const COLOUR: Option<&str> = option_env!("LEAF_COLOUR");
`,
  'mid/Cargo.toml': packageManifest('mid', needs('leaf')),
  'mid/src/lib.rs': 'pub const LENGTH: usize = leaf::MOTTO.len();\n',
  'macros/Cargo.toml': packageManifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': `use proc_macro::TokenStream;

#[proc_macro]
pub fn one(_: TokenStream) -> TokenStream {
    format!("{:?}", std::env::var("READER_ONE").unwrap_or_default()).parse().unwrap()
}
#[proc_macro]
pub fn count(_: TokenStream) -> TokenStream {
    std::env::vars().filter(|(name, _)| name.starts_with("MANY_")).count().to_string().parse().unwrap()
}
`,
  'reader/Cargo.toml': packageManifest('reader', needs('macros')),
  'reader/src/lib.rs': 'pub const ONE: &str = macros::one!();\npub const MANY: u32 = macros::count!();\n',
  'program/Cargo.toml': packageManifest('program', needs('mid')),
  'program/src/main.rs': 'fn main() {\n    println!("{}", mid::LENGTH);\n}\n',
  // Of one name with the program.
  'program/examples/program.rs': 'fn main() {\n    println!("{}", mid::LENGTH + 1);\n}\n',
} satisfies Files

const short = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12)
const wasIs = (name: keyof typeof files, now: string): string => `was ${short(files[name])}, is ${short(now)}`
const source = `${files['leaf/src/lib.rs']}pub const MORE: u32 = 1;\n`
const example = files['program/examples/program.rs'].replace('1', '2')
const linking = { CARGO_ENCODED_RUSTFLAGS: '-Clink-arg=-Wl,--build-id' }

interface Case {
  what: string
  files?: Partial<Record<keyof typeof files, string>>
  env?: NodeJS.ProcessEnv
  args?: string[]
  /** Crate → what is shown first of it. */
  shows: Readonly<Record<string, string>>
}

const cases: Case[] = [
  {
    what: 'a source, also of a dependency',
    files: { 'leaf/src/lib.rs': source },
    shows: {
      leaf: `file <workspace>/leaf/src/lib.rs: ${wasIs('leaf/src/lib.rs', source)}`,
      mid: `in leaf (lib) file <workspace>/leaf/src/lib.rs: ${wasIs('leaf/src/lib.rs', source)}`,
      program: `in leaf (lib) file <workspace>/leaf/src/lib.rs: ${wasIs('leaf/src/lib.rs', source)}`,
    },
  },
  {
    what: 'an included file, by the shortest name',
    files: { 'motto.txt': 'two' },
    shows: { leaf: `file <workspace>/motto.txt: ${wasIs('motto.txt', 'two')}` },
  },
  {
    what: 'the source of one of two targets of one name',
    files: { 'program/examples/program.rs': example },
    args: ['build', '--workspace', '--examples'],
    shows: {
      program: `file <workspace>/program/examples/program.rs: ${wasIs('program/examples/program.rs', example)}`,
    },
  },
  {
    what: 'a feature',
    files: { 'mid/Cargo.toml': files['mid/Cargo.toml'].replace(' }', ', features = ["deep"] }') },
    shows: { leaf: 'feature deep: was off, is on', mid: 'in leaf (lib) feature deep: was off, is on' },
  },
  {
    what: 'a codegen option in a profile',
    env: { CARGO_PROFILE_DEV_OVERFLOW_CHECKS: 'false', CARGO_PROFILE_DEV_PANIC: 'abort' },
    shows: { leaf: '-C panic: was absent, is abort' },
  },
  { what: 'a profile', args: ['build', '--workspace', '--release'], shows: { leaf: 'profile: was dev, is release' } },
  {
    what: 'a variable of env!',
    env: { LEAF_COLOUR: 'red' },
    shows: { leaf: 'variable LEAF_COLOUR: was not set, is red' },
  },
  {
    what: 'a variable that a macro asks for',
    env: { READER_ONE: 'x' },
    shows: { reader: 'variable READER_ONE: was not set, is x' },
  },
  {
    what: 'a variable that a macro sees among all others',
    env: { MANY_MORE: 'x' },
    shows: { reader: `variable MANY_MORE: was not set, is set (digest ${short('x')})` },
  },
  {
    what: 'a variable with a secret among all others',
    env: { MANY_TOKEN: 'x' },
    shows: { reader: 'variable MANY_TOKEN: was not set, is set (hidden)' },
  },
  {
    what: 'the version of a dependency',
    files: { 'leaf/Cargo.toml': files['leaf/Cargo.toml'].replace('0.1.0', '0.1.1') },
    shows: {
      leaf: 'version: was 0.1.0, is 0.1.1',
      mid: 'in leaf (lib) version: was 0.1.0, is 0.1.1',
      program: 'in leaf (lib) version: was 0.1.0, is 0.1.1',
    },
  },
  {
    what: 'RUSTFLAGS',
    env: { CARGO_ENCODED_RUSTFLAGS: '--cfg\u001fspecial' },
    shows: { leaf: '--cfg special: was off, is on', program: '--cfg special: was off, is on' },
  },
  {
    what: 'an argument for the linker',
    env: linking,
    shows: { program: '-C link-arg: was absent, is -Wl,--build-id' },
  },
]

describe('of one change, what is shown first', () => {
  let cluster: Cluster
  let node: TestNode
  let dir: string

  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    dir = join(cluster.dir, 'ws')
    await writeFiles(dir, files)
    await build({ args: ['build', '--workspace', '--examples'] })
    await build({})
  })
  after(() => cluster.close())

  /** From nothing, so that every unit is asked for. */
  async function build({ env, args = ['build', '--workspace'] }: Pick<Case, 'env' | 'args'>): Promise<void> {
    await rm(join(dir, 'target'), { recursive: true, force: true })
    const options = { cwd: dir, env: { ...(await node.cargoEnv()), ...env } }
    const { ran } = await settled(node, 'cargo', [...args, '--offline'], options)
    assert.equal(ran.code, 0, ran.stderr)
  }

  async function shown(crate: string): Promise<string | undefined> {
    const ran = await node.shoal('why', crate)
    assert.equal(ran.code, 0, ran.stderr)
    return because(readWhy(ran.stdout)[0])
  }

  for (const { what, files: changed = {}, shows, ...how } of cases) {
    test(what, async () => {
      await writeFiles(dir, changed)
      try {
        await build(how)
        for (const [crate, text] of Object.entries(shows)) assert.equal(await shown(crate), text)
      } finally {
        await writeFiles(dir, files)
      }
    })
  }

  test('a linker', async (t) => {
    const which = async (name: string): Promise<string> =>
      (await capture('sh', ['-c', `command -v ${name}`])).stdout.trim()
    const linker = await which('gcc')
    if (linker === '') return t.skip('no gcc')
    await build({ env: { CARGO_ENCODED_RUSTFLAGS: `-Clinker=${linker}` } })
    assert.equal(await shown('program'), `-C linker: was absent, is ${linker}`)
  })

  test('a toolchain', async (t) => {
    const named = async (toolchain: string | undefined): Promise<string | undefined> => {
      const env = { ...process.env, ...(toolchain === undefined ? {} : { RUSTUP_TOOLCHAIN: toolchain }) }
      const { code, stdout } = await capture('rustc', ['--print', 'sysroot'], { env })
      return code === 0 ? stdout.trim().split('/').at(-1) : undefined
    }
    const [usual, nightly] = [await named(undefined), await named('nightly')]
    if (nightly === undefined || nightly === usual) return t.skip('no other toolchain')
    await build({ env: { RUSTUP_TOOLCHAIN: 'nightly' } })
    const text = await shown('leaf')
    assert.equal(text?.replace(/[0-9a-f]{12}/g, '#'), `toolchain: was ${usual} (#), is ${nightly} (#)`)
  })
})
