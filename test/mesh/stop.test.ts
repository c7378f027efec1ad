import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { cidOf } from '../../src/wire/cid.ts'
import { connect, ManualClock, makeMesh, peerEvent, someBytes } from './fixture.ts'
import { createMembership, textOf } from './hiring.ts'

test('after stop() nothing is left of a mesh: no timer of its own, no peer, no open block', async (t) => {
  const clock = new ManualClock()
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, { ...membership }, {}, { clock })
  const b = await makeMesh(t, { ...membership })
  await a.mesh.start()
  b.membership.seeds = a.mesh.addresses()
  const up = peerEvent(a.mesh, b.mesh.peerId, true)
  await b.mesh.start()
  await up
  const bytes = someBytes(50_000)
  a.blocks.put(bytes)
  await b.mesh.fetchBlock(cidOf(bytes), { from: [a.mesh.peerId], maxBytes: bytes.length })
  a.mesh.announce(cidOf(bytes))
  assert.ok(clock.pending > 0)
  const downs: string[] = []
  a.mesh.onPeer((peer, isUp) => {
    if (!isUp) downs.push(peer)
  })
  await a.mesh.stop()
  assert.equal(clock.pending, 0)
  assert.deepEqual(downs, [b.mesh.peerId])
  assert.deepEqual(a.mesh.addresses(), [])
  await a.mesh.stop()
  await assert.rejects(a.mesh.fetchBlock(cidOf(bytes), { from: [], maxBytes: 1 }), { code: 'ERR_PEER_LOST' })
  assert.equal(a.mesh.send(b.mesh.peerId, { case: 'gone', value: {} }), false)
})

test('a stopped mesh can be started again', { timeout: 60_000 }, async (t) => {
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, { ...membership })
  const b = await makeMesh(t, { ...membership })
  await connect(a, b)
  // Both get another port at the next start. Where b listens comes with libp2p's identify, a moment after the connection.
  while (a.mesh.peers().every((peer) => peer.addresses.length === 0)) await setTimeout(10)
  const down = peerEvent(b.mesh, a.mesh.peerId, false)
  await a.mesh.stop()
  await down
  const up = peerEvent(b.mesh, a.mesh.peerId, true)
  await a.mesh.start()
  await up
})

test('a port that is taken is named', async (t) => {
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, membership)
  await a.mesh.start()
  const port = Number(/tcp\/(\d+)/.exec(a.mesh.addresses()[0] ?? '')?.[1])
  const b = await makeMesh(t, membership, { port })
  await assert.rejects(b.mesh.start(), { code: 'ERR_CONFIG' })
  const c = await makeMesh(t, membership, { listen: ['nowhere'] })
  await assert.rejects(c.mesh.start(), { code: 'ERR_CONFIG' })
  const d = await makeMesh(t, membership, { stateDir: a.stateDir })
  await assert.rejects(d.mesh.start(), { code: 'ERR_DAEMON_RUNNING' })
})

test('stop() ends although a peer is frozen and does not read', { timeout: 60_000 }, async (t) => {
  const a = await makeMesh(t)
  await a.mesh.start()
  const up = new Promise<string>((resolve) => a.mesh.onPeer((peer) => resolve(peer)))
  const program = fileURLToPath(new URL('mdns-node.ts', import.meta.url))
  const link = textOf({ ...a.membership, seeds: a.mesh.addresses() })
  const child = spawn(process.execPath, [program, link], { stdio: ['pipe', 'ignore', 'inherit'] })
  const closed = once(child, 'close')
  const peer = await up
  child.kill('SIGSTOP')
  const result = someBytes(4_000_000)
  while (a.mesh.send(peer, { case: 'done', value: { result } })) await new Promise((resolve) => setImmediate(resolve))
  await a.mesh.stop()
  child.kill('SIGCONT')
  child.stdin.end()
  assert.deepEqual(await closed, [0, null])
})

test('a process in which two meshes have stopped ends by itself', { timeout: 60_000 }, async () => {
  const program = fileURLToPath(new URL('two-meshes.ts', import.meta.url))
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const [code] = await once(child, 'close')
  assert.deepEqual([code, output], [0, 'stopped\n'])
})
