import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { Announcing, recordsFor } from '../../src/daemon/announcing.ts'
import { Lookups, type LookupsNeeds } from '../../src/daemon/ask-mesh.ts'
import { anyRange, rangeAt } from '../../src/daemon/ranges.ts'
import type { Mesh, PeerView } from '../../src/mesh/mesh.ts'
import { cidFromDigest, digestOf, hexOf } from '../../src/wire/cid.ts'
import { bothUp, ManualClock, makeMesh, someBytes } from '../mesh/fixture.ts'
import { createMembership } from '../mesh/hiring.ts'

const signal = new AbortController().signal

/** A mesh of which every answer is told; what it was asked is counted. */
class Answers {
  readonly clock = new ManualClock()
  holders = new Map<string, string[]>()
  providers = new Map<string, string[]>()
  connected: string[] = []
  asks = 0
  finds: string[] = []
  hangs = false
  findHangs = false
  up: (peer: string, up: boolean) => void = () => undefined
  more: (peer: string) => void = () => undefined
  readonly mesh: LookupsNeeds['mesh']

  constructor() {
    const ask: Mesh['ask'] = async (keys, { budgetMs = 20 } = {}) => {
      this.asks += 1
      if (this.hangs) await this.#wait(budgetMs)
      return keys.flatMap((key) => {
        const peers = this.holders.get(Buffer.from(key).toString('hex')) ?? []
        return peers
          .filter((peer) => this.connected.includes(peer))
          .map((peerId) => ({ peerId, key, traces: [key], claims: [] }))
      })
    }
    const findProviders: Mesh['findProviders'] = async (key, { deadlineMs = 0 } = {}) => {
      this.finds.push(hexOf(key))
      if (this.hangs || this.findHangs) await this.#wait(deadlineMs)
      return this.providers.get(hexOf(key)) ?? []
    }
    this.mesh = {
      ask,
      findProviders,
      shouldAskDht: () => true,
      peers: () => this.connected.map((peerId) => ({ peerId, connected: true }) as PeerView),
      onPeer: (handler) => {
        const before = this.up
        this.up = (peer, up) => {
          before(peer, up)
          handler(peer, up)
        }
        return () => undefined
      },
      onHoldings: (handler) => {
        this.more = handler
        return () => undefined
      },
    }
  }

  async #wait(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.clock.after(ms, resolve))
  }

  connect(peer: string): void {
    this.connected.push(peer)
    this.up(peer, true)
  }
}

const aKey = () => cidFromDigest(someBytes(32))
const rangeOf = (key: ReturnType<typeof aKey>) => rangeAt((digestOf(key)[0] ?? 0) >> 4)

test('a member that is not connected is found by its range, met, and asked', async () => {
  for (const range of [() => anyRange, rangeOf]) {
    const all = new Answers()
    const lookups = new Lookups(all)
    const key = aKey()
    all.holders.set(hexOf(key), ['h'])
    all.providers.set(hexOf(range(key)), ['h'])
    const asking = lookups.ask(key, { budgetMs: 300, signal })
    for (let turn = 0; turn < 10; turn++) await Promise.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    all.connect('h')
    assert.deepEqual(await asking, [{ peer: 'h', traces: [digestOf(key)], claims: [] }])
    // The ranges are known for a while: no key of its own is looked for, and no range twice.
    assert.deepEqual(new Set(all.finds), new Set([hexOf(anyRange), hexOf(rangeOf(key))]))
    const finds = all.finds.length
    assert.deepEqual(await lookups.ask(key, { budgetMs: 300, signal }), [
      { peer: 'h', traces: [digestOf(key)], claims: [] },
    ])
    assert.equal(all.finds.length, finds)
  }
})

/** How long a look-up took, by the clock of the test. */
async function tookMs({ clock }: Answers, asking: Promise<unknown>): Promise<number> {
  const from = clock.now()
  let over = false
  const done = asking.finally(() => {
    over = true
  })
  for (;;) {
    for (let turn = 0; turn < 3 && !over; turn++) await new Promise((resolve) => setImmediate(resolve))
    if (over) break
    clock.advance(1)
  }
  await done
  return clock.now() - from
}

test('whatever hangs, a look-up takes no longer than 300 ms', async () => {
  const all = new Answers()
  all.hangs = true
  const lookups = new Lookups(all)
  assert.equal(await tookMs(all, lookups.ask(aKey(), { budgetMs: 1000, signal })), 300)
})

test('what is announced to nobody is looked for among the connected members only', async () => {
  const all = new Answers()
  const lookups = new Lookups(all)
  assert.deepEqual(await lookups.ask(aKey(), { budgetMs: 300, signal, isUnannounced: true }), [])
  assert.deepEqual([all.asks, all.finds], [1, []])
})

test('a DHT that hangs is waited for once, and again when it has answered', async () => {
  const all = new Answers()
  const lookups = new Lookups(all)
  const ask = (): Promise<number> => tookMs(all, lookups.ask(aKey(), { budgetMs: 80, signal }))
  all.findHangs = true
  assert.equal(await ask(), 80)
  const asked = all.finds.length
  for (let unit = 0; unit < 20; unit++) assert.equal(await ask(), 0)
  assert.equal(all.finds.length, asked)
  // What nobody waited for comes too late, too.
  all.clock.advance(5000)
  assert.equal(await ask(), 0)
  assert.ok(all.finds.length > asked)
  all.clock.advance(2000)
  all.findHangs = false
  assert.equal(await ask(), 0)
  all.clock.advance(5000)
  assert.equal(await ask(), 0)
  const key = aKey()
  all.holders.set(hexOf(key), ['h'])
  all.providers.set(hexOf(key), ['h'])
  const asking = lookups.ask(key, { budgetMs: 80, signal })
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
  all.connect('h')
  assert.deepEqual(await asking, [{ peer: 'h', traces: [digestOf(key)], claims: [] }])
})

test('a member that does not come up is waited for once', async () => {
  const all = new Answers()
  all.providers.set(hexOf(anyRange), ['h'])
  const lookups = new Lookups(all)
  const ask = (): Promise<number> => tookMs(all, lookups.ask(aKey(), { budgetMs: 80, signal }))
  assert.equal(await ask(), 80)
  for (let unit = 0; unit < 5; unit++) assert.equal(await ask(), 0)
  all.up('h', true)
  all.up('h', false)
  assert.equal(await ask(), 80)
})

test('that nobody has it is known for five seconds, or until somebody may', async () => {
  const all = new Answers()
  const lookups = new Lookups(all)
  const key = aKey()
  const searches = async (): Promise<number> => {
    const before = all.finds.length
    await lookups.ask(key, { budgetMs: 300, signal })
    return all.finds.length - before
  }
  assert.equal(await searches(), 3)
  assert.equal(await searches(), 0)
  all.clock.advance(5001)
  assert.equal(await searches(), 1)
  assert.equal(await searches(), 0)
  all.more('p')
  assert.equal(await searches(), 1)
  all.up('p', true)
  assert.equal(await searches(), 1)
  // The ranges are looked at again after ten seconds.
  all.clock.advance(10_001)
  assert.equal(await searches(), 3)
})

test('two that look for the same search once', async () => {
  const all = new Answers()
  const lookups = new Lookups(all)
  const key = aKey()
  await Promise.all([1, 2, 3].map(() => lookups.ask(key, { budgetMs: 300, signal })))
  assert.equal(all.finds.length, 3)
})

test('what was asked for many keys serves the units that ask next, once and for half a minute', async () => {
  const all = new Answers()
  all.connected = ['p']
  const lookups = new Lookups(all)
  const [one, two] = [aKey(), aKey()]
  all.holders.set(hexOf(one), ['p'])
  all.holders.set(hexOf(two), ['p'])
  assert.equal((await lookups.askMany([one, two, aKey()], { budgetMs: 300, signal })).size, 2)
  assert.equal(all.asks, 1)
  assert.deepEqual(await lookups.ask(one, { budgetMs: 300, signal }), [
    { peer: 'p', traces: [digestOf(one)], claims: [] },
  ])
  assert.equal(all.asks, 1)
  await lookups.ask(one, { budgetMs: 300, signal })
  assert.equal(all.asks, 2)
  all.clock.advance(30_001)
  await lookups.ask(two, { budgetMs: 300, signal })
  assert.equal(all.asks, 3)
})

test('little is announced as something, much by ranges, then the most expensive as far as they paid for it', () => {
  const held = (count: number, costMs: (at: number) => number): [string, { costMs: number }][] =>
    Array.from({ length: count }, (_, at) => [Buffer.from(someBytes(32)).toString('hex'), { costMs: costMs(at) }])
  assert.deepEqual(recordsFor([]), [])
  assert.deepEqual(recordsFor(held(63, () => 10)).map(hexOf), [hexOf(anyRange)])
  const ranges = recordsFor(held(2000, () => 1)).map(hexOf)
  assert.equal(ranges.length, 16)
  assert.ok(!ranges.includes(hexOf(anyRange)))
  // 1.5 % of 100 s pays for twelve records; one of them is the range.
  const few = held(50, (at) => (at < 10 ? 5000 : 1250))
  const records = recordsFor(few).map(hexOf)
  assert.equal(records.length, 12)
  for (const [key] of few.slice(0, 10)) assert.ok(records.includes(key))
})

test('what has gone is withdrawn', () => {
  const clock = new ManualClock()
  const announced = new Set<string>()
  let held: [string, { costMs: number }][] = [[Buffer.from(someBytes(32)).toString('hex'), { costMs: 60_000 }]]
  const announcing = new Announcing({
    clock,
    mesh: { announce: (key) => announced.add(hexOf(key)), withdraw: (key) => announced.delete(hexOf(key)) },
    held: () => held,
  })
  const toolchain = aKey()
  announcing.toolchain(toolchain, true)
  announcing.changed()
  clock.advance(1000)
  assert.deepEqual(announced, new Set([hexOf(anyRange), held[0]?.[0], hexOf(toolchain)]))
  held = []
  announcing.changed()
  clock.advance(1000)
  assert.equal(announced.size, 3)
  clock.advance(15_000)
  assert.deepEqual(announced, new Set([hexOf(toolchain)]))
  announcing.stop()
})

test('a result of a member that the builder never met is found through the DHT', { timeout: 60_000 }, async (t) => {
  const membership = createMembership({ name: 'test' })
  const key = aKey()
  // Its time stands still but for what the test allows: it dials and explores nobody by itself.
  const clock = new ManualClock()
  const [holder, middle] = [
    await makeMesh(
      t,
      { ...membership },
      {},
      {
        lookup: async (keys) => keys.map((asked) => ({ key: asked, traces: [asked] })),
      },
    ),
    await makeMesh(t, { ...membership }),
  ]
  const builder = await makeMesh(t, { ...membership }, {}, { clock })
  await middle.mesh.start()
  holder.membership.seeds = middle.mesh.addresses()
  builder.membership.seeds = middle.mesh.addresses()
  const met = bothUp(holder.mesh, middle.mesh)
  await holder.mesh.start()
  await met
  const announcing = new Announcing({
    clock: systemClock,
    mesh: holder.mesh,
    held: () => [[hexOf(key), { costMs: 60_000 }]],
  })
  t.after(() => announcing.stop())
  announcing.changed()
  while ((await middle.mesh.findProviders(anyRange, { deadlineMs: 500 })).length === 0) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  const joined = bothUp(builder.mesh, middle.mesh)
  await builder.mesh.start()
  clock.advance(1)
  await joined
  assert.ok(!builder.mesh.peers().some(({ peerId, connected }) => connected && peerId === holder.mesh.peerId))
  let found: Awaited<ReturnType<Lookups['ask']>> = []
  // A new connection takes a moment to become part of the DHT.
  while (found.length === 0) {
    const lookups = new Lookups({ mesh: builder.mesh, clock: systemClock })
    found = await lookups.ask(key, { budgetMs: 300, signal })
    clock.advance(1)
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.deepEqual(
    found.map(({ peer }) => peer),
    [holder.mesh.peerId],
  )
})
