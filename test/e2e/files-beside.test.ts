import assert from 'node:assert/strict'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type UnitRow } from '../support/cluster.ts'
import { assertAllRecalled, packageManifest, writeFiles } from '../support/fixture.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { settled } from '../support/settled.ts'

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["macros", "library", "app"]\n',
  'macros/Cargo.toml': packageManifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': `use proc_macro::TokenStream;
#[proc_macro]
pub fn one(_: TokenStream) -> TokenStream {
    "1".parse().unwrap()
}
`,
  'library/Cargo.toml': packageManifest('library'),
  'library/src/lib.rs': `pub fn two() -> u8 {
    2
}
#[test]
fn is_two() {
    assert_eq!(two(), 2);
}
`,
  'app/Cargo.toml': packageManifest(
    'app',
    'build = "build.rs"\n[dependencies]\nmacros = { path = "../macros" }\nlibrary = { path = "../library" }\n',
  ),
  'app/build.rs': 'fn main() {}\n',
  'app/src/main.rs': 'fn main() {\n    println!("{}", macros::one!() + library::two());\n}\n',
}

describe('compiles that leave files beside their outputs', () => {
  let cluster: Cluster
  let dir: string
  let plainWrapper: string

  before(async () => {
    cluster = await Cluster.start(['ada'])
    dir = join(cluster.dir, 'ws')
    plainWrapper = await writeRemapWrapper(cluster.dir)
    await writeFiles(dir, files)
  })
  after(() => cluster.close())

  /** From nothing; `made`: what lies in the directories of the profile, by name, and what it holds. */
  async function build(
    env: NodeJS.ProcessEnv,
    options: { plain?: true } = {},
  ): Promise<{ units: UnitRow[]; made: Map<string, Buffer> }> {
    const node = cluster.node('ada')
    await rm(join(dir, 'target'), { recursive: true, force: true })
    const all = { ...(await node.cargoEnv()), ...env }
    const args = ['build', '--offline', '--all-targets']
    const { ran, units } = options.plain
      ? { ran: await capture('cargo', args, { cwd: dir, env: { ...all, RUSTC_WRAPPER: plainWrapper } }), units: [] }
      : await settled(node, 'cargo', args, { cwd: dir, env: all })
    assert.equal(ran.code, 0, ran.stderr)
    const made = new Map<string, Buffer>()
    const entries = await readdir(join(dir, 'target/debug'), { recursive: true, withFileTypes: true })
    for (const entry of entries) {
      const path = join(entry.parentPath, entry.name)
      const counts = entry.isFile() && /\/(deps|build)\//.test(path) && !/\/(\.|invoked|root-output)/.test(path)
      if (counts) made.set(path.slice(dir.length), await readFile(path))
    }
    return { units, made }
  }

  for (const value of ['packed', 'unpacked']) {
    test(`split-debuginfo = ${value}: rustc runs as cargo asks, and the report says why`, async () => {
      const env = { CARGO_PROFILE_DEV_SPLIT_DEBUGINFO: value }
      const plain = await build(env, { plain: true })
      const kind = value === 'packed' ? /\/app-[0-9a-f]+\.dwp$/ : /\/app-[0-9a-f]+\..*\.dwo$/
      assert.ok([...plain.made.keys()].some((name) => kind.test(name)))
      for (const _ of [1, 2]) {
        const { units, made } = await build(env)
        assert.deepEqual([...made.keys()].sort(), [...plain.made.keys()].sort())
        const different = [...plain.made].filter(([name, bytes]) => !made.get(name)?.equals(bytes))
        assert.deepEqual(
          different.map(([name]) => name),
          [],
        )
        const own = units.filter(({ crate }) => crate === 'app' || crate === 'library')
        assert.ok(own.length >= 4)
        for (const { crate, outcome, reason } of own) {
          assert.deepEqual([outcome, reason], ['passed-through', 'split-debuginfo'], crate)
        }
      }
    })
  }

  test('off is no such option', async () => {
    const env = { CARGO_PROFILE_DEV_SPLIT_DEBUGINFO: 'off' }
    await build(env)
    assertAllRecalled((await build(env)).units)
  })

  test('instrument-coverage: whoever runs a macro that was instrumented writes a profile, each time', async () => {
    const profiles = join(cluster.dir, 'profiles')
    const env = { RUSTFLAGS: '-C instrument-coverage', LLVM_PROFILE_FILE: join(profiles, '%p-%m.profraw') }
    const written = async (): Promise<number> => {
      const names = await readdir(profiles)
      await rm(profiles, { recursive: true })
      return names.length
    }
    await build(env, { plain: true })
    const expected = await written()
    // The build script's own run, and rustc with the macro: once for the program, once for its tests.
    assert.equal(expected, 3)
    for (const again of [false, true]) {
      const { units } = await build(env)
      assert.equal(await written(), expected)
      for (const { crate, outcome, reason } of units) {
        if (crate === 'app') assert.deepEqual([outcome, reason], ['compiled-here', 'writes-elsewhere'], crate)
        else if (again) assert.match(outcome, /^recalled/, crate)
      }
    }
  })
})
