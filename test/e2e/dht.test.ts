import assert from 'node:assert/strict'
import { mkdir, readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, lastReport, type TestNode } from '../support/cluster.ts'
import { type Files, writeFiles } from '../support/fixture.ts'
import { until } from '../support/until.ts'

// Nobody lends, and nobody keeps anything for others: only who built it has it.
const alone = '[lend]\nslots = 0\n[cache]\nplaced-max-bytes = 0\n'
const names = ['one', 'two', 'three']

/** Each crate needs the one before. */
const workspace: Files = {
  'Cargo.toml': `[workspace]\nmembers = ["${names.join('", "')}"]\nresolver = "3"\n`,
  ...Object.fromEntries(
    names.flatMap((name, index) => {
      const before = names[index - 1]
      const dependency = before === undefined ? '' : `[dependencies]\n${before} = { path = "../${before}" }\n`
      return [
        [`${name}/Cargo.toml`, `[package]\nname = "${name}"\nversion = "1.0.0"\nedition = "2024"\n${dependency}`],
        [
          `${name}/src/lib.rs`,
          `pub fn number() -> u32 {\n    ${before === undefined ? '1' : `${before}::number() + 1`}\n}\n`,
        ],
      ]
    }),
  ),
}

async function sees(node: TestNode, name: string): Promise<'connected' | 'away' | 'unknown'> {
  const { peers } = await node.ask<{ peers: { name: string; connected: boolean }[] }>('peers')
  const peer = peers.find((known) => known.name === name)
  if (peer === undefined) return 'unknown'
  return peer.connected ? 'connected' : 'away'
}

describe('whoever has it is found through the DHT', () => {
  let cluster: Cluster
  /** Crates that came from there. */
  let given: string[] = []
  before(async () => {
    cluster = await Cluster.start(['cleo'], () => alone)
  })
  after(() => cluster.close())

  /** @returns what cargo said */
  async function build(node: TestNode): Promise<string> {
    const dir = join(cluster.dir, `${node.name}-workspace`)
    if (!(await readdir(cluster.dir)).includes(basename(dir))) {
      await mkdir(dir)
      await writeFiles(dir, workspace)
    }
    const ran = await node.cargo(dir, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
    return ran.stderr
  }

  test('a result of a member that the builder is not connected to is fetched from there', async (t) => {
    const hal = await cluster.join('hal', alone, 'max-peers = 1')
    await build(hal)
    await lastReport(hal)
    // What it has at its start it announces at once.
    await hal.stop()
    await hal.start()
    type Sharing = { sharing: { announced: number; lookups: { searched: number } } }
    await until('announced', async () => (await hal.ask<Sharing>('status')).sharing.announced > 0)

    const ben = await cluster.join('ben', alone, 'max-peers = 1')
    // The DHT itself has it meet everybody; what is beyond its number is let go again.
    // More than once, for when two connections become one, it is gone for a moment.
    let away = 0
    await until('hal is away', async () => {
      away = (await sees(ben, 'hal')) === 'away' ? away + 1 : 0
      return away === 5
    })
    assert.equal(await sees(ben, 'cleo'), 'connected')
    await build(ben)
    const { units, traffic } = await lastReport(ben)
    const recalled = units.filter(({ outcome, where }) => outcome === 'recalled-mesh' && where === 'hal')
    const { lookups } = (await ben.ask<Sharing>('status')).sharing
    t.diagnostic(`${recalled.length} of ${units.length} units, ${JSON.stringify(lookups)}`)
    assert.ok(recalled.length > 0, JSON.stringify(units))
    const served = (await hal.ask<{ traffic: { servedBytes: number } }>('status')).traffic.servedBytes
    assert.ok(traffic.fetchedBytes > 0 && served >= traffic.fetchedBytes, `${traffic.fetchedBytes} of ${served}`)
    given = recalled.map(({ crate }) => crate)
  })

  test('all that a member gave can be dropped, and cargo makes it again', async () => {
    const ben = cluster.node('ben')
    await cluster.node('hal').stop()
    assert.doesNotMatch(await build(ben), /Compiling/)
    const purged = await ben.json<{ results: number; files: number }>('purge', '--by', 'hal', '--yes')
    // Of a library both the rlib and its metadata.
    assert.deepEqual([purged.results, purged.files], [given.length, 2 * given.length])
    assert.match(await build(ben), new RegExp(`Compiling ${given[0]} `))
    const { units } = await lastReport(ben)
    const outcomes = new Map(units.map(({ crate, outcome }) => [crate, outcome]))
    for (const crate of given) assert.equal(outcomes.get(crate), 'compiled-here')
    const nobody = await ben.shoal('purge', '--by', 'nobody', '--yes')
    assert.equal(nobody.code, 2, nobody.stderr)
  })
})
