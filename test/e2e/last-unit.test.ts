import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, lastReport, type TestNode } from '../support/cluster.ts'
import { type Files, packageManifest, writeFiles } from '../support/fixture.ts'

const libraries = ['one', 'two', 'three', 'four']
const needs = libraries.map((name) => `${name} = { path = "../${name}" }\n`).join('')
/** Libraries, and the program that all ends with. */
const workspace: Files = {
  'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ${JSON.stringify([...libraries, 'app'])}\n`,
  ...Object.fromEntries(
    libraries.flatMap((name) => [
      [`${name}/Cargo.toml`, packageManifest(name)],
      [`${name}/src/lib.rs`, `pub fn said(n: u32) -> String { format!("${name} {n:?}") }\n`],
    ]),
  ),
  'app/Cargo.toml': packageManifest('app', `[dependencies]\n${needs}`),
  'app/src/main.rs': `fn main() { println!("{}", [${libraries.map((name) => `${name}::said(1)`)}].join(", ")) }\n`,
}

describe('what a build leaves when everything goes with its end', () => {
  let cluster: Cluster
  let node: TestNode
  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
  })
  after(() => cluster.close())

  async function written(name: string): Promise<string> {
    const dir = join(cluster.dir, name)
    await writeFiles(dir, workspace)
    return dir
  }

  async function build(dir: string): Promise<void> {
    const ran = await node.cargo(dir, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
  }

  /** Units that were compiled although they had been before. */
  async function lost(dir: string): Promise<string[]> {
    await rm(join(dir, 'target'), { recursive: true, force: true })
    await build(dir)
    const { units } = await lastReport(node)
    assert.equal(units.length, libraries.length + 1)
    return units.filter(({ outcome }) => outcome !== 'recalled-here').map(({ crate, reason }) => `${crate} ${reason}`)
  }

  test('the target directory, at once', async () => {
    for (let round = 0; round < 2; round++) {
      const dir = await written(`gone-${round}`)
      await node.stop()
      await rm(join(node.home, 'cache'), { recursive: true, force: true })
      await node.start()
      await build(dir)
      assert.deepEqual(await lost(dir), [])
    }
  })

  test('the node, told to stop at once', async () => {
    const dir = await written('stopped')
    await node.stop()
    await rm(join(node.home, 'cache'), { recursive: true, force: true })
    await node.start()
    await build(dir)
    await node.stop()
    await node.start()
    assert.deepEqual(await lost(dir), [])
  })
})
