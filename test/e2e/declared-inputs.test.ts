import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, type TestNode, type UnitRow } from '../support/cluster.ts'
import { type Files, packageManifest, writeFiles } from '../support/fixture.ts'
import { settled } from '../support/settled.ts'

const declaring = (...inputs: string[]): string =>
  packageManifest('words', `[package.metadata.shoal]\ninputs = ${JSON.stringify(inputs)}\n`)

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["words"]\n',
  'words/Cargo.toml': packageManifest('words'),
  'words/src/lib.rs': `pub const MOTTO: &str = include_str!("../../motto.txt");
pub const LIST: &str = include_str!("../../lists/one.txt");
`,
  'motto.txt': 'one',
  'lists/one.txt': 'one',
  'schema.txt': 'one',
} satisfies Files

describe('without an observer, what a package declares as its inputs', () => {
  let cluster: Cluster
  let node: TestNode
  let dir: string

  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    await rm(join(node.home, 'state/bin/libshoal-observer.so'))
    dir = join(cluster.dir, 'ws')
  })
  after(() => cluster.close())

  /** What became of the library, built from nothing with these files in place of those above. */
  async function outcome(changed: Partial<Record<keyof typeof files, string | null>> = {}): Promise<string> {
    await writeFiles(dir, { ...files, ...changed })
    await rm(join(dir, 'target'), { recursive: true, force: true })
    const { ran, units } = await settled(node, 'cargo', ['build', '--offline'], {
      cwd: dir,
      env: await node.cargoEnv(),
    })
    assert.equal(ran.code, 0, ran.stderr)
    const [unit] = units.filter(({ crate }): boolean => crate === 'words') as [UnitRow]
    return `${unit.outcome} ${unit.reason}`.trim()
  }

  test('nothing: a file beside the package keeps it from being kept', async () => {
    assert.equal(await outcome(), 'compiled-here source-outside-package')
    assert.equal(
      await outcome({ 'words/Cargo.toml': declaring('../motto.txt') }),
      'compiled-here source-outside-package',
    )
  })

  test('files and directories: it is kept, and holds as long as they are the same', async () => {
    const manifest = { 'words/Cargo.toml': declaring('../motto.txt', '../lists', '../schema.txt', '../none.txt') }
    assert.equal(await outcome(manifest), 'compiled-here')
    assert.equal(await outcome(manifest), 'recalled-here')
    for (const name of ['motto.txt', 'lists/one.txt', 'schema.txt'] as const) {
      assert.equal(await outcome({ ...manifest, [name]: 'two' }), 'compiled-here', name)
      assert.equal(await outcome(manifest), 'recalled-here', name)
    }
    assert.equal(await outcome({ ...manifest, 'schema.txt': null }), 'compiled-here')
    await writeFiles(dir, { 'none.txt': 'there' })
    assert.equal(await outcome(manifest), 'compiled-here')
    await writeFiles(dir, { 'none.txt': null })
    assert.equal(await outcome(manifest), 'recalled-here')
  })

  test('something else than a list of paths: it is not kept', async () => {
    assert.equal(await outcome({ 'words/Cargo.toml': declaring('/etc/hostname') }), 'compiled-here unobserved')
  })
})
