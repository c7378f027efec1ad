import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { Libp2p } from 'libp2p'
import { silentLogger } from '../../src/base/log.ts'
import { blockProtocol } from '../../src/mesh/block-frames.ts'
import { Surplus } from '../../src/mesh/surplus.ts'
import { ManualClock } from './fixture.ts'
import { plainHost } from './hosts.ts'

const idle = 10_000

async function host(t: TestContext): Promise<Libp2p> {
  const made = await plainHost()
  t.after(() => made.stop())
  return made
}

/** A node that has dialled the others one after the other, and what sees to its connections. */
async function dialler(t: TestContext, { others, maxPeers }: { others: Libp2p[]; maxPeers: number }) {
  const clock = new ManualClock()
  const self = await host(t)
  const used = new Set<string>()
  const surplus = new Surplus(
    { clock, log: silentLogger, connections: () => self.getConnections(), isUsed: (peerId) => used.has(peerId) },
    maxPeers,
  )
  for (const other of others) {
    const connection = await self.dial(other.getMultiaddrs())
    // Just now, and none at the same moment as another.
    connection.timeline.open = clock.wall() + others.indexOf(other)
  }
  const closed: string[] = []
  self.addEventListener('peer:disconnect', ({ detail }) => closed.push(detail.toString()))
  surplus.start()
  t.after(() => surplus.stop())
  return {
    self,
    used,
    closed,
    clock,
    /** Time in which this many connections are closed. */
    async pass(ms: number, closes: number): Promise<void> {
      const before = closed.length
      const begun = new Set<string>()
      for (const connection of self.getConnections()) {
        const close = connection.close.bind(connection)
        connection.close = (options) => {
          begun.add(connection.id)
          return close(options)
        }
      }
      clock.advance(ms)
      assert.equal(begun.size, closes)
      while (closed.length < before + closes) await once(self, 'peer:disconnect')
    },
  }
}

const idOf = (node: Libp2p): string => node.peerId.toString()

test('of idle connections beyond the number those that were opened first stay', async (t) => {
  const others = [await host(t), await host(t), await host(t), await host(t)]
  const { closed, pass } = await dialler(t, { others, maxPeers: 2 })
  await pass(idle, 2)
  assert.deepEqual(closed.toSorted(), others.slice(2).map(idOf).toSorted())
})

test('as many as may be are left alone', async (t) => {
  const others = [await host(t), await host(t)]
  const { closed, pass } = await dialler(t, { others, maxPeers: 2 })
  await pass(10 * idle, 0)
  assert.deepEqual(closed, [])
})

test('a connection that others have opened is theirs to close', async (t) => {
  const [first, second] = [await host(t), await host(t)]
  const { self, closed, pass } = await dialler(t, { others: [first], maxPeers: 1 })
  const met = once(self, 'connection:open')
  await second.dial(self.getMultiaddrs())
  await met
  await pass(idle, 0)
  assert.deepEqual(closed, [])
})

test('one that was opened just now, or is in use, is closed only later', async (t) => {
  const others = [await host(t), await host(t)]
  const { closed, used, pass } = await dialler(t, { others, maxPeers: 1 })
  const [, second] = others.map(idOf)
  assert.ok(second)
  await pass(4000, 0)
  used.add(second)
  await pass(idle, 0)
  used.delete(second)
  assert.deepEqual(closed, [])
  await pass(2000, 1)
  assert.deepEqual(closed, [second])
})

test('one over which blocks go is left open until that has ended', async (t) => {
  const others = [await host(t), await host(t)]
  const { self, closed, pass } = await dialler(t, { others, maxPeers: 1 })
  const [, second] = others
  assert.ok(second)
  await second.handle(blockProtocol, () => undefined)
  const [connection] = self.getConnections(second.peerId)
  const stream = await connection?.newStream(blockProtocol)
  assert.ok(stream)
  await pass(idle, 0)
  stream.abort(new Error('done'))
  await pass(2000, 1)
  assert.deepEqual(closed, [idOf(second)])
})

test('after it has stopped nothing is closed', async (t) => {
  const others = [await host(t), await host(t)]
  const clock = new ManualClock()
  const self = await host(t)
  for (const other of others) await self.dial(other.getMultiaddrs())
  const surplus = new Surplus(
    { clock, log: silentLogger, connections: () => self.getConnections(), isUsed: () => false },
    1,
  )
  surplus.start()
  surplus.stop()
  assert.equal(clock.pending, 0)
})
