import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { frame } from '../../src/market/frames.ts'
import { timing } from '../../src/market/limits.ts'
import { Outcome, Phase, Tier } from '../../src/wire/generated/market_pb.ts'
import { build, LenderBench, taskBytes, terms, toolchainBytes, workResult } from './bench.ts'

function lends(slots: number, lendSlots = slots): LenderBench {
  const bench = new LenderBench(slots, lendSlots)
  bench.connect('ana', 'bob', 'eve')
  return bench
}

const announce = frame('building', { build, active: true })

describe('offers', () => {
  it('go only to those who build, at once', () => {
    const bench = lends(2)
    bench.pass(5000)
    assert.equal(bench.sent('offer').length, 0)
    const [offer, ...more] = bench.sent('offer', bench.receive('ana', announce))
    assert.equal(more.length, 0)
    assert.deepEqual(
      [offer?.to, offer?.free, offer?.total, offer?.tier, offer?.host, offer?.ttlMs],
      ['ana', 2, 2, Tier.CONFINED, terms.host, 3000],
    )
    assert.deepEqual(offer?.toolchains, [toolchainBytes])
  })

  it('are repeated every second, and end with the build', () => {
    const bench = lends(2)
    bench.receive('ana', announce)
    assert.equal(bench.sent('offer', bench.pass(3000)).length, 3)
    bench.receive('ana', frame('building', { build, active: false }))
    assert.equal(bench.sent('offer', bench.pass(3000)).length, 0)
  })

  it('end when the build is not announced any more', () => {
    const bench = lends(2)
    bench.receive('ana', announce)
    bench.pass(timing.interest + 1000)
    assert.equal(bench.lender.audience, 0)
  })

  it('tell of a change within 50 to 100 ms, several changes at once', () => {
    const bench = lends(4)
    bench.receive('ana', announce)
    bench.pass(500)
    bench.clear()
    bench.tell({ kind: 'own', running: 1 })
    bench.pass(20)
    bench.tell({ kind: 'own', running: 3 })
    assert.equal(bench.sent('offer', bench.pass(29)).length, 0)
    const [offer, ...more] = bench.sent('offer', bench.pass(51))
    assert.equal(more.length, 0)
    assert.equal(offer?.free, 1)
  })

  it('say nothing about a change that was undone meanwhile, and come at most four times a second', () => {
    const bench = lends(4)
    bench.receive('ana', announce)
    bench.tell({ kind: 'own', running: 1 })
    bench.tell({ kind: 'own', running: 0 })
    assert.equal(bench.sent('offer', bench.pass(900)).length, 0)
    let offers = 0
    for (let change = 0; change < 100; change++) {
      bench.tell({ kind: 'own', running: change % 4 })
      offers += bench.sent('offer', bench.pass(20)).length
    }
    assert.ok(offers >= 4 && offers <= 9, `${offers} offers in 2 s`)
  })

  it('have growing sequence numbers', () => {
    const bench = lends(2)
    bench.receive('ana', announce)
    bench.receive('bob', announce)
    bench.pass(2000)
    const numbers = bench.sent('offer').map(({ seq }) => seq)
    assert.ok(numbers.length > 4 && numbers.every((seq, at) => at === 0 || seq > (numbers[at - 1] ?? 0n)))
  })

  it('offer nothing without isolation', () => {
    const bench = lends(2)
    bench.tell({ kind: 'terms', terms: { ...terms, tier: Tier.NONE } })
    const [offer] = bench.sent('offer', bench.receive('ana', announce))
    assert.deepEqual([offer?.free, offer?.total, offer?.tier], [0, 0, Tier.NONE])
    assert.equal(bench.sent('decline', bench.reserve('ana', 1))[0]?.reason, 'closed')
  })
})

describe('a reservation', () => {
  it('is answered with a bid at once while a slot is free', () => {
    const bench = lends(1)
    const [bid] = bench.sent('bid', bench.reserve('ana', 7))
    assert.deepEqual([bid?.reservation, bid?.startInMs, bid?.finishInMs], [7n, 0, 1000])
    assert.equal(bench.lender.bids, 1)
  })

  it('waits for a slot, up to twice as many as slots; beyond that it is declined', () => {
    const bench = lends(1)
    bench.guest('ana', 1)
    assert.equal(bench.reserve('ana', 2).length, 0)
    assert.equal(bench.sent('decline', bench.reserve('ana', 3)).length, 0)
    assert.equal(bench.sent('decline', bench.reserve('ana', 4))[0]?.reason, 'busy')
    assert.equal(bench.lender.queued, 2)
  })

  it('of one builder does not fill the queue for the others', () => {
    const bench = lends(2)
    bench.guest('ana', 1)
    bench.guest('ana', 2)
    for (let number = 3; number <= 6; number++) bench.reserve('ana', number)
    const effects = bench.reserve('bob', 1)
    assert.deepEqual(
      bench.sent('decline', effects).map(({ to, reservation }) => [to, reservation]),
      [['ana', 6n]],
    )
  })

  it('is declined without the toolchain', () => {
    const bench = lends(1)
    const effects = bench.reserve('ana', 1, { toolchain: new Uint8Array(32) })
    assert.equal(bench.sent('decline', effects)[0]?.reason, 'toolchain')
  })

  it('counts once, however often its frame comes', () => {
    const bench = lends(2)
    bench.reserve('ana', 1)
    bench.reserve('ana', 1)
    assert.equal(bench.lender.bids, 1)
    bench.reserve('ana', 2)
    bench.reserve('ana', 3)
    bench.reserve('ana', 3)
    assert.equal(bench.lender.queued, 1)
  })

  it('goes with GONE, with the build, with the builder, and with time', () => {
    const bench = lends(1)
    bench.guest('eve', 1)
    bench.reserve('ana', 1)
    bench.receive('ana', frame('gone', { reservation: 1n }))
    assert.equal(bench.lender.queued, 0)
    bench.reserve('ana', 2)
    bench.receive('ana', frame('building', { build, active: false }))
    assert.equal(bench.lender.queued, 0)
    bench.reserve('ana', 3)
    bench.tell({ kind: 'peer', peer: 'ana', state: 'lost' })
    assert.equal(bench.lender.queued, 0)
    bench.reserve('bob', 4)
    bench.pass(timing.reservation)
    assert.equal(bench.lender.queued, 0)
  })
})

describe('a free slot', () => {
  it('goes to the builder that runs least here, then to the one served longest ago', () => {
    const bench = lends(3)
    const first = bench.guest('ana', 1)
    const second = bench.guest('ana', 2)
    const third = bench.guest('bob', 1)
    bench.reserve('ana', 3)
    bench.reserve('bob', 2)
    bench.reserve('eve', 1)
    const next = (guest: string): string | undefined => bench.sent('bid', bench.finish(guest))[0]?.to
    assert.equal(next(third), 'eve')
    assert.equal(next(first), 'bob')
    assert.equal(next(second), 'ana')
  })

  it('takes turns between builders that run equally much', () => {
    const bench = lends(1)
    let guest = bench.guest('eve', 1)
    for (const number of [1, 2]) bench.reserve('ana', number)
    const served: string[] = []
    for (let turn = 0; turn < 4; turn++) {
      if (turn === 1) bench.reserve('bob', 1)
      if (turn === 2) bench.reserve('bob', 2)
      const [bid] = bench.sent('bid', bench.finish(guest))
      assert.ok(bid)
      served.push(bid.to)
      const [run] = bench.of('run', bench.award(bid.to, Number(bid.reservation)))
      guest = run?.guest ?? ''
    }
    assert.deepEqual(served, ['ana', 'bob', 'ana', 'bob'])
  })

  it('is free again when a bid is not answered within 500 ms, and goes to the next', () => {
    const bench = lends(1)
    bench.reserve('ana', 1)
    bench.reserve('bob', 1)
    assert.equal(bench.sent('bid', bench.pass(499)).length, 0)
    assert.equal(bench.sent('bid', bench.pass(1))[0]?.to, 'bob')
    assert.equal(bench.sent('cancelled', bench.award('ana', 1)).length, 1)
    assert.equal(bench.lender.guests, 0)
  })

  it('is watched again after a timer that fired too early', () => {
    const bench = lends(1)
    bench.reserve('ana', 1)
    const early = bench.tell({ kind: 'tick' })
    assert.equal(bench.of('wake', early)[0]?.at, bench.now + timing.bidAnswer)
  })

  it('is kept for the answer while this process stands still', () => {
    const bench = lends(1)
    bench.reserve('ana', 1)
    bench.standStill(5000)
    assert.equal(bench.of('run', bench.award('ana', 1)).length, 1)
  })

  it('is free again for the others even if this process stands still again and again', () => {
    const bench = lends(1)
    bench.reserve('ana', 1)
    bench.standStill(5000)
    bench.standStill(5000)
    assert.equal(bench.lender.bids, 0)
  })

  it('is free again when the builder that was bid to is gone', () => {
    const bench = lends(1)
    bench.reserve('ana', 1)
    bench.reserve('bob', 1)
    const effects = bench.tell({ kind: 'peer', peer: 'ana', state: 'lost' })
    assert.equal(bench.sent('bid', effects)[0]?.to, 'bob')
  })

  it('is free again with GONE', () => {
    const bench = lends(1)
    bench.reserve('ana', 1)
    bench.reserve('bob', 1)
    assert.equal(bench.sent('bid', bench.receive('ana', frame('gone', { reservation: 1n })))[0]?.to, 'bob')
  })
})

describe('the owner', () => {
  it('comes first: no guest while own units and guests fill the slots', () => {
    const bench = lends(2)
    bench.tell({ kind: 'own', running: 2 })
    bench.reserve('ana', 1)
    assert.equal(bench.lender.bids, 0)
    assert.equal(bench.sent('bid', bench.tell({ kind: 'own', running: 1 })).length, 1)
  })

  it('takes a slot back from a bid that is not awarded yet', () => {
    const bench = lends(1)
    bench.reserve('ana', 1)
    bench.tell({ kind: 'own', running: 1 })
    const effects = bench.award('ana', 1)
    assert.equal(bench.of('run', effects).length, 0)
    assert.equal(bench.sent('cancelled', effects).length, 1)
  })

  it('lends no more than lendSlots', () => {
    const bench = lends(4, 1)
    bench.guest('ana', 1)
    bench.reserve('bob', 1)
    assert.equal(bench.lender.bids, 0)
  })
})

describe('a guest', () => {
  it('sends a heartbeat every 500 ms, and its result', () => {
    const bench = lends(1)
    const guest = bench.guest('ana', 1)
    const beats = bench.sent('progress', bench.pass(2000))
    assert.equal(beats.length, 4)
    assert.deepEqual(beats[0]?.task, taskBytes(1))
    const [done] = bench.sent('done', bench.finish(guest))
    assert.deepEqual([done?.to, done?.epoch, done?.outcome, done?.wallMs], ['ana', 1, Outcome.OK, 5])
    assert.equal(bench.lender.guests, 0)
    assert.equal(bench.sent('progress', bench.pass(2000)).length, 0)
  })

  it('beats faster for a builder with a shorter lease', () => {
    const bench = lends(1)
    bench.reserve('ana', 1)
    const award = { reservation: 1n, task: taskBytes(1), epoch: 1, leaseMs: 800 }
    bench.receive('ana', frame('award', { ...award, action: new Uint8Array([1]) }))
    assert.equal(bench.sent('progress', bench.pass(1000)).length, 5)
  })

  it('passes its early metadata on with the dep-info', () => {
    const bench = lends(1)
    const guest = bench.guest('ana', 1)
    const rmeta = { name: 'liba.rmeta', cid: new Uint8Array(36), size: 9n }
    const ready = { kind: 'metadata', guest, rmeta, depInfo: new Uint8Array([3]) } as const
    const [progress] = bench.sent('progress', bench.tell({ ...ready, trace: new Uint8Array([4]) }))
    assert.deepEqual([progress?.phase, progress?.rmeta?.name], [Phase.METADATA, 'liba.rmeta'])
    assert.deepEqual([progress?.depInfo[0], progress?.trace[0]], [3, 4])
    const large = new Uint8Array(2 << 20)
    assert.equal(bench.sent('progress', bench.tell({ ...ready, depInfo: large, trace: new Uint8Array(1) })).length, 0)
    assert.equal(bench.sent('progress', bench.tell({ ...ready, depInfo: large, trace: new Uint8Array() })).length, 1)
  })

  it('starts once, however often its award comes', () => {
    const bench = lends(2)
    bench.guest('ana', 1)
    assert.equal(bench.award('ana', 1).filter(({ kind }) => kind !== 'wake').length, 0)
    assert.equal(bench.lender.guests, 1)
  })

  it('is refused without a bid, and with a malformed task', () => {
    const bench = lends(1)
    assert.equal(bench.sent('cancelled', bench.award('ana', 1)).length, 1)
    bench.reserve('ana', 2)
    const award = frame('award', { reservation: 2n, task: new Uint8Array(3), epoch: 1, leaseMs: 2000 })
    assert.equal(bench.of('run', bench.receive('ana', award)).length, 0)
    assert.equal(bench.lender.bids, 0)
  })

  it('that is cancelled is killed; CANCELLED says that it has ended, and only then its slot is free', () => {
    const bench = lends(1)
    const guest = bench.guest('ana', 1)
    bench.reserve('bob', 1)
    const effects = bench.receive('ana', frame('cancel', { task: taskBytes(1), epoch: 1 }))
    assert.equal(bench.of('kill', effects)[0]?.guest, guest)
    assert.equal(bench.sent('cancelled', effects).length, 0)
    assert.equal(bench.lender.bids, 0)
    const ended = bench.finish(guest)
    assert.equal(bench.sent('cancelled', ended).length, 1)
    assert.equal(bench.sent('done', ended).length, 0)
    assert.equal(bench.sent('bid', ended)[0]?.to, 'bob')
  })

  it('cannot be cancelled by another builder or with another epoch', () => {
    const bench = lends(1)
    bench.guest('ana', 1)
    const task = taskBytes(1)
    assert.equal(bench.of('kill', bench.receive('bob', frame('cancel', { task, epoch: 1 }))).length, 0)
    assert.equal(bench.of('kill', bench.receive('ana', frame('cancel', { task, epoch: 2 }))).length, 0)
  })

  it('that does not end after it was killed is given up after 10 s', () => {
    const bench = lends(1)
    bench.guest('ana', 1)
    bench.receive('ana', frame('cancel', { task: taskBytes(1), epoch: 1 }))
    const [ended] = bench.of('ended', bench.pass(timing.kill))
    assert.equal(ended?.overdue, true)
    assert.equal(bench.lender.guests, 0)
  })

  it('gives way to a later attempt of the same builder at the same task', () => {
    const bench = lends(2)
    const guest = bench.guest('ana', 1)
    bench.reserve('ana', 2)
    const effects = bench.award('ana', 2, 1, 2)
    assert.equal(bench.of('kill', effects)[0]?.guest, guest)
    assert.equal(bench.of('run', effects).length, 1)
  })

  for (const how of ['lost', 'goodbye'] as const) {
    it(`is killed without a word when its builder is gone (${how})`, () => {
      const bench = lends(3)
      const guests = [bench.guest('ana', 1), bench.guest('ana', 2)]
      bench.guest('bob', 1)
      const effects =
        how === 'lost'
          ? bench.tell({ kind: 'peer', peer: 'ana', state: 'lost' })
          : bench.receive('ana', frame('goodbye', {}))
      assert.deepEqual(
        bench.of('kill', effects).map(({ guest }) => guest),
        guests,
      )
      const ended = guests.flatMap((guest) => bench.finish(guest))
      assert.equal(ended.filter(({ kind }) => kind === 'send').length, 0)
      assert.equal(bench.lender.guests, 1)
    })
  }

  it('is killed when the node stops, and nothing is lent any more', () => {
    const bench = lends(2)
    const guest = bench.guest('ana', 1)
    bench.receive('ana', announce)
    assert.equal(bench.of('kill', bench.tell({ kind: 'stop' })).length, 1)
    bench.finish(guest)
    assert.equal(bench.sent('decline', bench.reserve('ana', 9))[0]?.reason, 'closed')
    bench.receive('ana', announce)
    assert.equal(bench.lender.audience, 0)
  })

  it('with a result or a trace that is too large to send ends as unusable', () => {
    const most = 4 << 20
    for (const [result, trace, usable] of [
      [most, 0, true],
      [most - 5, 5, true],
      [most + 1, 0, false],
      [most, 1, false],
      [1, 1 << 19, true],
      [1, (1 << 19) + 1, false],
    ] as const) {
      const bench = lends(1)
      const guest = bench.guest('ana', 1)
      const ended = workResult({ result: new Uint8Array(result), trace: new Uint8Array(trace) })
      const [done] = bench.sent('done', bench.tell({ kind: 'finished', guest, result: ended }))
      const outcome = usable ? [Outcome.OK, ''] : [Outcome.UNUSABLE, 'ERR_LIMIT']
      assert.deepEqual([done?.outcome, done?.code], outcome, `${result} and ${trace} bytes`)
    }
  })
})
