import assert from 'node:assert/strict'
import { connect as connectTcp } from 'node:net'
import { type TestContext, test } from 'node:test'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'
import type { Membership } from '../../src/mesh/membership.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { bothUp, makeHost, makeMesh, someBytes, streamClosed } from './fixture.ts'
import { createMembership } from './hiring.ts'

/** A node on which every protocol handler counts. */
async function guarded(t: TestContext, membership: Membership) {
  const host = await makeHost(t, membership)
  const seen = { connections: 0, handlers: 0 }
  host.addEventListener('connection:open', () => {
    seen.connections += 1
  })
  for (const protocol of host.getProtocols()) {
    await host.unhandle(protocol)
    await host.handle(protocol, (stream) => {
      seen.handlers += 1
      stream.abort(new Error('counted'))
    })
  }
  return { host, seen, addresses: host.getMultiaddrs() }
}

test('a stranger with another secret runs no handler and keeps no connection', async (t) => {
  const { host, seen, addresses } = await guarded(t, createMembership({ name: 'ours' }))
  const stranger = await makeHost(t, createMembership({ name: 'theirs' }))
  await assert.rejects(stranger.dial(addresses), { name: 'EncryptionFailedError' })
  assert.deepEqual(stranger.getConnections(), [])
  assert.deepEqual(host.getConnections(), [])
  assert.deepEqual(seen, { connections: 0, handlers: 0 })
})

test('a member that dials the same way does run handlers', async (t) => {
  const membership = createMembership({ name: 'ours' })
  const { seen, addresses } = await guarded(t, membership)
  const member = await makeHost(t, membership)
  const connection = await member.dial(addresses)
  const stream = await connection.newStream('/shoal/ping/1.0.0')
  await streamClosed(stream)
  assert.ok(seen.connections === 1 && seen.handlers > 0)
})

test('a stranger without any secret runs no handler, whichever way it dials', async (t) => {
  const { host, seen, addresses } = await guarded(t, createMembership({ name: 'ours' }))
  const stranger = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  })
  t.after(() => stranger.stop())
  await assert.rejects(stranger.dial(addresses))
  await assert.rejects(host.dial(stranger.getMultiaddrs()))
  assert.deepEqual(seen, { connections: 0, handlers: 0 })
})

test('what is not a handshake is cut off', async (t) => {
  const { host, seen, addresses } = await guarded(t, createMembership({ name: 'ours' }))
  const [, port] = addresses[0]?.getComponents() ?? []
  const multistream = Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n')
  for (const bytes of [
    someBytes(4000),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.concat([multistream, someBytes(5000)]),
  ]) {
    const socket = connectTcp(Number(port?.value), '127.0.0.1')
    // Being reset is one way of being cut off.
    socket.on('error', () => undefined)
    socket.resume()
    socket.write(bytes)
    await new Promise((resolve) => socket.on('close', resolve))
  }
  assert.deepEqual(seen, { connections: 0, handlers: 0 })
  assert.deepEqual(host.getConnections(), [])
})

test('two meshes in one process keep to themselves', async (t) => {
  const ours = createMembership({ name: 'ours' })
  const theirs = createMembership({ name: 'theirs' })
  const [a, b] = [await makeMesh(t, { ...ours }), await makeMesh(t, { ...ours })]
  const [c, d] = [await makeMesh(t, { ...theirs }), await makeMesh(t, { ...theirs })]
  const pairs = Promise.all([bothUp(a.mesh, b.mesh), bothUp(c.mesh, d.mesh)])
  await a.mesh.start()
  await c.mesh.start()
  // Each is told the addresses of both meshes.
  b.membership.seeds = [...a.mesh.addresses(), ...c.mesh.addresses()]
  d.membership.seeds = [...c.mesh.addresses(), ...a.mesh.addresses()]
  await b.mesh.start()
  await d.mesh.start()
  await pairs
  const known = ({ mesh }: { mesh: Mesh }): string[] => mesh.peers().map((peer) => peer.peerId)
  assert.deepEqual([known(a), known(b)], [[b.mesh.peerId], [a.mesh.peerId]])
  assert.deepEqual([known(c), known(d)], [[d.mesh.peerId], [c.mesh.peerId]])
})
