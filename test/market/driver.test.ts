import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { seededRandom, systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createMarket, type EarlyMetadata, type Market, type Placement } from '../../src/market/driver.ts'
import { frame, type MarketBody } from '../../src/market/frames.ts'
import type { Work, WorkOptions } from '../../src/market/guests.ts'
import type { WorkResult } from '../../src/market/task.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { type ControlFrame, ControlFrameSchema } from '../../src/wire/generated/control_pb.ts'
import { type Award, Outcome, Phase } from '../../src/wire/generated/market_pb.ts'
import { build, makeTask, taskBytes, terms, workResult } from './bench.ts'

interface Node {
  name: string
  market: Market
  /** False: frames cannot be sent to anybody. */
  online: boolean
  frames: (peer: string, body: ControlFrame['body']) => void
  peers: (peer: string, up: boolean) => void
}

/** Nodes of one process on links that carry real frames, in order. */
class Office {
  readonly #nodes = new Map<string, Node>()
  readonly #links = new Set<string>()

  add(name: string, slots: number, work: Work = never): Node {
    const node = { name, online: true } as Node
    node.market = createMarket(
      {
        mesh: {
          send: (peer, body) => this.#send(node, peer, body),
          onFrame: (handler) => {
            node.frames = handler
          },
          onPeer: (handler) => {
            node.peers = handler
          },
        },
        clock: systemClock,
        random: seededRandom(this.#nodes.size + 1),
        log: silentLogger,
        terms: () => terms,
        work,
      },
      { slots, lendSlots: slots },
    )
    this.#nodes.set(name, node)
    return node
  }

  link(a: Node, b: Node): void {
    this.#links.add(`${a.name} ${b.name}`).add(`${b.name} ${a.name}`)
    a.peers(b.name, true)
    b.peers(a.name, true)
  }

  unlink(a: Node, b: Node): void {
    this.#links.delete(`${a.name} ${b.name}`)
    this.#links.delete(`${b.name} ${a.name}`)
    a.peers(b.name, false)
    b.peers(a.name, false)
  }

  #send(from: Node, peer: string, body: MarketBody): boolean {
    const link = `${from.name} ${peer}`
    if (!from.online || !this.#links.has(link)) return false
    const bytes = toBinary(ControlFrameSchema, create(ControlFrameSchema, { body }))
    void setImmediate().then(() => {
      if (this.#links.has(link)) this.#nodes.get(peer)?.frames(from.name, fromBinary(ControlFrameSchema, bytes).body)
    })
    return true
  }
}

/** Worth sending over whatever link a busy machine seems to have: the clock here is the real one. */
const longTask: typeof makeTask = (change = {}) => makeTask({ expectedMs: 60_000, bytes: 1000, ...change })
const never: Work = () => assert.fail('no work was expected')

/** Work that the test ends. */
class Bench {
  readonly #started = Promise.withResolvers<{ award: Award; options: WorkOptions }>()
  readonly #result = Promise.withResolvers<WorkResult>()
  readonly started = this.#started.promise
  readonly work: Work = (award, options) => {
    this.#started.resolve({ award, options })
    return this.#result.promise
  }

  end(change: Partial<WorkResult> = {}): void {
    const text = (of: string): Uint8Array => Uint8Array.from(Buffer.from(of))
    this.#result.resolve(workResult({ result: text('result'), trace: text('trace'), wallMs: 12, ...change }))
  }

  fail(error: Error): void {
    this.#result.reject(error)
  }
}

async function occupied(market: Market): Promise<Placement & { kind: 'here' }> {
  const placement = await market.place(longTask({ mayGoAway: false }))
  assert.equal(placement.kind, 'here')
  return placement
}

/** Ana builds and her only slot is taken; Bob lends his. */
async function anaAndBob() {
  const office = new Office()
  const bench = new Bench()
  const ana = office.add('ana', 1)
  const bob = office.add('bob', 1, bench.work)
  office.link(ana, bob)
  ana.market.building(build, true)
  const slot = await occupied(ana.market)
  while (ana.market.stats().peers[0]?.offer === undefined) await setImmediate()
  return { office, ana, bob, bench, slot }
}

describe('place()', () => {
  it('compiles here while a slot is free, and again once it is released', async () => {
    const { market } = new Office().add('ana', 1)
    const first = await occupied(market)
    let waited = false
    const second = market.place(longTask(), { onWaiting: () => (waited = true) })
    assert.equal(waited, true)
    assert.deepEqual(market.stats().units, { waiting: 1, here: 1, away: 0 })
    first.release()
    first.release()
    assert.equal((await second).kind, 'here')
    assert.deepEqual(market.stats().slots, { total: 1, free: 0, lent: 0 })
  })

  it('has a unit compiled by a peer, metadata first, and both keep account of it', async () => {
    const { ana, bob, bench } = await anaAndBob()
    const cid = cidOf(new Uint8Array([1]))
    const { promise: early, resolve: onMetadata } = Promise.withResolvers<EarlyMetadata>()
    const placed = ana.market.place(longTask({ action: new Uint8Array([42]) }), { onMetadata })
    const { award, options } = await bench.started
    assert.equal(options.peer, 'ana')
    assert.deepEqual(award.action, new Uint8Array([42]))
    assert.deepEqual(bob.market.stats().slots, { total: 1, free: 0, lent: 1 })
    options.onMetadata({ name: 'liba.rmeta', cid, size: 9, depInfo: 'a: b', trace: new Uint8Array([5]) })
    const { peer, name, cid: sent, size, depInfo, trace } = await early
    assert.deepEqual([peer, name, sent.toString(), size, depInfo], ['bob', 'liba.rmeta', cid.toString(), 9, 'a: b'])
    assert.deepEqual(trace, new Uint8Array([5]))
    bench.end()
    const placement = await placed
    assert.ok(placement.kind === 'away')
    assert.deepEqual(
      [placement.peer, Buffer.from(placement.result).toString(), Buffer.from(placement.trace).toString()],
      ['bob', 'result', 'trace'],
    )
    const mine = ana.market.stats()
    assert.equal(mine.counts.away, 1)
    assert.equal(mine.peers[0]?.peer, 'bob')
    assert.equal(mine.peers[0]?.borrowedMs, placement.awayMs)
    const theirs = bob.market.stats()
    assert.equal(theirs.counts.lent, 1)
    assert.ok((theirs.peers[0]?.lentMs ?? 0) > 0)
    assert.deepEqual(theirs.slots, { total: 1, free: 1, lent: 0 })
  })

  it('has a result as soon as there is one, and the slot is free; what its lender does then is waited for when that stops', async () => {
    const { ana, bob, bench } = await anaAndBob()
    const placed = ana.market.place(longTask())
    const { options } = await bench.started
    const result = workResult({ result: Uint8Array.from(Buffer.from('result')), wallMs: 12 })
    options.onResult?.(result)
    const placement = await placed
    assert.ok(placement.kind === 'away')
    assert.equal(Buffer.from(placement.result).toString(), 'result')
    assert.deepEqual(bob.market.stats().slots, { total: 1, free: 1, lent: 0 })
    let stopped = false
    const stopping = bob.market.stop().then(() => {
      stopped = true
    })
    await setImmediate()
    assert.deepEqual([stopped, options.signal.aborted], [false, false])
    bench.fail(new Error('not kept'))
    await stopping
    assert.equal(bob.market.stats().counts.lent, 1)
  })

  it('throws the reason of its signal and has the work killed', async () => {
    const { ana, bob, bench } = await anaAndBob()
    const abort = new AbortController()
    const placed = ana.market.place(longTask(), { signal: abort.signal })
    const { options } = await bench.started
    const killed = once(options.signal, 'abort')
    abort.abort(new RangeError('enough'))
    await assert.rejects(placed, { message: 'enough' })
    await killed
    bench.fail(new Error('killed'))
    await bob.market.stop()
    assert.equal(bob.market.stats().slots.lent, 0)
    assert.equal(ana.market.stats().units.away, 0)
    await assert.rejects(ana.market.place(longTask(), { signal: abort.signal }), { message: 'enough' })
  })

  it('compiles here what a peer that was lost had', async () => {
    const { office, ana, bob, bench, slot } = await anaAndBob()
    const placed = ana.market.place(longTask())
    const { options } = await bench.started
    office.unlink(ana, bob)
    assert.equal(options.signal.aborted, true)
    slot.release()
    const placement = await placed
    assert.ok(placement.kind === 'here')
    assert.equal(placement.reason, 'came-back')
    assert.deepEqual(ana.market.stats().counts.returned, { lost: 1 })
    bench.end()
  })

  it('compiles here what a peer failed at, whatever it throws', async () => {
    const { ana, bench, slot } = await anaAndBob()
    const placed = ana.market.place(longTask())
    await bench.started
    slot.release()
    const second = ana.market.place(longTask({ mayGoAway: false }))
    bench.fail(new TypeError('a mistake'))
    const blocker = await second
    assert.ok(blocker.kind === 'here')
    blocker.release()
    const placement = await placed
    assert.ok(placement.kind === 'here')
    assert.deepEqual([placement.reason, placement.returned], ['came-back', 'error'])
    assert.deepEqual(ana.market.stats().counts.returned, { error: 1 })
  })

  it('survives callbacks that throw', async () => {
    const { ana, bench } = await anaAndBob()
    const fail = (): never => {
      throw new TypeError('a mistake')
    }
    const placed = ana.market.place(longTask(), { onWaiting: fail, onMetadata: fail })
    const { options } = await bench.started
    const trace = new Uint8Array()
    options.onMetadata({ name: 'liba.rmeta', cid: cidOf(new Uint8Array([1])), size: 9, depInfo: '', trace })
    bench.end()
    assert.equal((await placed).kind, 'away')
  })

  it('does not pass on metadata under something that is no CID', async () => {
    const { ana, bench } = await anaAndBob()
    const placed = ana.market.place(longTask(), { onMetadata: () => assert.fail('passed on') })
    const { award } = await bench.started
    const rmeta = { name: 'liba.rmeta', cid: new Uint8Array([1, 2, 3]), size: 9n }
    ana.frames('bob', frame('progress', { task: award.task, epoch: 1, phase: Phase.METADATA, rmeta }))
    bench.end()
    assert.equal((await placed).kind, 'away')
  })

  it('does not wait for an award that could not be sent', async () => {
    const { ana, slot } = await anaAndBob()
    const placed = ana.market.place(longTask())
    ana.online = false
    ana.frames('bob', frame('bid', { reservation: 1n }))
    assert.deepEqual(ana.market.stats().units, { waiting: 1, here: 1, away: 0 })
    assert.deepEqual(ana.market.stats().counts.returned, { unsent: 1 })
    slot.release()
    assert.equal((await placed).kind, 'here')
  })

  it('is not moved by frames of others about its unit', async () => {
    const { office, ana, bench } = await anaAndBob()
    const eve = office.add('eve', 1)
    office.link(ana, eve)
    const placed = ana.market.place(longTask())
    const { award } = await bench.started
    for (const task of [award.task, taskBytes(1), new Uint8Array(0)]) {
      ana.frames('eve', frame('done', { task, epoch: 1, outcome: Outcome.OK, result: new Uint8Array([6]) }))
      ana.frames('eve', frame('cancelled', { task, epoch: 1 }))
    }
    bench.end()
    const placement = await placed
    assert.ok(placement.kind === 'away')
    assert.equal(placement.peer, 'bob')
  })
})

describe('stop()', () => {
  it('of the builder settles every unit as here and tells the lender, which kills the work', async () => {
    const { ana, bench } = await anaAndBob()
    const placed = ana.market.place(longTask())
    const waiting = ana.market.place(longTask({ mayGoAway: false }))
    const { options } = await bench.started
    const killed = once(options.signal, 'abort')
    await ana.market.stop()
    for (const placement of [await placed, await waiting, await ana.market.place(longTask())]) {
      assert.ok(placement.kind === 'here')
      assert.equal(placement.reason, 'stopping')
    }
    await killed
    bench.end()
  })

  it('of the lender waits until its work has ended; the builder is told at once', async () => {
    const { ana, bob, bench, slot } = await anaAndBob()
    const placed = ana.market.place(longTask())
    const { options } = await bench.started
    let stopped = false
    const stopping = bob.market.stop().then(() => (stopped = true))
    assert.equal(options.signal.aborted, true)
    slot.release()
    assert.equal((await placed).kind, 'here')
    assert.deepEqual(ana.market.stats().counts.returned, { goodbye: 1 })
    assert.equal(stopped, false)
    bench.end()
    await stopping
  })
})
