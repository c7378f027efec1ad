import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { frame } from '../../src/market/frames.ts'
import { Outcome } from '../../src/wire/generated/market_pb.ts'
import { busyBuilder, idOf, taskBytes } from './bench.ts'

describe('second attempts', () => {
  it('cost a share of processor time, not of time', () => {
    const second = (cpuMs: number): number => {
      const bench = busyBuilder()
      // Ten minutes here, of which the processor was had for so long.
      bench.submit(1, { expectedMs: 1000, mayGoAway: false })
      bench.release()
      bench.pass(600_000)
      bench.tell({ kind: 'released', id: idOf(1), cpuMs })
      bench.submit(2, { expectedMs: 1000, mayGoAway: false })
      // One that another lender was quicker with has spent more than may be spent before anything is known.
      const first = bench.away('ana', 3, { expectedMs: 1000 })
      bench.beat('ana', first, [100, 200, 300, 400, 2600, 2700, 2800, 2900, 3000, 3100])
      bench.offer('bob')
      const other = bench.award('bob')
      bench.done('bob', other)
      bench.beat('bob', bench.away('bob', 4), [0, 0, 0, 0, 0])
      return bench.builder.waiting
    }
    assert.deepEqual([second(600_000), second(6000)], [1, 0])
  })
})

describe('a link', () => {
  it('over which a result would come later than from here: the unit is compiled here', () => {
    const bench = busyBuilder()
    const { task, epoch } = bench.away('ana', 1)
    bench.tell({ kind: 'moved', peer: 'ana', bytes: 1 << 20, ms: 8000 })
    const result = new Uint8Array([7])
    const effects = bench.receive('ana', frame('done', { task, epoch, outcome: 1, result, outputBytes: 5_000_000n }))
    assert.deepEqual(bench.of('away', effects), [])
    assert.deepEqual(
      bench.of('returned', effects).map(({ why }) => why),
      ['far'],
    )
    assert.equal(bench.of('here', bench.release()).length, 1)
  })

  it('that carries a mebibyte in eight seconds is used for nothing that takes a second', () => {
    const bench = busyBuilder()
    bench.known('ana')
    bench.tell({ kind: 'moved', peer: 'ana', bytes: 1 << 20, ms: 8000 })
    bench.offer('ana')
    bench.submit(1)
    assert.deepEqual(bench.sent('reserve'), [])
    // And for what is all computing.
    bench.submit(2, { expectedMs: 60_000, bytes: 1000 })
    assert.deepEqual(
      bench.sent('reserve').map(({ to }) => to),
      ['ana'],
    )
  })
})

describe('a lender that nobody knows', () => {
  it('gets one unit, the last, and more when it has made it', () => {
    const bench = busyBuilder()
    bench.submit(1, { rank: 9 })
    bench.submit(2, { rank: 5 })
    bench.offer('ana')
    const first = bench.award('ana')
    assert.deepEqual(first.task, taskBytes(2))
    bench.offer('ana')
    assert.deepEqual(bench.sent('reserve'), [])
    bench.done('ana', first)
    bench.offer('ana')
    assert.deepEqual(bench.award('ana').task, taskBytes(1))
  })

  it('gets one more at once for each that is known to work, up to four; over a long link one', () => {
    const has = (known: readonly string[], answerMs: number): number => {
      const bench = busyBuilder()
      for (const peer of known) bench.known(peer)
      for (const unit of [1, 2, 3, 4, 5, 6]) bench.submit(unit, { bytes: 1000 })
      bench.tell({ kind: 'peer', peer: 'zoe', state: 'up' })
      bench.pass(answerMs)
      let effects = bench.offer('zoe', { free: 8, total: 8 })
      for (;;) {
        const [next] = bench.sent('reserve', effects)
        if (!next) return bench.builder.away
        bench.pass(answerMs)
        effects = bench.receive('zoe', frame('bid', { reservation: next.reservation }))
      }
    }
    assert.deepEqual([has([], 1), has(['ana'], 1), has(['ana', 'bob', 'cleo', 'dan'], 1)], [1, 2, 4])
    assert.equal(has(['ana', 'bob'], 60), 1)
  })

  it('and whose first results tell too little gets the next as soon as each has come, or is not wanted', () => {
    for (const wanted of [true, false]) {
      const bench = busyBuilder()
      for (const unit of [1, 2, 3]) bench.submit(unit, { expectedMs: 50, rank: unit })
      bench.offer('ana')
      for (const unit of [1, 2]) {
        const award = bench.award('ana')
        assert.deepEqual(award.task, taskBytes(unit))
        bench.pass(450)
        const { task, epoch } = award
        const result = new Uint8Array([7])
        bench.receive('ana', frame('done', { task, epoch, outcome: Outcome.OK, result, outputBytes: 5000n }))
        bench.offer('ana')
        assert.deepEqual(bench.sent('reserve'), [])
        if (wanted) bench.tell({ kind: 'moved', peer: 'ana', bytes: 5000, ms: 3 })
        else bench.tell({ kind: 'settled', id: idOf(unit) })
        assert.equal(bench.sent('reserve').length, 1)
      }
    }
  })
})
