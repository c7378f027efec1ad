import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { frame } from '../../src/market/frames.ts'
import { timing } from '../../src/market/limits.ts'
import { Phase } from '../../src/wire/generated/market_pb.ts'
import { BuilderBench, idOf } from './bench.ts'

/** One free slot here, and lenders that have shown before how busily they work, with the speeds that they say. */
function between(...lenders: [peer: string, speedPermille: number][]): BuilderBench {
  const bench = new BuilderBench(1)
  bench.occupy(1)
  for (const [at, [peer, speedPermille]] of lenders.entries()) {
    const award = bench.away(peer, at + 1)
    bench.now += 1000
    const { task, epoch } = award
    bench.receive(peer, frame('progress', { task, epoch, phase: Phase.RUNNING, cpuMs: 950 }))
    bench.done(peer, award)
    bench.offer(peer, { speedPermille, free: 0 })
  }
  bench.release()
  for (const [peer, speedPermille] of lenders) bench.offer(peer, { speedPermille })
  bench.clear()
  return bench
}

describe('a slot here that is free', () => {
  it('is left alone for a lender that is much faster', () => {
    const bench = between(['fast', 2000])
    const effects = bench.submit(9)
    assert.deepEqual(bench.of('here', effects), [])
    assert.equal(bench.award('fast').epoch, 1)
    assert.equal(bench.builder.here, 0)
  })

  it('is taken all the same when no bid has come 30 ms later', () => {
    const bench = between(['fast', 2000])
    bench.submit(9)
    assert.deepEqual(bench.of('here', bench.pass(29)), [])
    const effects = bench.pass(1)
    assert.deepEqual(
      bench.of('here', effects).map(({ reason }) => reason),
      ['slot-first'],
    )
    assert.equal(bench.sent('gone', effects).length, 1)
  })

  it('is left alone as long again, once, by a process that stood still: the bid may have come', () => {
    const bench = between(['fast', 2000])
    bench.submit(9)
    assert.deepEqual(bench.of('here', bench.standStill(timing.left + 2 * timing.stall)), [])
    assert.equal(bench.of('here', bench.standStill(timing.left + 2 * timing.stall)).length, 1)
  })

  for (const [why, speed, change] of [
    ['a lender is hardly faster', 1250, {}],
    ['the unit is so short that sending it takes longer', 2000, { expectedMs: 50 }],
    ['the unit may not go away', 2000, { mayGoAway: false }],
    ['the faster lender has nothing free', 0, {}],
  ] as const) {
    it(`is taken at once when ${why}`, () => {
      const bench = between(['other', speed || 2000])
      if (speed === 0) bench.offer('other', { speedPermille: 2000, free: 0 })
      assert.equal(bench.of('here', bench.submit(9, change)).length, 1)
    })
  }

  it('is taken at once when the faster lender was found busy with other things', () => {
    const bench = between(['fast', 2000])
    // What keeps the slot here takes as long as expected: that this machine, too, is busy with other things does not excuse it.
    bench.submit(0xff00, { mayGoAway: false, expectedMs: 1500 })
    // Of a processor it had a tenth.
    const award = bench.away('fast', 5)
    bench.now += 1500
    const { task, epoch } = award
    bench.receive('fast', frame('progress', { task, epoch, phase: Phase.RUNNING, cpuMs: 150 }))
    bench.done('fast', award)
    bench.release()
    bench.offer('fast', { speedPermille: 2000 })
    assert.equal(bench.of('here', bench.submit(9)).length, 1)
  })

  it('is left alone where compiles here get much less of a processor than at a lender', () => {
    const reasons = (cpuMs: number): string[] => {
      const bench = between(['usual', 1000])
      bench.submit(0xff01, { mayGoAway: false })
      bench.pass(1000)
      // Half of it is the node's own work.
      bench.tell({ kind: 'released', id: idOf(0xff01), cpuMs })
      bench.offer('usual')
      return bench.of('here', bench.submit(9)).map(({ reason }) => reason)
    }
    assert.deepEqual(reasons(900), ['slot-free'])
    assert.deepEqual(reasons(400), [])
  })

  it('is left alone by as many waiting units as there are better slots, and taken by the next', () => {
    const bench = between(['fast', 2000])
    bench.occupy(1)
    for (const unit of [9, 10, 11]) bench.submit(unit)
    bench.clear()
    bench.offer('fast', { speedPermille: 2000, free: 2, total: 2 })
    const effects = bench.release()
    assert.deepEqual(
      bench.of('here', effects).map(({ id }) => id),
      [idOf(11)],
    )
  })

  it('is taken at once by a machine that is as fast itself', () => {
    const speeds = { speed: 1 }
    const bench = between(['fast', 2000])
    speeds.speed = 2
    assert.equal(bench.of('here', bench.submit(9)).length, 0)
    const own = new BuilderBench(1, undefined, () => speeds.speed)
    own.offer('fast', { speedPermille: 2000 })
    assert.equal(own.of('here', own.submit(9)).length, 1)
  })
})

describe('among lenders with a free slot', () => {
  it('the faster ones are asked first, and a claim beyond all reason counts as four', () => {
    const asked = new Map<string, number>()
    for (let seed = 0; seed < 60; seed++) {
      const bench = between(['boasts', 4_000_000_000], ['four', 4000], ['usual', 1000])
      bench.occupy(1)
      // Seeds differ in who is asked.
      for (let skip = 0; skip < seed % 20; skip++) bench.submit(100 + skip, { mayGoAway: false })
      bench.submit(9)
      for (const { to } of bench.sent('reserve')) asked.set(to, (asked.get(to) ?? 0) + 1)
    }
    assert.equal(asked.get('usual'), undefined)
    assert.ok((asked.get('four') ?? 0) >= 60 && (asked.get('boasts') ?? 0) >= 60)
  })
})
