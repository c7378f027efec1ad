import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { lends } from '../bench/machines.ts'
import { whileBusy, writeFiles } from '../support/busy.ts'
import { Cluster, lastReport, type TestNode } from '../support/cluster.ts'
import { until } from '../support/until.ts'

const budget = 200 * 1024 * 1024

interface SharingRow {
  sharing: {
    results: number
    placed: { results: number; bytes: number; maxBytes: number }
    placing: { waiting: number; placed: number; placedBytes: number }
  }
}

const sharingOf = async (node: TestNode): Promise<SharingRow['sharing']> =>
  (await node.ask<SharingRow>('status')).sharing

async function placedEverything(node: TestNode): Promise<SharingRow['sharing']> {
  for (let tries = 0; tries < 600; tries++) {
    const sharing = await sharingOf(node)
    if (sharing.placing.placed > 0 && sharing.placing.waiting === 0) return sharing
    await delay(200)
  }
  throw new Error(`never placed: ${JSON.stringify(await sharingOf(node))}\n${node.log}`)
}

describe('a node that is switched off takes nothing with it', () => {
  let cluster: Cluster
  const names = ['ada', 'ben', 'cleo', 'dan', 'eve']

  before(async () => {
    // Nobody lends: whatever is found later was placed.
    cluster = await Cluster.start(names, () => `[lend]\nslots = 0\n[cache]\nplaced-max-bytes = ${budget}\n`)
  })
  after(() => cluster.close())

  test('what one built is recalled by another when the builder is gone', async (t) => {
    const ada = cluster.node('ada')
    const built = await ada.cargo(await cluster.checkout('offline', 'first'), 'build', '--offline')
    assert.equal(built.code, 0, built.stderr)
    await lastReport(ada)
    const from = Date.now()
    const { placing, results } = await placedEverything(ada)
    t.diagnostic(`${results} results, ${placing.placed} copies, ${placing.placedBytes} bytes, ${Date.now() - from} ms`)
    await ada.stop()

    let kept = 0
    for (const name of names.slice(1)) {
      const { placed } = await sharingOf(cluster.node(name))
      assert.equal(placed.maxBytes, budget)
      assert.ok(placed.bytes <= budget, `${name} keeps ${placed.bytes} bytes`)
      kept += placed.results
    }
    assert.equal(kept, placing.placed)

    const eve = cluster.node('eve')
    const again = await eve.cargo(await cluster.checkout('offline', 'second'), 'build', '--offline')
    assert.equal(again.code, 0, again.stderr)
    const { units } = await lastReport(eve)
    const recalled = units.filter(({ outcome }) => outcome === 'recalled-mesh' || outcome === 'recalled-here')
    t.diagnostic(`${recalled.length} of ${units.length} units recalled`)
    assert.ok(recalled.length >= 0.9 * units.length, JSON.stringify(units.filter((unit) => !recalled.includes(unit))))
  })
})

describe('a build is not kept waiting by what others are given to keep', () => {
  let cluster: Cluster
  const lenders = (): TestNode[] => ['ben', 'cleo'].map((name) => cluster.node(name))

  before(async () => {
    const lend = (name: string): string => (name === 'ada' ? '[lend]\nslots = 0\n' : '[lend]\nyield = false\n')
    cluster = await Cluster.start(['ada', 'ben', 'cleo'], lend)
  })
  after(() => cluster.close())

  test('lenders place what they made once the build has ended, and not in its pauses', async (t) => {
    const ada = cluster.node('ada')
    const crates = Array.from({ length: 6 }, (_, at) => `made${at}`)
    const dir = join(cluster.dir, 'work')
    await writeFiles(dir, { 'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ${JSON.stringify(crates)}\n` })
    for (const name of crates) {
      const manifest = `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n`
      await writeFiles(dir, {
        [`${name}/Cargo.toml`]: manifest,
        [`${name}/src/lib.rs`]: `pub fn name() -> &'static str { "${name}" }\n`,
      })
    }
    const placing = async (): Promise<SharingRow['sharing']['placing'][]> =>
      await Promise.all(lenders().map(async (node) => (await sharingOf(node)).placing))
    for (const node of lenders()) await lends(node)
    await whileBusy(ada, join(cluster.dir, 'busy'), 2, async () => {
      const built = await ada.cargo(dir, 'build', '--offline', '-j6')
      assert.equal(built.code, 0, built.stderr)
      const { units } = await lastReport(ada)
      assert.deepEqual(new Set(units.map(({ outcome }) => outcome)), new Set(['compiled-mesh']))
      // Two seconds of rest are enough when nobody builds.
      await delay(6000)
      const during = await placing()
      assert.ok(
        during.every(({ placed }) => placed === 0),
        JSON.stringify(during),
      )
      assert.ok(
        during.some(({ waiting }) => waiting > 0),
        JSON.stringify(during),
      )
    })
    await until('what lenders made is placed', async () => {
      const now = await placing()
      return now.every(({ waiting }) => waiting === 0) && now.some(({ placed }) => placed > 0)
    })
    t.diagnostic(JSON.stringify(await placing()))
  })
})
