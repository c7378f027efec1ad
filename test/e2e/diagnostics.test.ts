import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { type Files, packageManifest, writeFiles } from '../support/fixture.ts'
import { type Settled, settled } from '../support/settled.ts'

/** @param quoted a directory that two sources spell, wherever they lie themselves */
const files = (quoted: string): Files => ({
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["*-crate"]\n',
  'quoting-crate/Cargo.toml': packageManifest('quoting-crate'),
  'quoting-crate/src/lib.rs': `pub fn quoting() {\n    let unused = "${quoted}/file";\n}\n`,
  // What the registry is called in outputs: as text it stays what it is.
  'calling-crate/Cargo.toml': packageManifest('calling-crate'),
  'calling-crate/src/lib.rs': 'pub fn calling() {\n    let unused = "/cargo/registry/src/x";\n}\n',
  'naming-crate/Cargo.toml': packageManifest('naming-crate', 'build = "build.rs"\n'),
  'naming-crate/build.rs': `fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR").unwrap());
    std::fs::write(out.join("made.rs"), "pub fn made() { let generated = 1; }").unwrap();
}
`,
  'naming-crate/src/lib.rs': `include!(concat!(env!("OUT_DIR"), "/made.rs"));
pub fn naming() {
    let plain = 1;
}
`,
})

describe('what rustc says, in another checkout', () => {
  let cluster: Cluster
  let node: TestNode
  let first: string
  let second: string

  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    first = join(cluster.dir, 'first')
    second = join(cluster.dir, 'second')
    for (const dir of [first, second]) await writeFiles(dir, files(first))
  })
  after(() => cluster.close())

  async function build(dir: string): Promise<Settled> {
    await rm(join(dir, 'target'), { recursive: true, force: true })
    const built = await settled(node, 'cargo', ['build', '--offline'], { cwd: dir, env: await node.cargoEnv() })
    assert.equal(built.ran.code, 0, built.ran.stderr)
    return built
  }

  /** Every diagnostic that plain cargo shows there; units end in any order. */
  async function plain(dir: string): Promise<string[]> {
    await rm(join(dir, 'target'), { recursive: true, force: true })
    const env = { ...process.env, CARGO_INCREMENTAL: '0', CARGO_TERM_COLOR: 'never' }
    const ran = await capture('cargo', ['build', '--offline'], { cwd: dir, env })
    assert.equal(ran.code, 0, ran.stderr)
    return shown(ran.stderr)
  }

  const shown = (stderr: string): string[] =>
    stderr.split(/\n\n/).flatMap((block) => /(?:^|\n)(warning: unused.*)$/s.exec(block)?.[1] ?? [])

  test('is what plain cargo shows there, also when a source spells the directory of the first one', async () => {
    const expected = { first: (await plain(first)).toSorted(), second: (await plain(second)).toSorted() }
    assert.equal(expected.second.length, 4)
    assert.ok(expected.second.some((text) => text.includes(`"${first}/file"`)))
    assert.deepEqual(shown((await build(first)).ran.stderr).toSorted(), expected.first)
    const { ran, units } = await build(second)
    assert.deepEqual(shown(ran.stderr).toSorted(), expected.second)
    const outcome = (crate: string): string | undefined => units.find((unit) => unit.crate === crate)?.outcome
    assert.equal(outcome('naming_crate'), 'recalled-here')
    assert.equal(outcome('calling_crate'), 'recalled-here')
    // Who knows what the path in its source stands for? It holds for the first directory only.
    assert.equal(outcome('quoting_crate'), 'compiled-here')
    const again = await build(first)
    assert.deepEqual(shown(again.ran.stderr).toSorted(), expected.first)
    assert.deepEqual(
      again.units.map((unit) => unit.outcome),
      again.units.map(() => 'recalled-here'),
    )
  })
})
