import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { frame } from '../../src/market/frames.ts'
import { timing } from '../../src/market/limits.ts'
import { Outcome, Phase } from '../../src/wire/generated/market_pb.ts'
import { type Award, BuilderBench, busyBuilder, idOf, taskBytes } from './bench.ts'

describe('a lender that is alive', () => {
  it('and does nothing has its unit made by another within 2.5 s; the first result counts', () => {
    const bench = busyBuilder()
    const award = bench.away('ana', 1)
    bench.beat('ana', award, [0, 0, 0, 0])
    bench.offer('bob')
    const second = bench.award('bob')
    assert.deepEqual([second.task, second.epoch], [taskBytes(1), 2])
    assert.equal(bench.builder.waiting, 0)
    const effects = bench.done('bob', second)
    assert.deepEqual(
      bench.of('away', effects).map(({ id, peer }) => [id, peer]),
      [[idOf(1), 'bob']],
    )
    assert.deepEqual(
      bench.sent('cancel', effects).map(({ to, epoch }) => [to, epoch]),
      [['ana', 1]],
    )
    assert.equal(bench.builder.away, 0)
    // What the first one says now is about nothing.
    assert.deepEqual(bench.of('away', bench.done('ana', award)), [])
  })

  it('and says that it has worked for ever has not used up what second attempts may cost', () => {
    const bench = busyBuilder()
    const award = bench.away('ana', 1)
    bench.beat('ana', award, [4e9, 4e9, 4e9, 4e9])
    bench.offer('bob')
    bench.done('bob', bench.award('bob'))
    // What is late by now has another one, too.
    const next = bench.away('ana', 2)
    bench.beat('ana', next, [0, 0, 0, 0])
    bench.offer('cleo')
    assert.deepEqual(bench.award('cleo').task, taskBytes(2))
  })

  it('and does nothing loses its unit to a slot here', () => {
    const bench = busyBuilder()
    const award = bench.away('ana', 1)
    bench.beat('ana', award, [0, 0, 0, 0])
    const effects = bench.release()
    assert.deepEqual(
      bench.of('here', effects).map(({ id, reason }) => [id, reason]),
      [[idOf(1), 'taken-back']],
    )
    assert.deepEqual(
      bench.sent('cancel', effects).map(({ to }) => to),
      ['ana'],
    )
  })

  it('and slowed to a tenth is not asked again at once', () => {
    const bench = busyBuilder()
    const award = bench.away('ana', 1, { expectedMs: 4000 })
    bench.beat('ana', award, [50, 100, 150, 200])
    assert.equal(bench.builder.waiting, 1)
    bench.clear()
    bench.submit(2, { expectedMs: 3000 })
    bench.offer('ana')
    assert.deepEqual(bench.sent('reserve'), [])
  })

  it('and slowed to a tenth is left alone for two seconds, however long the queue here is, and longer each time', () => {
    const bench = busyBuilder()
    const slow = [50, 100, 150, 200]
    let award = bench.away('ana', 1, { expectedMs: 4000 })
    for (let unit = 2; unit < 30; unit++) bench.submit(unit, { expectedMs: 3000 })
    const waits: number[] = []
    for (let times = 0; times < 6; times++) {
      bench.beat('ana', award, slow)
      // A slot here has it now.
      bench.done('ana', award, Outcome.ERROR)
      bench.clear()
      const since = bench.now
      while (bench.sent('reserve').length === 0 && bench.now - since < 60_000) {
        bench.pass(100)
        bench.offer('ana')
      }
      waits.push(Math.round((bench.now - since) / 1000))
      award = bench.award('ana')
    }
    assert.deepEqual(waits, [2, 4, 8, 16, 16, 16])
  })

  /** Found slow with unit 1, which is compiled here meanwhile; of units 2 and 3, which wait, it has the last since then. */
  const onTrial = (): { bench: BuilderBench; award: Award } => {
    const bench = busyBuilder()
    bench.beat('ana', bench.away('ana', 1, { expectedMs: 4000 }), [50, 100, 150, 200])
    bench.release()
    bench.pass(timing.slow)
    bench.submit(2, { rank: 9 })
    bench.submit(3, { rank: 5 })
    bench.offer('ana')
    const award = bench.award('ana')
    assert.deepEqual(award.task, taskBytes(3))
    assert.deepEqual([bench.builder.waiting, bench.builder.away], [2, 1])
    return { bench, award }
  }

  it('is no reason for cargo to start more units meanwhile', () => {
    const bench = new BuilderBench(2)
    bench.occupy(1)
    const told = (unit: number): number => {
      const effects = bench.submit(unit, { expectedMs: 4000 })
      bench.release(unit)
      bench.tell({ kind: 'released', id: idOf(unit) })
      return bench.of('waiting', effects).length
    }
    bench.offer('ana')
    assert.equal(told(1), 1)
    bench.submit(2, { expectedMs: 4000, mayGoAway: false })
    bench.beat('ana', bench.away('ana', 3, { expectedMs: 4000 }), [50, 100, 150, 200])
    bench.release()
    bench.release(2)
    bench.offer('ana')
    assert.equal(told(4), 0)
    bench.pass(timing.slow)
    bench.offer('ana')
    assert.equal(told(5), 1)
  })

  it('gets one unit then, which a slot here takes in its turn', () => {
    const { bench, award } = onTrial()
    bench.offer('ana')
    assert.deepEqual(bench.sent('reserve'), [])
    // What it has ready early would have to be waited for.
    const rmeta = { name: 'x.rmeta', cid: new Uint8Array(36), size: 10n }
    const { task, epoch } = award
    bench.receive('ana', frame('progress', { task, epoch, phase: Phase.METADATA, rmeta }))
    assert.deepEqual(bench.of('metadata'), [])
    const here = [bench.release(1), bench.release(2)].flatMap((effects) => bench.of('here', effects))
    assert.deepEqual(
      here.map(({ id, reason }) => [id, reason]),
      [
        [idOf(2), 'slot-first'],
        [idOf(3), 'taken-back'],
      ],
    )
    assert.deepEqual(
      bench.sent('cancel').map(({ to }) => to),
      ['ana'],
    )
  })

  it('keeps that unit, and gets others, as soon as it works again', () => {
    const { bench, award } = onTrial()
    bench.beat('ana', award, [450, 950, 1450, 1950])
    assert.deepEqual([bench.builder.waiting, bench.builder.away], [1, 1])
    bench.clear()
    bench.offer('ana')
    assert.deepEqual(bench.award('ana').task, taskBytes(2))
    assert.equal(bench.builder.waiting, 0)
  })

  it('gets others as well when it has made that unit in time', () => {
    const { bench, award } = onTrial()
    bench.pass(300)
    assert.equal(bench.of('away', bench.done('ana', award)).length, 1)
    bench.tell({ kind: 'settled', id: idOf(3) })
    bench.submit(4)
    bench.submit(5)
    bench.offer('ana')
    assert.equal(bench.sent('reserve').length, 3)
  })

  it('and was slow is asked at once for a unit that has lost its lender', () => {
    const bench = busyBuilder()
    bench.beat('ana', bench.away('ana', 1, { expectedMs: 4000 }), [50, 100, 150, 200])
    bench.release()
    const { task } = bench.away('bob', 2)
    bench.offer('ana')
    bench.submit(3)
    bench.offer('bob', { free: 0 })
    assert.deepEqual(
      bench.sent('reserve').filter(({ to }) => to === 'ana'),
      [],
    )
    bench.clear()
    bench.receive('bob', frame('goodbye', {}))
    assert.deepEqual(bench.award('ana').task, task)
    assert.deepEqual([bench.builder.waiting, bench.builder.away], [2, 1])
  })

  /** `bob` shows a whole processor, `ana` less than half of one; what waits here is left to the slot here then. */
  const half = (): { bench: BuilderBench; bob: Award } => {
    const bench = busyBuilder()
    const bob = bench.away('bob', 1, { expectedMs: 4000 })
    bench.beat('bob', bob, [450, 950, 1450])
    const award = bench.away('ana', 2, { expectedMs: 4000 })
    bench.beat('ana', award, [210, 430, 650])
    bench.done('ana', award)
    bench.tell({ kind: 'settled', id: idOf(2) })
    bench.clear()
    return { bench, bob }
  }
  const askedAna = (bench: BuilderBench): number => bench.sent('reserve').filter(({ to }) => to === 'ana').length

  it('and gave little of a processor is tried again ten seconds later, with a unit that goes on waiting here', () => {
    const { bench, bob } = half()
    bench.done('bob', bob)
    bench.submit(3, { expectedMs: 4000 })
    bench.pass(8000)
    bench.offer('ana')
    assert.equal(askedAna(bench), 0)
    bench.pass(2000)
    bench.offer('ana')
    const award = bench.award('ana')
    assert.deepEqual([award.task, bench.builder.waiting], [taskBytes(3), 1])
    // What it showed then counts no more.
    bench.beat('ana', award, [480, 980])
    assert.equal(bench.builder.waiting, 0)
  })

  it('and gave little of a processor just now is asked at once for a unit that has lost its lender', () => {
    const { bench } = half()
    bench.offer('ana')
    bench.receive('bob', frame('goodbye', {}))
    assert.deepEqual(bench.award('ana').task, taskBytes(1))
    assert.equal(bench.builder.waiting, 1)
  })

  it('and was slow is tried again with a unit whose lender is slow now, and keeps it if it works', () => {
    const bench = busyBuilder()
    bench.beat('ana', bench.away('ana', 1, { expectedMs: 4000 }), [50, 100, 150, 200])
    bench.release()
    const first = bench.away('bob', 2, { expectedMs: 4000 })
    bench.beat('bob', first, [50, 100, 150, 200])
    assert.deepEqual([bench.builder.waiting, bench.builder.away], [1, 1])
    bench.pass(500)
    bench.offer('ana')
    const second = bench.award('ana')
    assert.deepEqual([second.task, bench.builder.waiting], [first.task, 1])
    bench.offer('cleo')
    assert.deepEqual(
      bench.sent('reserve').map(({ to }) => to),
      [],
    )
    bench.beat('ana', second, [480, 980, 1480, 1980])
    assert.deepEqual([bench.builder.waiting, bench.builder.away], [0, 1])
  })

  it('and slowed to a tenth is slow where compiles here get a whole processor, and usual where they get a tenth themselves', () => {
    const asked = (cpuMs: number): number => {
      const bench = busyBuilder()
      // Twenty times as long as was guessed, either way.
      bench.submit(1, { expectedMs: 100, mayGoAway: false })
      bench.release()
      bench.pass(2000)
      bench.tell({ kind: 'released', id: idOf(1), cpuMs })
      bench.submit(2, { expectedMs: 9000, mayGoAway: false })
      bench.beat('ana', bench.away('ana', 3, { expectedMs: 4000 }), [50, 100, 150, 200])
      bench.clear()
      bench.submit(4, { expectedMs: 3000 })
      bench.offer('ana')
      return bench.sent('reserve').length
    }
    assert.deepEqual([asked(2000), asked(200)], [0, 1])
  })

  it('and takes several times as long as it should for its first unit, however short, gets one more before others', () => {
    const offered = { expectedMs: 50, bytes: 1000 }
    const second = (tookMs: number): number => {
      const bench = busyBuilder()
      const award = bench.away('ana', 1, offered)
      bench.pass(tookMs)
      bench.done('ana', award)
      bench.tell({ kind: 'moved', peer: 'ana', bytes: 1000, ms: 0 })
      bench.clear()
      bench.offer('ana')
      for (const unit of [2, 3, 4]) bench.submit(unit, offered)
      return bench.sent('reserve').length
    }
    assert.deepEqual([second(100), second(450)], [3, 1])
  })

  it('and works keeps its unit, though that takes twice as long as expected', () => {
    const bench = busyBuilder()
    const award = bench.away('ana', 1, { expectedMs: 1500 })
    bench.beat('ana', award, [450, 950, 1450, 1950, 2450, 2950])
    bench.offer('bob')
    assert.equal(bench.builder.waiting, 0)
    assert.deepEqual(bench.of('here', bench.release()), [])
  })

  it('and has told of metadata does not lose its unit to a slot here, only to another lender', () => {
    const bench = busyBuilder()
    const award = bench.away('ana', 1)
    const { task, epoch } = award
    const rmeta = { name: 'x.rmeta', cid: new Uint8Array(36), size: 10n }
    bench.receive('ana', frame('progress', { task, epoch, phase: Phase.METADATA, rmeta }))
    bench.beat('ana', award, [0, 0, 0, 0, 0])
    assert.deepEqual(bench.of('here', bench.release()), [])
    bench.clear()
    bench.offer('bob')
    assert.equal(bench.builder.waiting, 1)
    assert.equal(bench.sent('reserve')[0]?.to, 'bob')
  })
})

describe('a lender that waits for inputs', () => {
  const waits = (bench: BuilderBench, { task, epoch }: Award, bytes: readonly bigint[]): void => {
    for (const fetchedBytes of bytes) {
      bench.pass(timing.heartbeat)
      bench.receive('ana', frame('progress', { task, epoch, phase: Phase.FETCHING, cpuMs: 0, fetchedBytes }))
    }
  }
  const coming = [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n, 10n]
  const still = coming.map(() => 1n)

  it('keeps its unit as long as they come', () => {
    const bench = busyBuilder()
    waits(bench, bench.away('ana', 1), coming)
    assert.equal(bench.builder.waiting, 0)
  })

  it('and has them is given the time of a compile from then on', () => {
    const bench = busyBuilder()
    const award = bench.away('ana', 1)
    waits(bench, award, coming)
    bench.beat('ana', award, [0, 0])
    assert.equal(bench.builder.waiting, 0)
    bench.beat('ana', award, [0])
    assert.equal(bench.builder.waiting, 1)
  })

  it('and gets none has its unit made by another', () => {
    const bench = busyBuilder()
    waits(bench, bench.away('ana', 1), still)
    assert.equal(bench.builder.waiting, 1)
  })

  it('loses its unit to a slot here where that would be sooner', () => {
    const bench = busyBuilder()
    const award = bench.away('ana', 1)
    bench.tell({ kind: 'moved', peer: 'ana', bytes: 1 << 20, ms: 60_000 })
    bench.release()
    waits(bench, award, coming.slice(0, 3))
    assert.deepEqual(
      bench.of('here').map(({ id, reason }) => [id, reason]),
      [[idOf(1), 'taken-back']],
    )
  })
})
