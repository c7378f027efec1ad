import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, lastReport, type TestNode } from '../support/cluster.ts'

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
