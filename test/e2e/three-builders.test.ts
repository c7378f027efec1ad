import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { whileBusy } from '../support/busy.ts'
import { chains } from '../support/chains.ts'
import { artifacts, Cluster, capture, lastReport, type TestNode } from '../support/cluster.ts'
import { writeFiles } from '../support/fixture.ts'
import { writeRemapWrapper } from '../support/plain.ts'

interface StatusRow {
  slots: { lent: number }
  units: { here: number; away: number; waiting: number }
}

describe('three members that build at once, on their own machines and a fourth', { timeout: 600_000 }, () => {
  let cluster: Cluster
  const names = ['ada', 'ben', 'cyd', 'dan']

  before(async () => {
    cluster = await Cluster.start(names)
  })
  after(() => cluster.close())

  const assertPlain = async (node: TestNode): Promise<void> => {
    const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
    const [plain, built] = ['plain', 'build'].map((as) => join(cluster.dir, `${node.name}-${as}`))
    const ran = await capture('cargo', ['build', '--offline'], { cwd: plain ?? '', env })
    assert.equal(ran.code, 0, ran.stderr)
    const [expected, actual] = await Promise.all([plain, built].map((dir) => artifacts(join(dir ?? '', 'target'))))
    assert.ok(expected && actual && expected.size > 0)
    assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort())
    for (const [name, bytes] of expected) assert.ok(actual.get(name)?.equals(bytes), name)
  }

  test('each gets its own, whole, and each unit from one place; nothing is left of any of them', async () => {
    const builders = names.slice(0, 3).map((name) => cluster.node(name))
    const dirOf = (name: string, as: string): string => join(cluster.dir, `${name}-${as}`)
    const buildAll = async (salt: string): Promise<void> => {
      for (const { name } of builders) {
        const files = chains({ chains: 4, length: 2, steps: 300_000, salt: `${process.pid} ${salt}`, prefix: name })
        for (const as of ['plain', 'build']) await writeFiles(dirOf(name, as), files)
      }
      const runs = await Promise.all(
        builders.map((node) => node.cargo(dirOf(node.name, 'build'), 'build', '--offline')),
      )
      for (const ran of runs) assert.equal(ran.code, 0, ran.stderr)
    }
    await buildAll('all free')
    // On a busy machine nobody may be worth asking. The second time one of them has no slot of its own.
    const ada = cluster.node('ada')
    await whileBusy(ada, dirOf('ada', 'busy'), 2, () => buildAll('one busy'))
    const { units: lent } = await lastReport(ada)
    assert.ok(lent.some(({ outcome }) => outcome === 'compiled-mesh'))
    for (const node of builders) {
      const { units, fallbacks } = await lastReport(node)
      assert.equal(units.length, 8)
      assert.deepEqual([new Set(units.map(({ crate }) => crate)).size, fallbacks], [8, 0])
      assert.deepEqual(
        units.filter(({ outcome }) => !outcome.startsWith('compiled')),
        [],
      )
      await assertPlain(node)
    }
    for (const node of cluster.nodes) {
      for (let tries = 0; ; tries++) {
        const { slots, units } = await node.ask<StatusRow>('status')
        if (slots.lent + units.here + units.away + units.waiting === 0) break
        assert.ok(tries < 600, `${node.name}: ${JSON.stringify({ slots, units })}`)
        await delay(50)
      }
    }
  })
})
