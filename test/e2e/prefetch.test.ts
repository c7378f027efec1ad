import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, lastReport, type TestNode } from '../support/cluster.ts'
import { settled } from '../support/settled.ts'

interface SharingRow {
  sharing: { prefetched: { results: number; bytes: number }; fetches: { awaited: number; ready: number } }
}

const sharingOf = async (node: TestNode): Promise<SharingRow['sharing']> =>
  (await node.ask<SharingRow>('status')).sharing

describe('what a build will ask for is there before it asks', () => {
  let cluster: Cluster

  before(async () => {
    // Nobody lends and nobody keeps anything for others: all that comes is fetched by who needs it.
    cluster = await Cluster.start(['ada', 'ben', 'cleo'], () => '[lend]\nslots = 0\n[cache]\nplaced-max-bytes = 0\n')
  })
  after(() => cluster.close())

  /** Until the build is over for the node: then it is remembered. */
  async function build(name: string, dir: string): Promise<SharingRow['sharing']> {
    const node = cluster.node(name)
    const env = await node.cargoEnv()
    const { ran } = await settled(node, 'cargo', ['build', '--offline'], { cwd: dir, env })
    assert.equal(ran.code, 0, ran.stderr)
    return await sharingOf(node)
  }

  test('a member that built with the same lock file says what will be asked for', async (t) => {
    const built = await build('ada', await cluster.checkout('offline', 'first'))
    assert.deepEqual(built.fetches, { awaited: 0, ready: 0 })

    const other = await cluster.checkout('offline', 'other')
    await mkdir(join(other, 'crates/extra/src'), { recursive: true })
    await writeFile(join(other, 'crates/extra/src/lib.rs'), '')
    await writeFile(join(other, 'crates/extra/Cargo.toml'), '[package]\nname = "extra"\nedition = "2024"\n')
    const without = await build('ben', other)
    assert.equal(without.prefetched.results, 0)
    assert.ok(without.fetches.awaited > 0)

    const within = await build('cleo', await cluster.checkout('offline', 'second'))
    t.diagnostic(`awaited without: ${without.fetches.awaited}, with: ${within.fetches.awaited}`)
    assert.ok(within.prefetched.results > 0)
    assert.ok(within.fetches.awaited < without.fetches.awaited, JSON.stringify({ without, within }))
    const { units } = await lastReport(cluster.node('cleo'))
    assert.ok(
      units.every(({ outcome }) => outcome === 'recalled-mesh'),
      JSON.stringify(units),
    )
  })
})
