import assert from 'node:assert/strict'
import { cp, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type UnitRow } from '../support/cluster.ts'
import { assertAllRecalled, Fixture, packageManifest, readSaid, writeFiles } from '../support/fixture.ts'

const beside = {
  'Cargo.toml': packageManifest('beside', 'build = "build.rs"\n'),
  'build.rs': `fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    std::fs::write(format!("{}/made.rs", std::env::var("OUT_DIR").unwrap()), "pub const MADE: u8 = 3;").unwrap();
}
`,
  'text.txt': 'text',
  'src/lib.rs': `include!(concat!(env!("OUT_DIR"), "/made.rs"));
pub fn text() -> &'static str {
    include_str!("../text.txt")
}
pub fn file() -> &'static str {
    file!()
}
`,
}
const files = {
  'Cargo.toml': packageManifest('app', '[dependencies]\nbeside = { path = "../beside" }\n'),
  'src/main.rs': `fn main() {
    println!("text={}\\nmade={}\\nfile={}", beside::text(), beside::MADE, beside::file());
}
`,
}

describe('a path dependency outside of the workspace', () => {
  let cluster: Cluster

  before(async () => {
    cluster = await Cluster.start(['ada'])
  })
  after(() => cluster.close())

  async function place(name: string): Promise<Fixture> {
    const dir = join(cluster.dir, name)
    await writeFiles(join(dir, 'beside'), beside)
    const state = { files, env: {}, args: ['build', '--offline'] }
    const fixture = new Fixture(cluster.node('ada'), join(dir, 'ws'), state, async (at) =>
      readSaid((await capture(join(at, 'target/debug/app'), [])).stdout),
    )
    await writeFiles(fixture.dir, files)
    return fixture
  }
  const outcomes = (units: UnitRow[]): string[] => units.map(({ crate, outcome }) => `${crate} ${outcome}`).sort()
  const allCompiled = ['app compiled-here', 'beside compiled-here', 'build_script_build compiled-here']

  test('is recalled where it was, after an edit and back, and is another package elsewhere', async () => {
    const first = await place('first')
    await first.prepare()
    assert.deepEqual(first.said, { text: 'text', made: '3', file: '/cargo/deps/beside-0.1.0/src/lib.rs' })
    assertAllRecalled((await first.succeed(first.base)).units)

    await writeFiles(join(first.dir, '../beside'), { 'text.txt': 'changed' })
    const changed = await first.succeed(first.base)
    assert.equal((await first.listen({}, changed.ran)).text, 'changed')
    await writeFiles(join(first.dir, '../beside'), { 'text.txt': 'text' })
    const back = await first.succeed(first.base)
    assert.deepEqual(await first.listen({}, back.ran), first.said)
    assertAllRecalled(back.units)

    // cargo's name for it has the directory in it.
    const second = await place('second')
    const { ran, units } = await second.succeed(second.base)
    assert.deepEqual(await second.listen({}, ran), first.said)
    assert.deepEqual(outcomes(units), allCompiled)
    assertAllRecalled((await second.succeed(second.base)).units)
  })

  test('may lie behind a symbolic link', async () => {
    const linked = await place('linked')
    await mkdir(join(cluster.dir, 'far'))
    await cp(join(linked.dir, '../beside'), join(cluster.dir, 'far/beside'), { recursive: true })
    await symlink(join(cluster.dir, 'far'), join(linked.dir, '../way'))
    const through = files['Cargo.toml'].replace('../beside', '../way/beside')
    await writeFiles(linked.dir, { 'Cargo.toml': through })
    const { ran, units } = await linked.succeed(linked.base)
    const said = { text: 'text', made: '3', file: '/cargo/deps/beside-0.1.0/src/lib.rs' }
    assert.deepEqual(await linked.listen({}, ran), said)
    assert.deepEqual(outcomes(units), allCompiled)
    const again = await linked.succeed(linked.base)
    assert.deepEqual(await linked.listen({}, again.ran), said)
    assertAllRecalled(again.units)
    await writeFiles(join(cluster.dir, 'far/beside'), { 'text.txt': 'far' })
    const changed = await linked.succeed(linked.base)
    assert.equal((await linked.listen({}, changed.ran)).text, 'far')
  })
})
