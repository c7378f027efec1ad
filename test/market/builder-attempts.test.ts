import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { frame } from '../../src/market/frames.ts'
import { timing } from '../../src/market/limits.ts'
import { Outcome, Phase } from '../../src/wire/generated/market_pb.ts'
import { busyBuilder as busy, idOf, taskBytes } from './bench.ts'

describe('a lease', () => {
  it('is renewed by progress and lost after two seconds of silence', () => {
    const bench = busy()
    const { task, epoch } = bench.away('ana')
    bench.pass(1900)
    bench.receive('ana', frame('progress', { task, epoch, phase: Phase.RUNNING }))
    assert.equal(bench.of('returned', bench.pass(1999)).length, 0)
    const effects = bench.pass(1)
    assert.equal(bench.of('returned', effects)[0]?.why, 'lease')
    assert.equal(bench.sent('cancel', effects)[0]?.to, 'ana')
  })

  it('is not lost because this process stood still', () => {
    const bench = busy()
    const { task, epoch } = bench.away('ana')
    assert.equal(bench.of('returned', bench.standStill(60_000)).length, 0)
    bench.receive('ana', frame('progress', { task, epoch, phase: Phase.RUNNING }))
    assert.equal(bench.of('returned', bench.standStill(60_000)).length, 0)
    assert.equal(bench.builder.away, 1)
  })

  it('is lost even if this process stands still again and again', () => {
    const bench = busy()
    bench.away('ana')
    bench.standStill(3000)
    assert.equal(bench.of('returned', bench.standStill(3000)).length, 1)
  })

  it('is watched again after a timer that fired too early', () => {
    const bench = busy()
    bench.away('ana')
    const early = bench.tell({ kind: 'tick' })
    assert.equal(bench.of('wake', early)[0]?.at, bench.now + timing.lease)
  })

  it('once lost leaves the unit at the head of the queue, with the next epoch', () => {
    const bench = busy()
    const first = bench.away('ana', 1, { rank: 1 })
    bench.submit(2, { rank: 99 })
    bench.pass(timing.lease)
    bench.offer('bob')
    const second = bench.award('bob')
    assert.deepEqual(second.task, first.task)
    assert.equal(second.epoch, 2)
  })

  it('once lost makes late frames of the old epoch meaningless', () => {
    const bench = busy()
    const first = bench.away('ana')
    bench.pass(timing.lease)
    bench.offer('bob')
    const second = bench.award('bob')
    assert.equal(bench.of('away', bench.done('ana', first)).length, 0)
    assert.equal(bench.of('away', bench.done('bob', { ...second, epoch: 1 })).length, 0)
    assert.equal(bench.of('away', bench.done('ana', second)).length, 0)
    assert.equal(bench.of('away', bench.done('bob', second)).length, 1)
    assert.equal(bench.of('away', bench.done('bob', second)).length, 0)
  })

  it('ends after five minutes however lively the lender is', () => {
    const bench = busy()
    const { task, epoch } = bench.away('ana')
    for (let beat = 0; beat < 600; beat++) {
      bench.pass(499)
      bench.receive('ana', frame('progress', { task, epoch, phase: Phase.RUNNING }))
    }
    const effects = bench.pass(1000)
    assert.equal(bench.of('returned', effects)[0]?.why, 'deadline')
    assert.equal(bench.of('here', bench.release())[0]?.reason, 'came-back')
  })

  it('does not exist for progress about something else: that is cancelled', () => {
    const bench = busy()
    bench.offer('ana')
    const effects = bench.receive('ana', frame('progress', { task: taskBytes(77), epoch: 3, phase: Phase.RUNNING }))
    const [cancel] = bench.sent('cancel', effects)
    assert.deepEqual([cancel?.task, cancel?.epoch], [taskBytes(77), 3])
  })
})

describe('a unit that comes back', () => {
  it('stays here after it lost two lenders', () => {
    const bench = busy()
    bench.away('ana')
    bench.tell({ kind: 'peer', peer: 'ana', state: 'lost' })
    bench.offer('bob')
    bench.award('bob')
    bench.pass(timing.lease)
    bench.offer('eve')
    assert.equal(bench.sent('reserve').length, 0)
    assert.equal(bench.of('here', bench.release())[0]?.reason, 'came-back')
  })

  it('stays here after three attempts, even if every lender took its leave', () => {
    const bench = busy()
    bench.submit(1)
    for (const peer of ['ana', 'bob', 'eve']) {
      bench.offer(peer)
      bench.award(peer)
      bench.receive(peer, frame('goodbye', {}))
    }
    bench.offer('dan')
    assert.equal(bench.sent('reserve').length, 0)
    assert.equal(bench.builder.waiting, 1)
  })

  it('does not return to the lender that gave it up', () => {
    const bench = busy()
    const { task, epoch } = bench.away('ana')
    bench.receive('ana', frame('progress', { task, epoch, phase: Phase.RUNNING }))
    bench.receive('ana', frame('cancelled', { task, epoch }))
    bench.offer('ana')
    assert.equal(bench.sent('reserve').length, 0)
  })

  it('may return to a lender whose owner was quicker than the award', () => {
    const bench = busy()
    const { task, epoch } = bench.away('ana')
    bench.receive('ana', frame('cancelled', { task, epoch }))
    bench.offer('ana')
    const second = bench.award('ana')
    assert.deepEqual([second.task, second.epoch], [task, 2])
  })

  it('was never sent: the award of a suspect peer of which nothing was heard is taken back', () => {
    const bench = busy()
    bench.known('ana')
    bench.away('ana', 1)
    const heard = bench.away('ana', 2)
    bench.receive('ana', frame('progress', { task: heard.task, epoch: heard.epoch, phase: Phase.RUNNING }))
    const effects = bench.tell({ kind: 'peer', peer: 'ana', state: 'suspect' })
    assert.deepEqual(
      bench.of('returned', effects).map(({ id, why }) => [id, why]),
      [[idOf(1), 'unsent']],
    )
    assert.equal(bench.builder.away, 1)
  })

  for (const [outcome, why] of [
    [Outcome.FAILED, 'failed'],
    [Outcome.REFUSED, 'refused'],
    [Outcome.UNUSABLE, 'unusable'],
    [Outcome.ERROR, 'error'],
    [Outcome.UNSPECIFIED, 'error'],
  ] as const) {
    it(`with outcome ${outcome} (${why}) is compiled here`, () => {
      const bench = busy()
      const award = bench.away('ana')
      assert.equal(bench.of('returned', bench.done('ana', award, outcome))[0]?.why, why)
      bench.offer('bob')
      assert.equal(bench.sent('reserve').length, 0)
      assert.equal(bench.of('here', bench.release())[0]?.reason, 'came-back')
    })
  }

  it('with OK but without a result, or with a result or a trace that is too large, is compiled here', () => {
    for (const [size, traceSize] of [
      [0, 0],
      [(4 << 20) + 1, 0],
      [1, (1 << 19) + 1],
    ] as const) {
      const bench = busy()
      const { task, epoch } = bench.away('ana')
      const [result, trace] = [new Uint8Array(size), new Uint8Array(traceSize)]
      const body = frame('done', { task, epoch, outcome: Outcome.OK, result, trace })
      assert.equal(bench.of('returned', bench.receive('ana', body))[0]?.why, 'error')
    }
  })
})

describe('a lender that misbehaves', () => {
  it('is not asked again in a build in which it refused a unit, but in another one', () => {
    const bench = busy()
    const award = bench.away('ana')
    bench.done('ana', award, Outcome.REFUSED)
    bench.clear()
    bench.submit(2)
    assert.equal(bench.sent('reserve').length, 0)
    const another = new Uint8Array(16).fill(2)
    bench.tell({ kind: 'building', build: another, active: true })
    bench.submit(3, { build: another })
    assert.equal(bench.sent('reserve').length, 1)
  })

  it('pauses for 5 s after three errors in 30 s, then for 10 s, and is asked again afterwards', () => {
    const bench = busy()
    bench.offer('ana')
    const fail = (first: number): void => {
      for (let unit = first; unit < first + 3; unit++) bench.done('ana', bench.away('ana', unit), Outcome.ERROR)
      bench.clear()
    }
    fail(1)
    bench.submit(10)
    bench.pass(4999)
    bench.offer('ana')
    assert.equal(bench.sent('reserve').length, 0)
    bench.pass(1)
    bench.award('ana')
    bench.receive('ana', frame('goodbye', {}))
    fail(20)
    bench.submit(11)
    bench.pass(9999)
    bench.offer('ana')
    assert.equal(bench.sent('reserve').length, 0)
    bench.pass(1)
    assert.equal(bench.sent('reserve').length, 1)
  })

  it('does not pause for three errors in more than 30 s, nor when a success lies between', () => {
    const bench = busy()
    bench.done('ana', bench.away('ana', 1), Outcome.ERROR)
    bench.done('ana', bench.away('ana', 2), Outcome.ERROR)
    bench.pass(30_001)
    bench.done('ana', bench.away('ana', 3), Outcome.ERROR)
    bench.done('ana', bench.away('ana', 4), Outcome.ERROR)
    bench.done('ana', bench.away('ana', 5), Outcome.OK)
    bench.done('ana', bench.away('ana', 6), Outcome.ERROR)
    bench.done('ana', bench.away('ana', 7), Outcome.ERROR)
    assert.equal(bench.away('ana', 8).epoch, 1)
  })

  it('pauses when what it delivered turned out to be unusable three times', () => {
    const bench = busy()
    bench.offer('ana')
    for (let count = 0; count < 3; count++) bench.tell({ kind: 'fault', peer: 'ana' })
    bench.submit(1)
    assert.equal(bench.sent('reserve').length, 0)
  })
})
