import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { UnitGraph } from '../../src/market/unit-graph.ts'

describe('UnitGraph', () => {
  /** `base` ← `long`, `short`; `app` links all three. */
  const office = (): UnitGraph => {
    const graph = new UnitGraph()
    graph.asked('base', [], false)
    graph.asked('short', ['base'], false)
    graph.asked('long', ['base'], false)
    graph.asked('app', ['base', 'short', 'long'], true)
    for (const [name, ms] of Object.entries({ base: 100, short: 10, long: 1000, app: 400 })) graph.took(name, ms)
    return graph
  }

  test('ranks by the longest chain that waits: half a compile for its metadata, the whole for a linker', () => {
    const graph = office()
    assert.equal(graph.rank('app', 0), 400)
    assert.equal(graph.rank('long', 0), 1400)
    assert.equal(graph.rank('short', 0), 410)
    assert.equal(graph.rank('base', 0), 1450)
    assert.equal(graph.rank('unknown', 0), undefined)
  })

  test('goes by what was asked for last, and says whether that is news', () => {
    const graph = office()
    assert.equal(graph.asked('app', ['base', 'short', 'long'], true), false)
    assert.equal(graph.asked('app', ['base', 'short'], true), true)
    assert.equal(graph.rank('long', 0), 1000)
    assert.equal(graph.rank('base', 0), 1050)
  })

  test('follows what compiles take, the latest most, and takes a guess where none was seen', () => {
    const graph = office()
    graph.took('app', 1400)
    assert.equal(graph.ms('app'), 700)
    assert.equal(graph.rank('long', 0), 1700)
    graph.asked('docs', ['app'], true)
    assert.equal(graph.rank('app', 50), 750)
    graph.took('nobody asked for it', 5)
    assert.equal(graph.ms('nobody asked for it'), undefined)
  })

  test('forgets what was not asked for longest', () => {
    const graph = new UnitGraph(2)
    graph.asked('a', [], false)
    graph.asked('b', ['a'], false)
    graph.asked('a', [], false)
    graph.asked('c', ['a'], false)
    assert.deepEqual(
      [...graph].map(([name]) => name),
      ['a', 'c'],
    )
  })

  test('ends whatever waits for whatever', () => {
    const names = fc.constantFrom('a', 'b', 'c', 'd', 'e')
    fc.assert(
      fc.property(fc.array(fc.tuple(names, fc.array(names), fc.boolean(), fc.nat(100))), (units) => {
        const graph = new UnitGraph()
        for (const [name, needs, links, ms] of units) {
          graph.asked(name, needs, links)
          graph.took(name, ms)
        }
        for (const [name] of graph) {
          const rank = graph.rank(name, 7)
          assert.ok(rank !== undefined && rank >= (graph.ms(name) ?? 7) && rank <= 500)
        }
      }),
    )
  })
})
