import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Host } from '../../src/mesh/host.ts'
import type { Membership } from '../../src/mesh/membership.ts'
import { ProviderRecords } from '../../src/mesh/provider-records.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { afterwards, connect, makeHost, makeMesh, peerEvent, someBytes, temporaryDirectory } from './fixture.ts'
import { createMembership } from './hiring.ts'

interface Node {
  host: Host
  records: ProviderRecords
  /** Members that it heard of through the DHT. */
  heard: Set<string>
}

/** A node that dials nobody by itself. */
async function makeNode(t: TestContext, membership: Membership, stateDir?: string): Promise<Node> {
  const host = await makeHost(t, membership, stateDir)
  const heard = new Set<string>()
  const records = new ProviderRecords({
    clock: systemClock,
    log: silentLogger,
    dht: host.services.dht,
    self: host.peerId,
    connected: () => host.getPeers().length,
    onFound: (peerId) => heard.add(peerId),
  })
  afterwards(t, async () => records.stop())
  return { host, records, heard }
}

function identified(host: Host): Promise<unknown> {
  return new Promise((resolve) => host.addEventListener('peer:identify', resolve, { once: true }))
}

/** Searches until somebody is found: a new connection takes a moment to become part of the DHT. */
async function findAny(node: Node, key: ReturnType<typeof cidOf>): Promise<string[]> {
  for (;;) {
    const found = await node.records.find(key, { deadlineMs: 1000 })
    if (found.length > 0) return found
    await new Promise((resolve) => setImmediate(resolve))
  }
}

test('a record is found by a node that never met the provider', { timeout: 30_000 }, async (t) => {
  const membership = createMembership({ name: 'test' })
  const [provider, middle, asker] = [
    await makeNode(t, membership),
    await makeNode(t, membership),
    await makeNode(t, membership),
  ]
  const key = cidOf(someBytes(32))
  // Announced before anybody is there to take it.
  provider.records.announce(key)
  const known = identified(middle.host)
  await provider.host.dial(middle.host.getMultiaddrs())
  await known
  provider.records.poke()
  // Searching does not show it: the provider itself would answer.
  while (provider.records.waiting > 0) await new Promise((resolve) => setImmediate(resolve))
  await provider.host.end(2000)

  await asker.host.dial(middle.host.getMultiaddrs())
  assert.deepEqual(await findAny(asker, key), [provider.host.peerId.toString()])
  assert.deepEqual(asker.host.getConnections(provider.host.peerId), [])
  assert.ok(asker.heard.has(provider.host.peerId.toString()))
})

test('the provider itself, and keys that nobody announced, are not found', async (t) => {
  const membership = createMembership({ name: 'test' })
  const [a, b] = [await makeNode(t, membership), await makeNode(t, membership)]
  const both = Promise.all([identified(a.host), identified(b.host)])
  await a.host.dial(b.host.getMultiaddrs())
  await both
  const key = cidOf(someBytes(32))
  a.records.announce(key)
  assert.deepEqual(await findAny(b, key), [a.host.peerId.toString()])
  assert.deepEqual(await a.records.find(key), [])
  assert.deepEqual(await b.records.find(cidOf(someBytes(32))), [])
  const stopped = AbortSignal.abort(new Error('not needed'))
  await assert.rejects(b.records.find(key, { signal: stopped }), { message: 'not needed' })
})

test('what was announced in an earlier session is not renewed', async (t) => {
  const membership = createMembership({ name: 'test' })
  const directory = await temporaryDirectory(t)
  const first = await makeNode(t, membership, directory)
  const key = cidOf(someBytes(32))
  for await (const event of first.host.services.dht.provide(key)) void event
  const own = async ({ host }: Node): Promise<string[]> => {
    const providers: string[] = []
    for await (const event of host.services.dht.findProviders(key)) {
      if (event.name === 'PROVIDER') providers.push(...event.providers.map(({ id }) => id.toString()))
    }
    return providers
  }
  // The library answers from the database, so this shows that the record was there.
  await first.host.peerStore.merge(first.host.peerId, { multiaddrs: first.host.getMultiaddrs() })
  assert.deepEqual(await own(first), [first.host.peerId.toString()])
  await first.host.end(2000)
  const second = await makeNode(t, membership, directory)
  await second.host.peerStore.merge(second.host.peerId, { multiaddrs: second.host.getMultiaddrs() })
  assert.deepEqual(await own(second), [])
})

test('the DHT is worth asking only when a member is away, or may be that was not met yet', async (t) => {
  const membership = createMembership({ name: 'test' })
  let later = 0
  const clock = { ...systemClock, now: () => systemClock.now() + later }
  const a = await makeMesh(t, { ...membership }, {}, { clock })
  const b = await makeMesh(t, { ...membership })
  assert.equal(a.mesh.shouldAskDht(), false)
  await connect(a, b)
  assert.equal(a.mesh.shouldAskDht(), true)
  later = 10_000
  assert.equal(a.mesh.shouldAskDht(), false)
  const down = peerEvent(a.mesh, b.mesh.peerId, false)
  await b.mesh.stop()
  await down
  assert.equal(a.mesh.shouldAskDht(), true)
})
