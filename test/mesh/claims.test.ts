import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Claim, Claims, workKey } from '../../src/mesh/claims.ts'
import { ManualClock, someBytes } from './fixture.ts'

const work = someBytes(32)

function node(self = 'm', reachable = true) {
  const clock = new ManualClock()
  const sent: [peer: string, what: 'wait' | 'held' | 'gone'][] = []
  const claims = new Claims({
    clock,
    self,
    sendWait(peer) {
      sent.push([peer, 'wait'])
      return reachable
    },
    sendDone: (peer, _work, held) => sent.push([peer, held ? 'held' : 'gone']),
  })
  return { clock, claims, sent }
}

/** One question about the work, answered at once. */
function ask(claims: Claims, pending: Record<string, number> = {}): void {
  const end = claims.startAsk(work)
  for (const [peer, ms] of Object.entries(pending)) claims.onPending(peer, work, ms)
  end?.()
}

async function settled<T>(promise: Promise<T>): Promise<T | 'still waiting'> {
  return Promise.race([promise, new Promise<'still waiting'>((resolve) => setImmediate(resolve, 'still waiting'))])
}

const peersOf = (claim: Claim): string[] => claim.pending.map(({ peerId }) => peerId)

test('workKey() is the sha2-256 of both digests in a row', () => {
  const key = workKey(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2))
  assert.equal(Buffer.from(key).toString('hex'), 'f818afd37a6dc3bc92fb44731011277006db4efa6e9023cd7468c02335d22a4d')
})

test('who is asked decides: not claimed, open, committed, over', () => {
  const { claims } = node()
  assert.equal(claims.onAsked('a', work), undefined)
  const claim = claims.claim(work, 1000)
  assert.equal(claims.onAsked('a', work), undefined)
  assert.equal(claims.onAsked('z', work), 1000)
  assert.equal(claims.onAsked('z', someBytes(32)), undefined)
  ask(claims)
  assert.equal(claims.onAsked('a', work), 1000)
  assert.equal(claims.startAsk(work), undefined)
  claim.done(true)
  assert.equal(claims.onAsked('z', work), undefined)
})

test('a lower peer that asks meanwhile is waited for, a higher one is not', () => {
  const { claims } = node()
  const claim = claims.claim(work, 1000)
  const end = claims.startAsk(work)
  claims.onAsked('a', work)
  claims.onAsked('z', work)
  end?.()
  assert.deepEqual(claim.pending, [{ peerId: 'a', expectedMs: 1000 }])
  claim.commit()
  assert.deepEqual(claim.pending, [])
  assert.equal(claims.onAsked('a', work), 1000)
})

test('what is left of a work shrinks, and grows again when it takes longer than expected', () => {
  const { claims, clock } = node()
  claims.claim(work, 9000).commit()
  clock.advance(3000)
  assert.equal(claims.onAsked('z', work), 6000)
  clock.advance(17_000)
  assert.equal(claims.onAsked('z', work), 10_000)
})

test('wait() ends with the first that holds it, and with the last that gives up', async () => {
  const { claims, sent } = node()
  const claim = claims.claim(work, 60_000)
  ask(claims, { p: 5000, q: 5000, r: 5000 })
  const first = claim.wait()
  assert.deepEqual(sent, [
    ['p', 'wait'],
    ['q', 'wait'],
    ['r', 'wait'],
  ])
  claims.onDone('stranger', work, true)
  claims.onDone('p', work, false)
  assert.equal(await settled(first), 'still waiting')
  claims.onDone('q', work, true)
  assert.equal(await first, 'held')
  assert.deepEqual(claim.pending, [])

  // Each peer gets one wait: only the one that has said nothing yet counts again.
  ask(claims, { p: 5000, q: 5000, r: 5000 })
  assert.deepEqual(peersOf(claim), ['r'])
  const second = claim.wait()
  claims.onDown('r')
  assert.equal(await second, 'gone')
  assert.equal(await claim.wait(), 'gone')
  ask(claims, { p: 5000, q: 5000, r: 5000 })
  assert.deepEqual(peersOf(claim), [])
})

test('wait() ends at once for peers that cannot be reached, when the claim is over, and when it is called off', async () => {
  const cut = node('m', false)
  const lost = cut.claims.claim(work, 1000)
  ask(cut.claims, { p: 1000 })
  assert.equal(await lost.wait(), 'gone')

  const { claims, clock } = node()
  const claim = claims.claim(work, 1000)
  ask(claims, { p: 1000 })
  const called = new AbortController()
  const waiting = claim.wait({ signal: called.signal })
  called.abort(new Error('enough'))
  await assert.rejects(waiting, { message: 'enough' })
  const other = claim.wait()
  claim.done(false)
  assert.equal(await other, 'gone')
  assert.equal(clock.pending, 0)
})

test('a wait is bounded by what the peer says and by what the work takes here', async () => {
  const cases = [
    { ours: 100, theirs: 4_000_000_000, boundMs: 10_000 },
    { ours: 10_000, theirs: 4_000_000_000, boundMs: 20_000 },
    { ours: 10_000, theirs: 8000, boundMs: 16_000 },
    { ours: 10_000, theirs: 1, boundMs: 10_000 },
  ]
  for (const { ours, theirs, boundMs } of cases) {
    const { claims, clock } = node()
    const claim = claims.claim(work, ours)
    ask(claims, { p: theirs })
    const waiting = claim.wait()
    clock.advance(boundMs - 1)
    assert.equal(await settled(waiting), 'still waiting')
    clock.advance(1)
    assert.equal(await waiting, 'gone')
  }
})

test('however many peers claim to be at it, one claim waits for one bound', async () => {
  const { claims, clock } = node()
  const claim = claims.claim(work, 1000)
  const start = clock.now()
  for (let turn = 0; turn < 100; turn += 1) {
    ask(claims, { [`p${turn}`]: 1500 })
    if (claim.pending.length === 0) break
    const waiting = claim.wait()
    clock.advance(700)
    claims.onDone(`p${turn}`, work, true)
    await waiting
  }
  assert.equal(clock.now() - start, 10_500)
  assert.equal(claims.onAsked('a', work) !== undefined, true)
})

test('a peer that lets us wait in vain three times is left alone for ten minutes', async () => {
  const { claims, clock } = node()
  const attempt = async (end: 'in vain' | 'held'): Promise<boolean> => {
    const claim = claims.claim(work, 1000)
    ask(claims, { p: 1000 })
    const waited = claim.pending.length > 0
    const waiting = claim.wait()
    if (end === 'held') claims.onDone('p', work, true)
    else clock.advance(10_000)
    await waiting
    claim.done(false)
    return waited
  }
  const ends = ['in vain', 'in vain', 'held', 'in vain', 'in vain', 'in vain'] as const
  for (const end of ends) assert.equal(await attempt(end), true)
  assert.equal(await attempt('in vain'), false)
  // Nor is it given way to.
  const claim = claims.claim(work, 1000)
  const end = claims.startAsk(work)
  assert.equal(claims.onAsked('a', work), undefined)
  assert.equal(claims.onAsked('p', work), 1000)
  end?.()
  claim.done(false)
  clock.advance(10 * 60_000)
  assert.equal(await attempt('in vain'), true)
})

test('a wait that was cut short by the bound of the claim is not held against the peer', async () => {
  const { claims, clock } = node()
  for (let turn = 0; turn < 4; turn += 1) {
    const claim = claims.claim(work, 1000)
    ask(claims, { [`q${turn}`]: 1000 })
    const first = claim.wait()
    clock.advance(1000)
    claims.onDone(`q${turn}`, work, false)
    await first
    ask(claims, { p: 1000 })
    assert.deepEqual(peersOf(claim), ['p'], `turn ${turn}`)
    const second = claim.wait()
    clock.advance(9000)
    assert.equal(await second, 'gone')
    claim.done(false)
  }
})

test('those that wait are told once, when the last claim of a work ends or the first result is there', () => {
  const { claims, sent } = node()
  const mine = claims.claim(work, 1000)
  const lent = claims.claim(work, 1000)
  for (const peer of ['p', 'q']) claims.onWait(peer, work)
  claims.onWait('p', work)
  claims.onDown('q')
  mine.done(false)
  assert.deepEqual(sent, [])
  lent.done(false)
  lent.done(true)
  assert.deepEqual(sent, [['p', 'gone']])
  claims.onWait('p', work)
  assert.deepEqual(sent.splice(0), [
    ['p', 'gone'],
    ['p', 'held'],
  ])
  const again = claims.claim(work, 1000)
  claims.claim(work, 1000)
  claims.onWait('p', work)
  again.done(true)
  assert.deepEqual(sent, [['p', 'held']])
})

test('a peer has at most 4096 works to be told of', () => {
  const { claims, sent } = node()
  const works = Array.from({ length: 4097 }, () => someBytes(32))
  const own = works.map((bytes) => claims.claim(bytes, 1000))
  for (const bytes of works) claims.onWait('p', bytes)
  for (const bytes of works.slice(0, 4096)) claims.onWait('p', bytes)
  claims.onWait('q', works[0] ?? work)
  assert.deepEqual(sent.splice(0), [['p', 'gone']])
  own[0]?.done(true)
  assert.deepEqual(sent.splice(0), [
    ['p', 'held'],
    ['q', 'held'],
  ])
  claims.onWait('p', works[4096] ?? work)
  assert.deepEqual(sent, [])
})

/** Nodes that only exchange messages, in order between two of them, in an order that `choose` draws otherwise. */
class Net {
  readonly #nodes = new Map<string, NetNode>()
  readonly #lines = new Map<string, (() => void)[]>()
  compiles = 0

  constructor(count: number) {
    const names = 'abcdefgh'.slice(0, count).split('')
    for (const name of names) this.#nodes.set(name, new NetNode(name, names, this))
  }

  get nodes(): NetNode[] {
    return [...this.#nodes.values()]
  }

  send(from: string, to: string, deliver: (node: NetNode) => void): void {
    const line = this.#lines.get(`${from}${to}`) ?? []
    this.#lines.set(`${from}${to}`, line)
    line.push(() => {
      const node = this.#nodes.get(to)
      if (node !== undefined) deliver(node)
    })
  }

  /** One for each line on which a message is on its way: delivers the first. */
  deliveries(): (() => void)[] {
    return [...this.#lines.values()].filter((line) => line.length > 0).map((line) => () => line.shift()?.())
  }
}

/** What a node does with a unit: claim, ask, wait and ask again, compile. */
class NetNode {
  readonly name: string
  readonly #peers: string[]
  readonly #net: Net
  readonly #claims: Claims
  readonly #clock = new ManualClock()
  #answer: (peer: string, pendingMs: number | undefined, held: boolean) => void = () => undefined
  held = false
  compiling: Claim | undefined
  building = false

  constructor(name: string, names: string[], net: Net) {
    this.name = name
    this.#net = net
    this.#peers = names.filter((peer) => peer !== name)
    this.#claims = new Claims({
      clock: this.#clock,
      self: name,
      sendWait: (peer) => {
        net.send(name, peer, (node) => node.#claims.onWait(name, work))
        return true
      },
      sendDone: (peer, _work, held) => net.send(name, peer, (node) => node.#claims.onDone(name, work, held)),
    })
  }

  async build(): Promise<void> {
    this.building = true
    const claim = this.#claims.claim(work, 1000)
    for (;;) {
      if (await this.#ask()) {
        this.building = false
        this.held = true
        return claim.done(true)
      }
      if (claim.pending.length === 0) break
      await claim.wait()
    }
    this.#net.compiles += 1
    this.compiling = claim
  }

  finish(held: boolean): void {
    this.building = false
    this.held = held
    this.compiling?.done(held)
    this.compiling = undefined
  }

  async #ask(): Promise<boolean> {
    const end = this.#claims.startAsk(work)
    const answered = Promise.withResolvers<void>()
    let left = this.#peers.length
    let found = false
    this.#answer = (peer, pendingMs, held) => {
      if (pendingMs !== undefined) this.#claims.onPending(peer, work, pendingMs)
      found ||= held
      left -= 1
      if (left === 0) answered.resolve()
    }
    for (const peer of this.#peers) this.#net.send(this.name, peer, (node) => node.#onQuery(this.name))
    await answered.promise
    end?.()
    return found
  }

  // The look-up takes as long as any message: it goes through a line of its own.
  #onQuery(from: string): void {
    const pendingMs = this.#claims.onAsked(from, work)
    this.#net.send(this.name, this.name, () => {
      const { held } = this
      this.#net.send(this.name, from, (node) => node.#answer(this.name, pendingMs, held))
    })
  }
}

test('whatever the order of things, one node compiles, and when it gives up another one does', async () => {
  const property = fc.asyncProperty(
    fc.integer({ min: 2, max: 5 }),
    fc.array(fc.nat({ max: 999 }), { minLength: 300, maxLength: 300 }),
    fc.nat({ max: 2 }),
    async (count, choices, failures) => {
      const net = new Net(count)
      const idle = net.nodes
      let ended = 0
      const start = (choice: number) => (): void => {
        const [node] = idle.splice(choice % idle.length, 1)
        void node?.build()
      }
      const finish = (node: NetNode) => (): void => {
        ended += 1
        node.finish(ended > failures)
      }
      for (let turn = 0; ; turn += 1) {
        const choice = choices[turn % choices.length] ?? 0
        const compiling = net.nodes.filter((node) => node.compiling !== undefined)
        assert.ok(compiling.length <= 1, `${compiling.map(({ name }) => name)} compile at once`)
        // A compile takes longer than a message, mostly.
        const patient = net.deliveries().length > 0 && turn % 16 > 0
        const possible = [
          ...net.deliveries(),
          ...(idle.length > 0 ? [start(choice)] : []),
          ...(patient ? [] : compiling.map(finish)),
        ]
        const next = possible[choice % possible.length]
        if (next === undefined) break
        next()
        await new Promise((resolve) => setImmediate(resolve))
      }
      const stuck = net.nodes.filter((node) => node.building)
      assert.deepEqual(stuck, [])
      assert.equal(net.compiles, Math.min(count, failures + 1))
      assert.equal(net.nodes.filter((node) => node.held).length, count - Math.min(failures, count))
    },
  )
  await fc.assert(property, { numRuns: 300 })
})
