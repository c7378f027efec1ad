import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { frame, type MarketBody } from '../../src/market/frames.ts'
import { type MarketEvent, Participant } from '../../src/market/participant.ts'
import { build, busyBuilder, idOf, LenderBench, terms } from './bench.ts'

const announce = frame('building', { build, active: true })

describe('a machine that goes to sleep', () => {
  const sleeper = () => {
    const sent: { peer: string; body: MarketBody }[] = []
    const events: MarketEvent[] = []
    const participant = new Participant(
      {
        clock: systemClock,
        random: () => 0,
        terms: () => terms,
        handle: (event) => events.push(event),
        send: (peer, body) => sent.push({ peer, body }) > 0,
      },
      { slots: 1, lendSlots: 1 },
    )
    participant.connect('ana')
    participant.connect('bob')
    const kinds = (): string[] => sent.splice(0).map(({ peer, body }) => `${peer} ${body.case}`)
    return { participant, events, kinds }
  }

  it('says goodbye once, to everybody, and hears nothing until it is awake', () => {
    const { participant, kinds } = sleeper()
    participant.receive('ana', announce)
    assert.deepEqual(kinds(), ['ana offer'])
    participant.leave()
    participant.leave()
    assert.deepEqual(kinds(), ['ana goodbye', 'bob goodbye'])
    participant.receive('ana', announce)
    assert.deepEqual(kinds(), [])
    participant.comeBack()
    participant.receive('ana', announce)
    assert.deepEqual(kinds(), ['ana offer'])
  })

  it('tells of its builds when it is awake again', () => {
    const { participant, kinds } = sleeper()
    participant.tell({ kind: 'building', build, active: true })
    kinds()
    participant.leave()
    kinds()
    participant.comeBack()
    assert.deepEqual(kinds(), ['ana building', 'bob building'])
    participant.comeBack()
    assert.deepEqual(kinds(), [])
  })

  it('that stops for good says so again, and stays away', () => {
    const { participant, kinds } = sleeper()
    participant.leave()
    participant.stop()
    kinds()
    participant.comeBack()
    participant.receive('ana', announce)
    assert.deepEqual(kinds(), [])
  })

  it('has what was away wait again at once, and nobody is cancelled who is told anyway', () => {
    const bench = busyBuilder()
    bench.away('ana')
    const effects = bench.tell({ kind: 'leave' })
    assert.deepEqual(
      bench.of('returned', effects).map(({ why }) => why),
      ['goodbye'],
    )
    assert.deepEqual([bench.sent('cancel', effects), bench.builder.away, bench.builder.waiting], [[], 0, 1])
    assert.equal(bench.of('here', bench.release())[0]?.id, idOf(1))
  })

  it('kills its guests, and takes none until it is awake', () => {
    const bench = new LenderBench(2)
    bench.connect('ana')
    bench.receive('ana', announce)
    const guest = bench.guest('ana', 1)
    assert.deepEqual(
      bench.of('kill', bench.tell({ kind: 'leave' })).map((effect) => effect.guest),
      [guest],
    )
    bench.clear()
    bench.finish(guest)
    assert.equal(bench.sent('done').length + bench.sent('cancelled').length, 0)
    bench.reserve('ana', 2)
    assert.equal(bench.sent('decline')[0]?.reason, 'closed')
    bench.tell({ kind: 'return' })
    bench.reserve('ana', 3)
    assert.equal(bench.sent('bid').length, 1)
  })
})

describe('whoever has lent more than it borrowed', () => {
  /** Whose turns it is on one slot that two builders always want. */
  const turns = (count: number, prepare: (bench: LenderBench) => void): Record<string, number> => {
    const bench = new LenderBench(1)
    bench.connect('ana', 'bob')
    prepare(bench)
    let guest = bench.guest('bob', 1000)
    let reservation = 0
    const served: Record<string, number> = { ana: 0, bob: 1 }
    for (let turn = 1; turn < count; turn++) {
      for (const peer of ['ana', 'bob']) bench.reserve(peer, ++reservation)
      bench.clear()
      const [bid] = bench.sent('bid', bench.finish(guest))
      assert.ok(bid)
      served[bid.to] = (served[bid.to] ?? 0) + 1
      guest = bench.of('run', bench.award(bid.to, Number(bid.reservation)))[0]?.guest ?? ''
      for (const peer of ['ana', 'bob']) {
        for (let old = 1; old <= reservation; old++) bench.receive(peer, frame('gone', { reservation: BigInt(old) }))
      }
    }
    return served
  }

  it('has two turns where another has one, and never more', () => {
    const lentMuch = (bench: LenderBench): LenderBench => {
      for (let hour = 0; hour < 50; hour++) bench.tell({ kind: 'borrowed', peer: 'ana', ms: 3_600_000 })
      return bench
    }
    assert.deepEqual(turns(30, lentMuch), { ana: 20, bob: 10 })
    assert.deepEqual(
      turns(30, () => {}),
      { ana: 15, bob: 15 },
    )
  })

  it('and of that half is forgotten in a day', () => {
    const longAgo = (bench: LenderBench): void => {
      bench.tell({ kind: 'borrowed', peer: 'ana', ms: 600_000 })
      bench.now += 20 * 86_400_000
    }
    assert.deepEqual(turns(30, longAgo), { ana: 15, bob: 15 })
  })

  it('counts nothing beside how much it runs there now', () => {
    const bench = new LenderBench(2)
    bench.connect('ana', 'bob')
    bench.tell({ kind: 'borrowed', peer: 'ana', ms: 36_000_000 })
    const [first] = [bench.guest('ana', 1), bench.guest('ana', 2)]
    bench.reserve('ana', 3)
    bench.reserve('bob', 1)
    bench.clear()
    assert.equal(bench.sent('bid', bench.finish(first ?? ''))[0]?.to, 'bob')
  })
})
