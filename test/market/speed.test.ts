import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { frame } from '../../src/market/frames.ts'
import { timing } from '../../src/market/limits.ts'
import { BuilderBench, busyBuilder, idOf } from './bench.ts'

/** A builder with one slot, free again, to whom these lenders are known. */
function freeBuilder(...lenders: string[]): BuilderBench {
  const bench = busyBuilder()
  for (const peer of lenders) bench.known(peer)
  bench.release()
  bench.clear()
  return bench
}

const long = { expectedMs: 2000, bytes: 100_000 }

describe('a slot here that is free', () => {
  it('is left by a long unit when a lender that is fast enough has one', () => {
    const bench = freeBuilder('ana')
    bench.offer('ana', { speedPermille: 2000 })
    const effects = bench.submit(1, long)
    assert.deepEqual(bench.of('here', effects), [])
    assert.equal(bench.of('waiting', effects).length, 1)
    assert.equal(bench.award('ana').epoch, 1)
    assert.deepEqual([bench.builder.away, bench.builder.here], [1, 0])
  })

  it('is taken when lenders are hardly faster, when the unit is short, and when it may not leave', () => {
    const bench = freeBuilder('ana')
    bench.offer('ana', { speedPermille: 1080 })
    assert.equal(bench.of('here', bench.submit(1, long))[0]?.reason, 'slot-free')
    bench.release(1)
    bench.offer('ana', { speedPermille: 2000 })
    assert.equal(bench.of('here', bench.submit(2, { ...long, expectedMs: 50 }))[0]?.reason, 'slot-free')
    bench.release(2)
    assert.equal(bench.of('here', bench.submit(3, { ...long, mayGoAway: false }))[0]?.reason, 'must-stay')
  })

  it('is taken by the units that the fast ones have no slot for', () => {
    const bench = freeBuilder('ana')
    bench.offer('ana', { speedPermille: 2000, free: 1 })
    bench.submit(1, long)
    const effects = bench.submit(2, long)
    assert.deepEqual(
      bench.of('here', effects).map(({ id }) => id),
      [idOf(2)],
    )
  })

  it('is taken at once when the fast one has none after all, and soon when it does not answer', () => {
    const bench = freeBuilder('ana')
    bench.offer('ana', { speedPermille: 2000, free: 1 })
    bench.submit(1, long)
    const [reserve] = bench.sent('reserve')
    assert.ok(reserve)
    const declined = bench.receive('ana', frame('decline', { reservation: reserve.reservation, reason: 'busy' }))
    assert.equal(bench.of('here', declined)[0]?.id, idOf(1))
    bench.release(1)
    bench.offer('ana', { speedPermille: 2000, free: 1 })
    bench.submit(2, long)
    assert.equal(bench.of('here', bench.pass(timing.bidWaitLeast + timing.look))[0]?.id, idOf(2))
  })

  it('is taken when the fast one is one of whom nothing is known', () => {
    const bench = new BuilderBench(1)
    bench.offer('ana', { speedPermille: 4000 })
    assert.equal(bench.of('here', bench.submit(1, long)).length, 1)
  })
})

describe('lenders', () => {
  it('are asked the rather the faster they are', () => {
    const counts = new Map<string, number>()
    for (let round = 0; round < 40; round++) {
      const bench = busyBuilder(round)
      for (const peer of ['ana', 'bob', 'eve']) bench.known(peer)
      for (const [peer, speedPermille] of [
        ['ana', 1500],
        ['bob', 1000],
        ['eve', 900],
      ] as const) {
        bench.offer(peer, { speedPermille })
      }
      bench.submit(1, long)
      const [first] = bench.sent('reserve')
      counts.set(first?.to ?? '', (counts.get(first?.to ?? '') ?? 0) + 1)
    }
    assert.ok((counts.get('ana') ?? 0) > 20, JSON.stringify([...counts]))
  })

  it('that are much slower are not asked while a slot here is sooner', () => {
    const bench = busyBuilder()
    bench.known('ana')
    bench.offer('ana', { speedPermille: 400 })
    bench.submit(1, long)
    assert.deepEqual(bench.sent('reserve'), [])
  })

  it('that say nothing, or more than is possible, are believed no more than that', () => {
    for (const [speedPermille, speed] of [
      [0, 1],
      [1, 0.25],
      [4_000_000, 4],
    ] as const) {
      const bench = new BuilderBench(1)
      bench.offer('ana', { speedPermille })
      assert.equal(bench.builder.offer('ana', bench.now)?.speed, speed)
    }
  })
})
