import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { artifacts, Cluster, capture, type UnitRow } from '../support/cluster.ts'
import { assertAllRecalled, packageManifest, writeFiles } from '../support/fixture.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { settled } from '../support/settled.ts'

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["member", "user"]\n',
  'member/Cargo.toml': packageManifest('member', 'build = "build.rs"\n'),
  'member/build.rs': `fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/made.rs"), "pub fn made() -> &'static str { file!() }").unwrap();
}
`,
  'member/src/lib.rs': `include!(concat!(env!("OUT_DIR"), "/made.rs"));
pub fn own() -> &'static str {
    let unused = 1;
    file!()
}
pub fn first<T: Copy>(all: &[T]) -> T {
    all[0]
}
`,
  'user/Cargo.toml': packageManifest('user', '[dependencies]\nmember = { path = "../member" }\n'),
  'user/src/main.rs': `fn main() {
    println!("{}\\n{}\\n{}", member::own(), member::made(), member::first(&[file!()]));
}
`,
}

interface Built {
  said: string[]
  shown: string
  units: UnitRow[]
  bytes: Map<string, Buffer>
}

describe('--remap-path-prefix among the flags of the user', () => {
  let cluster: Cluster
  let plainWrapper: string

  before(async () => {
    cluster = await Cluster.start(['ada'])
    plainWrapper = await writeRemapWrapper(cluster.dir)
    for (const name of ['one', 'two']) await writeFiles(join(cluster.dir, name, 'ws'), files)
  })
  after(() => cluster.close())

  /** From nothing. */
  async function build(dir: string, flags: string, plain = false): Promise<Built> {
    const node = cluster.node('ada')
    await rm(join(dir, 'target'), { recursive: true, force: true })
    const env = { ...(await node.cargoEnv()), RUSTFLAGS: flags }
    const args = ['build', '--offline']
    const { ran, units } = plain
      ? { ran: await capture('cargo', args, { cwd: dir, env: { ...env, RUSTC_WRAPPER: plainWrapper } }), units: [] }
      : await settled(node, 'cargo', args, { cwd: dir, env })
    assert.equal(ran.code, 0, ran.stderr)
    const said = (await capture(join(dir, 'target/debug/user'), [])).stdout.trim().split('\n')
    const shown = ran.stderr.replace(/^ +(Finished|Blocking) .*\n/gm, '')
    return { said, shown, units, bytes: await artifacts(join(dir, 'target')) }
  }

  const different = (one: Built, other: Built): string[] =>
    [...one.bytes].filter(([name, bytes]) => !other.bytes.get(name)?.equals(bytes)).map(([name]) => name)

  /** Here as without Shoal, compiled and recalled; then in the other place. */
  async function everywhere(flagsAt: (dir: string) => string): Promise<{ first: Built; second: Built }> {
    const [one, two] = ['one', 'two'].map((name) => join(cluster.dir, name, 'ws'))
    assert.ok(one !== undefined && two !== undefined)
    const results: Built[] = []
    for (const dir of [one, two]) {
      const plain = await build(dir, flagsAt(dir), true)
      const built = await build(dir, flagsAt(dir))
      const again = await build(dir, flagsAt(dir))
      assertAllRecalled(again.units)
      for (const each of [built, again]) {
        assert.deepEqual(each.said, plain.said)
        assert.equal(each.shown, plain.shown)
        assert.deepEqual(different(plain, each), [])
      }
      results.push(built)
    }
    const [first, second] = results
    assert.ok(first !== undefined && second !== undefined)
    return { first, second }
  }

  test('wins, and is the same compile wherever the workspace lies', async () => {
    const { first, second } = await everywhere(
      (dir) => `--remap-path-prefix=${dir}=/src --remap-path-prefix src=source`,
    )
    assertAllRecalled(second.units)
    assert.match(first.said[1] ?? '', /^\/src\/target\/debug\/build\/member-[0-9a-f]+\/out\/made\.rs$/)
  })

  test('of a directory around the workspace is not mistaken for another one', async () => {
    const { first, second } = await everywhere((dir) => `--remap-path-prefix=${dirname(dir)}=/up`)
    assert.match(first.said[1] ?? '', /^\/up\/ws\/target\//)
    for (const { crate, outcome } of second.units) assert.doesNotMatch(outcome, /^recalled/, crate)
    const { second: fixed } = await everywhere(() => `--remap-path-prefix=${join(cluster.dir, 'one')}=/up`)
    assert.match(fixed.said[1] ?? '', /^\/cargo\/build-dir\/member-/)
  })

  test('of another directory, and of one that is written in an unusual way', async () => {
    await everywhere(() => '--remap-path-prefix=/opt/some=where')
    const dir = join(cluster.dir, 'one', 'ws')
    const odd = await build(dir, `--remap-path-prefix=${dir}/../ws=/odd`)
    const plain = await build(dir, `--remap-path-prefix=${dir}/../ws=/odd`, true)
    assert.deepEqual(odd.said, plain.said)
    for (const { outcome, reason } of odd.units) assert.deepEqual([outcome, reason], ['passed-through', 'unusual-path'])
  })
})
