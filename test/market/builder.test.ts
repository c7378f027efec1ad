import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { frame } from '../../src/market/frames.ts'
import { timing } from '../../src/market/limits.ts'
import { Phase, Tier } from '../../src/wire/generated/market_pb.ts'
import { BuilderBench, build, busyBuilder as busy, idOf, taskBytes, toolchainBytes } from './bench.ts'

describe('a unit stays here', () => {
  it('while a slot is free, even if somebody lends', () => {
    const bench = new BuilderBench(2)
    bench.offer('ana')
    const effects = bench.submit(1)
    assert.deepEqual(
      bench.of('here', effects).map(({ reason }) => reason),
      ['slot-free'],
    )
    assert.equal(bench.sent('reserve').length, 0)
  })

  it('and keeps its jobserver token when nobody lends and a slot is free', () => {
    const bench = new BuilderBench(1)
    assert.equal(bench.of('waiting', bench.submit(1)).length, 0)
  })

  it('and gives its jobserver token back when somebody lends, or when no slot is free', () => {
    const bench = new BuilderBench(1)
    bench.offer('ana')
    assert.deepEqual(
      bench
        .submit(1)
        .map(({ kind }) => kind)
        .filter((kind) => kind !== 'wake'),
      ['waiting', 'here'],
    )
    assert.equal(bench.of('waiting', bench.submit(2, { mayGoAway: false })).length, 1)
  })

  it('when it may not go away: it waits for a slot and reserves nothing', () => {
    const bench = busy()
    bench.offer('ana')
    bench.submit(1, { mayGoAway: false })
    assert.equal(bench.builder.waiting, 1)
    assert.equal(bench.sent('reserve').length, 0)
    assert.deepEqual(bench.of('here', bench.release())[0]?.reason, 'must-stay')
  })

  it('when its action is too large for an award', () => {
    const bench = busy()
    bench.offer('ana')
    bench.submit(1, { action: new Uint8Array((1 << 20) + 1) })
    assert.equal(bench.sent('reserve').length, 0)
  })

  it('when a slot here becomes free before any bid, and then its reservations are taken back', () => {
    const bench = busy()
    bench.offer('ana')
    bench.submit(1)
    const effects = bench.release()
    assert.equal(bench.of('here', effects)[0]?.reason, 'slot-first')
    assert.equal(bench.sent('gone', effects).length, 1)
    assert.equal(bench.builder.reservations, 0)
  })

  it('the highest rank first, then the oldest', () => {
    const bench = busy()
    bench.submit(1, { rank: 5 })
    bench.submit(2, { rank: 9 })
    bench.submit(3, { rank: 9 })
    const order = [0xff00, 2, 3].map((number) => bench.of('here', bench.release(number))[0]?.id)
    assert.deepEqual(order, [idOf(2), idOf(3), idOf(1)])
  })
})

describe('reservations', () => {
  it('go to two different lenders for one unit', () => {
    const bench = busy()
    for (const peer of ['ana', 'bob', 'eve']) bench.offer(peer)
    bench.submit(1)
    const peers = bench.sent('reserve').map(({ to }) => to)
    assert.equal(peers.length, 2)
    assert.equal(new Set(peers).size, 2)
  })

  it('go only where toolchain and host fit, a slot is free and the offer is fresh', () => {
    const bench = busy()
    bench.offer('no-toolchain', { toolchains: [new Uint8Array(32)] })
    bench.offer('other-host', { host: 'aarch64-apple-darwin' })
    bench.offer('full', { free: 0 })
    bench.offer('not-isolated', { tier: Tier.NONE })
    bench.offer('stale', { ttlMs: 10 })
    bench.pass(11)
    bench.submit(1)
    assert.equal(bench.sent('reserve').length, 0)
    bench.offer('ana')
    assert.deepEqual(
      bench.sent('reserve').map(({ to }) => to),
      ['ana'],
    )
  })

  it('use offers up: no more of them than free slots until the next offer', () => {
    const bench = busy()
    bench.known('ana')
    bench.offer('ana', { free: 2 })
    for (let unit = 1; unit <= 5; unit++) bench.submit(unit)
    assert.equal(bench.sent('reserve').length, 2)
    bench.offer('ana', { free: 2 })
    assert.equal(bench.sent('reserve').length, 4)
  })

  it('prefer lenders with more free slots', () => {
    let many = 0
    for (let seed = 1; seed <= 200; seed++) {
      const bench = new BuilderBench(1, () => seed / 201)
      bench.occupy(1)
      bench.offer('few', { free: 1 })
      bench.offer('many', { free: 9, total: 9 })
      bench.submit(1)
      if (bench.sent('reserve')[0]?.to === 'many') many += 1
    }
    assert.ok(many > 160 && many < 200, `${many} of 200`)
  })

  it('are not believed beyond what the offer says it has in total, nor with an old sequence number', () => {
    const bench = busy()
    bench.offer('ana', { free: 4_000_000_000, total: 1, seq: 9n })
    bench.offer('ana', { free: 4, total: 4, seq: 8n })
    assert.deepEqual(bench.builder.offer('ana', bench.now), {
      free: 1,
      total: 1,
      tier: Tier.CONFINED,
      host: 'x86_64-unknown-linux-gnu',
      toolchains: ['ab'.repeat(32)],
    })
  })

  it('ask others as well after 250 ms without a bid, while the unit keeps waiting for a slot here too', () => {
    const bench = busy()
    bench.offer('ana')
    bench.offer('bob')
    bench.submit(1)
    assert.equal(bench.sent('reserve').length, 2)
    bench.offer('eve')
    bench.offer('dan')
    assert.equal(bench.sent('reserve').length, 2)
    bench.pass(timing.bidWait)
    assert.deepEqual(
      bench
        .sent('reserve')
        .slice(2)
        .map(({ to }) => to)
        .sort(),
      ['dan', 'eve'],
    )
    assert.equal(bench.of('here', bench.release()).length, 1)
  })

  it('name the units that come first: how many wait, how long, and which inputs', () => {
    const bench = busy()
    bench.known('ana')
    for (let unit = 1; unit <= 6; unit++)
      bench.submit(unit, { rank: unit, expectedMs: unit, inputs: new Uint8Array([unit]) })
    bench.offer('ana', { free: 1 })
    const [reserve] = bench.sent('reserve')
    assert.equal(reserve?.waiting, 6)
    assert.equal(reserve?.expectedMs, 6)
    assert.deepEqual(reserve?.toolchain, toolchainBytes)
    assert.deepEqual(
      reserve?.inputs.map(([first]) => first),
      [6, 5, 4, 3],
    )
  })

  it('that are declined show that the lender has nothing free until it offers again', () => {
    const bench = busy()
    bench.offer('ana')
    bench.submit(1)
    const reservation = bench.sent('reserve')[0]?.reservation ?? 0n
    bench.receive('ana', frame('decline', { reservation }))
    assert.equal(bench.builder.reservations, 0)
    assert.equal(bench.builder.offer('ana', bench.now)?.free, 0)
    bench.offer('ana')
    assert.equal(bench.builder.reservations, 1)
  })

  it('that are never answered are forgotten', () => {
    const bench = busy()
    bench.offer('ana')
    bench.submit(1)
    bench.pass(timing.reservation)
    assert.equal(bench.builder.reservations, 0)
  })
})

describe('a bid', () => {
  it('binds the highest-rank unit that waits then, not the one that reserved', () => {
    const bench = busy()
    bench.known('ana')
    bench.offer('ana')
    bench.submit(1, { rank: 1 })
    bench.submit(2, { rank: 50 })
    const award = bench.award('ana')
    assert.deepEqual(award.task, taskBytes(2))
    assert.equal(award.epoch, 1)
    assert.equal(award.leaseMs, 2000)
  })

  it('is answered with GONE when nothing waits, or when it is for no reservation of that peer', () => {
    const bench = busy()
    bench.offer('ana')
    bench.offer('bob')
    bench.submit(1)
    const [first, second] = bench.sent('reserve')
    assert.ok(first && second)
    assert.equal(
      bench.sent('gone', bench.receive(second.to, frame('bid', { reservation: first.reservation }))).length,
      1,
    )
    const effects = bench.receive(first.to, frame('bid', { reservation: first.reservation }))
    assert.equal(bench.sent('award', effects).length, 1)
    assert.deepEqual(
      bench.sent('gone', effects).map(({ to }) => to),
      [second.to],
    )
    const late = bench.receive(second.to, frame('bid', { reservation: second.reservation }))
    assert.equal(bench.sent('gone', late).length, 1)
    assert.equal(bench.sent('award', late).length, 0)
  })
})

describe('a builder', () => {
  it('cancels a unit that is withdrawn while it is away', () => {
    const bench = busy()
    const { task, epoch } = bench.away('ana')
    const [cancel] = bench.sent('cancel', bench.tell({ kind: 'withdraw', id: idOf(1) }))
    assert.deepEqual([cancel?.to, cancel?.task, cancel?.epoch], ['ana', task, epoch])
    assert.equal(bench.builder.away, 0)
  })

  it('forgets a unit that is withdrawn while it waits', () => {
    const bench = busy()
    bench.submit(1)
    bench.tell({ kind: 'withdraw', id: idOf(1) })
    assert.equal(bench.of('here', bench.release()).length, 0)
  })

  it('passes early metadata on once per attempt', () => {
    const bench = busy()
    const { task, epoch } = bench.away('ana')
    const rmeta = { name: 'liba.rmeta', cid: new Uint8Array(36), size: 9n }
    const ready = { task, epoch, phase: Phase.METADATA, rmeta, depInfo: new Uint8Array([3]) }
    const tooLong = frame('progress', { ...ready, trace: new Uint8Array((1 << 19) + 1) })
    assert.equal(bench.of('metadata', bench.receive('ana', tooLong)).length, 0)
    const body = frame('progress', { ...ready, trace: new Uint8Array([4]) })
    const [metadata] = bench.of('metadata', bench.receive('ana', body))
    assert.deepEqual([metadata?.id, metadata?.peer, metadata?.rmeta.name], [idOf(1), 'ana', 'liba.rmeta'])
    assert.deepEqual(metadata?.trace, new Uint8Array([4]))
    assert.equal(bench.of('metadata', bench.receive('ana', body)).length, 0)
  })

  it('announces its builds to everybody, to newcomers, again every 5 s, and their end', () => {
    const bench = new BuilderBench(1)
    bench.tell({ kind: 'peer', peer: 'ana', state: 'up' })
    assert.deepEqual(
      bench.sent('building').map(({ to, active }) => [to, active]),
      [['ana', true]],
    )
    bench.clear()
    bench.pass(timing.buildingRefresh)
    assert.equal(bench.sent('building').length, 1)
    bench.clear()
    bench.tell({ kind: 'building', build, active: false })
    assert.deepEqual(
      bench.sent('building').map(({ active }) => active),
      [false],
    )
    bench.clear()
    bench.pass(60_000)
    assert.equal(bench.effects.length, 0)
  })

  it('says with which toolchains it compiled lately, the latest first, at most four, from one build to the next', () => {
    const bench = new BuilderBench(1)
    bench.tell({ kind: 'peer', peer: 'ana', state: 'up' })
    const announced = (): string[][] =>
      bench.sent('building').map(({ toolchains }) => toolchains.map((digest) => Buffer.from(digest).toString('hex')))
    assert.deepEqual(announced(), [[]])
    const named = (digit: number): string => `${digit}`.repeat(64)
    for (const digit of [1, 2, 3, 4, 5, 3]) bench.submit(digit + bench.now++, { toolchain: named(digit) })
    bench.submit(1, { toolchain: named(6), mayGoAway: false })
    bench.clear()
    bench.pass(timing.buildingRefresh)
    const latest = [3, 5, 4, 2].map(named)
    assert.deepEqual(announced(), [latest])
    bench.clear()
    bench.tell({ kind: 'building', build, active: false })
    assert.deepEqual(announced(), [[]])
    bench.clear()
    bench.tell({ kind: 'building', build: new Uint8Array(16).fill(2), active: true })
    assert.deepEqual(announced(), [latest])
  })

  it('that stops has every unit compiled here', () => {
    const bench = busy()
    bench.away('ana', 1)
    bench.submit(2, { mayGoAway: false })
    const effects = bench.tell({ kind: 'stop' })
    assert.deepEqual(
      bench.of('here', effects).map(({ id, reason }) => [id, reason]),
      [
        [idOf(1), 'stopping'],
        [idOf(2), 'stopping'],
      ],
    )
    assert.equal(bench.of('here', bench.submit(3))[0]?.reason, 'stopping')
  })

  it('tells a caller that submits a unit twice', () => {
    const bench = busy()
    bench.submit(1)
    assert.throws(() => bench.submit(1), { code: 'ERR_INTERNAL' })
  })
})
