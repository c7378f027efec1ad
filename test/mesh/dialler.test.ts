import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { silentLogger } from '../../src/base/log.ts'
import { Dialler } from '../../src/mesh/dialler.ts'
import { watchNetwork } from '../../src/mesh/network-watch.ts'
import { ManualClock } from './fixture.ts'

const low = '12D3KooWBhMbLvQGgJ6Mzbhs7sTEfjdpgZ2KfZ8nRfYUQ4VKSVCE'
const high = '12D3KooWSHj3RRbBjD15g6wekV8y3mm57Pobmps2g2WJm6F67Lay'
const at = (host: number) => multiaddr(`/ip4/192.0.2.${host}/tcp/1`)

/** A dialler whose dials are answered by `answer`: a peer, or nobody. */
function makeDialler(self: string, answer: (address: string) => string | undefined, maxPeers = 128) {
  const clock = new ManualClock()
  const started = clock.now()
  const connected = new Set<string>()
  const dials: { atMs: number; addresses: string[] }[] = []
  let settled: (() => void)[] = []
  const dialler = new Dialler(
    {
      clock,
      random: () => 0.5,
      log: silentLogger,
      connected,
      maxPeers,
      async dial(addresses) {
        dials.push({ atMs: clock.now() - started, addresses: addresses.map(String) })
        try {
          for (const address of addresses) {
            const peerId = answer(address.toString())
            if (peerId !== undefined) return { peerId, address }
          }
          throw new Error('nobody answers')
        } finally {
          setImmediate(() => {
            for (const resolve of settled) resolve()
            settled = []
          })
        }
      },
    },
    self,
  )
  /** Lets time pass in small steps, waiting for the dials that each step starts. */
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 50) {
      const before = dials.length
      clock.advance(50)
      if (dials.length > before) await new Promise<void>((resolve) => settled.push(resolve))
    }
  }
  return { dialler, dials, connected, pass, clock }
}

test('the peer with the lower peerId dials at once, the other one after a grace time', async () => {
  const first = makeDialler(low, () => high)
  first.dialler.found(high, [at(1)])
  await first.pass(3000)
  assert.deepEqual(first.dials[0], { atMs: 50, addresses: [`/ip4/192.0.2.1/tcp/1/p2p/${high}`] })
  const second = makeDialler(high, () => low)
  second.dialler.found(low, [at(1)])
  second.dialler.found(high, [at(2)])
  await second.pass(3000)
  assert.equal(second.dials[0]?.atMs, 800)
  assert.deepEqual(second.dials[0]?.addresses, [`/ip4/192.0.2.1/tcp/1/p2p/${low}`])
})

test('a member that was lost is dialled again within five seconds of being back, for as long as it takes', async () => {
  let back = false
  const { dialler, dials, connected, pass, clock } = makeDialler(low, () => (back ? high : undefined))
  dialler.found(high, [at(1)], { met: true })
  connected.add(high)
  dialler.up(high)
  await pass(1000)
  assert.equal(dials.length, 0)
  connected.delete(high)
  dialler.down(high)
  await pass(600_000)
  const gaps = dials.slice(1).map((dial, index) => dial.atMs - (dials[index]?.atMs ?? 0))
  assert.ok(Math.max(...gaps) <= 4000, `${Math.max(...gaps)} ms between two dials`)
  assert.ok(dials.length < 200, `${dials.length} dials in ten minutes`)
  back = true
  const before = dials.length
  clock.advance(4000)
  assert.equal(dials.length, before + 1)
  dialler.stop()
  assert.equal(clock.pending, 0)
})

test('when the network changes, everything is tried at once', async () => {
  const { dialler, dials, pass } = makeDialler(low, () => undefined)
  dialler.found(high, [at(1)], { met: true })
  await pass(60_000)
  const before = dials.length
  dialler.wake()
  await pass(600)
  assert.ok(dials.length > before)
})

test('with many members away, all of them together are dialled no more often than few', async () => {
  const { dialler, dials, pass } = makeDialler(low, () => undefined)
  const peers = Array.from({ length: 160 }, (_, index) => `${high.slice(0, -3)}${100 + index}`)
  for (const [index, peer] of peers.entries())
    dialler.addSeeds([`/ip4/198.51.100.${index}/tcp/1`, `/dns4/${peer.toLowerCase()}/tcp/1`])
  await pass(300_000)
  const before = dials.length
  await pass(600_000)
  const perMinute = (dials.length - before) / 10
  assert.ok(perMinute > 30 && perMinute < 120, `${perMinute} dials a minute`)
})

test('when one of many comes back, all the others are tried at once', async () => {
  const { dialler, dials, connected, pass } = makeDialler(low, () => undefined)
  dialler.found(high, [at(1)], { met: true })
  dialler.addSeeds(Array.from({ length: 40 }, (_, index) => `/ip4/198.51.100.${index}/tcp/1`))
  await pass(300_000)
  const before = dials.length
  connected.add(high)
  dialler.up(high)
  await pass(1000)
  assert.ok(dials.length - before >= 40, `${dials.length - before} dials`)
})

test('a peer known from hearsay is forgotten after some dials in vain, a seed is not', async () => {
  const { dialler, dials, pass } = makeDialler(low, () => undefined)
  dialler.found(high, [at(1)])
  await pass(120_000)
  assert.equal(dials.length, 6)
  assert.deepEqual(dialler.away(), [])
  dialler.addSeeds(['/ip4/192.0.2.9/tcp/9', 'nonsense', '/ip4/192.0.2.9/udp/9'])
  await pass(120_000)
  assert.ok(dials.length > 30)
})

test('a seed is dialled until somebody answers, and then stands for that peer', async () => {
  let answers = false
  const { dialler, dials, connected, pass } = makeDialler(high, () => (answers ? low : undefined))
  dialler.addSeeds([`/ip4/192.0.2.9/tcp/9/p2p/${high}`])
  await pass(3000)
  assert.deepEqual(dials[0]?.addresses, ['/ip4/192.0.2.9/tcp/9'])
  answers = true
  await pass(4000)
  connected.add(low)
  dialler.up(low)
  await pass(20_000)
  const before = dials.length
  connected.delete(low)
  dialler.down(low)
  assert.deepEqual(dialler.away(), [low])
  await pass(2000)
  assert.deepEqual(dials[before]?.addresses, [`/ip4/192.0.2.9/tcp/9/p2p/${low}`])
})

test('hearsay cannot push out the address that worked, nor make this node dial without end', async () => {
  const good = `/ip4/192.0.2.1/tcp/1/p2p/${high}`
  let works = true
  const { dialler, dials, connected, pass } = makeDialler(low, (address) =>
    works && address === good ? high : undefined,
  )
  dialler.found(high, [at(1)], { met: true })
  await pass(200)
  connected.add(high)
  dialler.up(high)
  works = false
  for (let host = 2; host < 200; host += 1) dialler.found(high, [at(host)], { alive: true })
  connected.delete(high)
  dialler.down(high)
  const before = dials.length
  for (let step = 0; step < 40; step += 1) {
    dialler.found(high, [at(100 + step)], { alive: true })
    await pass(50)
  }
  assert.ok(dials.length - before <= 5, `${dials.length - before} dials in two seconds`)
  assert.ok(dials.at(-1)?.addresses.includes(good))
})

test('with enough members nobody else is dialled, but for one that is wanted, once', async () => {
  const { dialler, dials, connected, pass } = makeDialler(low, () => undefined, 1)
  dialler.found(high, [at(1)])
  connected.add('somebody')
  await pass(10_000)
  assert.equal(dials.length, 0)
  dialler.found(high, [at(1)], { wanted: true })
  await pass(10_000)
  assert.equal(dials.length, 1)
})

test('thousands of names at once are not all remembered, and known members stay', async () => {
  const { dialler } = makeDialler(low, () => undefined)
  dialler.found(high, [at(1)], { met: true })
  for (let index = 0; index < 10_000; index += 1) dialler.found(`peer${index}`, [at(index % 250)])
  assert.ok(dialler.away().length <= 512)
  assert.ok(dialler.away().includes(high))
  dialler.stop()
})

test('a dial in vain ends when the peer is heard elsewhere, but not again soon', async () => {
  const clock = new ManualClock()
  const dials: { first: string; signal: AbortSignal; fail(): void }[] = []
  const dialler = new Dialler(
    {
      clock,
      random: () => 0,
      log: silentLogger,
      connected: new Set(),
      maxPeers: 128,
      dial: (addresses, signal) =>
        new Promise((_resolve, reject) => {
          const fail = (): void => reject(new Error('nobody answers'))
          signal.addEventListener('abort', fail)
          dials.push({ first: String(addresses[0]), signal, fail })
        }),
    },
    low,
  )
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  dialler.found(high, [at(1)], { met: true })
  clock.advance(0)
  assert.equal(dials.length, 1)
  clock.advance(1000)
  dialler.found(high, [at(2)], { alive: true })
  assert.equal(dials[0]?.signal.aborted, true)
  await turn()
  clock.advance(0)
  assert.match(dials[1]?.first ?? '', /192\.0\.2\.2/)
  dialler.found(high, [at(3)], { alive: true })
  assert.equal(dials[1]?.signal.aborted, false)
  dialler.stop()
})

test('watchNetwork() tells of new and lost addresses and of sleep, and of nothing else', () => {
  const clock = new ManualClock()
  let addresses = [{ address: '192.0.2.1' }]
  let changes = 0
  const stop = watchNetwork(
    clock,
    () => ({ eth0: addresses, lo: [{ address: '127.0.0.1' }] }),
    () => {
      changes += 1
    },
  )
  clock.advance(60_000)
  assert.equal(changes, 0)
  addresses = [{ address: '192.0.2.2' }]
  clock.advance(2000)
  assert.equal(changes, 1)
  addresses = []
  clock.advance(4000)
  assert.equal(changes, 2)
  clock.sleep(60_000)
  clock.advance(2000)
  assert.equal(changes, 3)
  stop()
  assert.equal(clock.pending, 0)
})
