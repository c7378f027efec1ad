import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { type ControlBody, type ControlMessage, controlProtocol } from '../../src/mesh/control.ts'
import { encodeFrame, FrameReader } from '../../src/mesh/frames.ts'
import type { Host } from '../../src/mesh/host.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { ControlFrameSchema } from '../../src/wire/generated/control_pb.ts'
import {
  connect,
  dial,
  LogBook,
  ManualClock,
  makeHost,
  makeMesh,
  orderedDirectories,
  peerEvent,
  someBytes,
  streamClosed,
  type TestMesh,
} from './fixture.ts'
import { createMembership } from './hiring.ts'

const KiB = 1024
const MiB = 1024 * KiB
const hello: ControlMessage = { case: 'hello', value: { versionMin: 1, versionMax: 1, name: 'rogue' } }

function say(stream: Stream, body: ControlMessage): void {
  stream.send(encodeFrame(toBinary(ControlFrameSchema, create(ControlFrameSchema, { body }))))
}

function hear(stream: Stream, onFrame: (body: ControlBody) => void): void {
  const reader = new FrameReader({ smallBytes: 5 * MiB, of: () => 0 }, (frame) => {
    const { body } = fromBinary(ControlFrameSchema, frame)
    if (body.case !== undefined) onFrame(body)
  })
  stream.addEventListener('message', (event: StreamMessageEvent) => reader.push(event.data))
}

interface Pair {
  node: TestMesh
  log: LogBook
  clock: ManualClock
  rogue: Host
  rogueId: string
  /** The control streams that the mesh opens to the rogue, in order. */
  streams: AsyncGenerator<Stream>
}

/** A mesh node with the lower peerId, and a member that does on its control stream what the test tells it to. */
async function withRogue(t: TestContext, time: 'manual' | 'real'): Promise<Pair> {
  const [lower, higher] = await orderedDirectories(t)
  const log = new LogBook()
  const clock = new ManualClock()
  const needs = time === 'manual' ? { log, clock } : { log }
  const node = await makeMesh(t, createMembership({ name: 'test' }), { stateDir: lower }, needs)
  await node.mesh.start()
  const rogue = await makeHost(t, node.membership, higher)
  const arrived: Stream[] = []
  let notify = (): void => undefined
  await rogue.handle(controlProtocol, (stream) => {
    arrived.push(stream)
    notify()
  })
  async function* streams(): AsyncGenerator<Stream> {
    for (;;) {
      const stream = arrived.shift()
      if (stream !== undefined) yield stream
      else
        await new Promise<void>((resolve) => {
          notify = resolve
        })
    }
  }
  return { node, log, clock, rogue, rogueId: rogue.peerId.toString(), streams: streams() }
}

async function next(streams: AsyncGenerator<Stream>): Promise<Stream> {
  const { value } = await streams.next()
  assert.ok(value)
  return value
}

function framesAt(mesh: Mesh, count: number): Promise<ControlBody[]> {
  return new Promise((resolve) => {
    const bodies: ControlBody[] = []
    mesh.onFrame((_peer, body) => {
      bodies.push(body)
      if (bodies.length === count) resolve(bodies)
    })
  })
}

test('an action of 1 MiB and a result of 4 MiB pass, between small frames and in order', async (t) => {
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, { ...membership })
  const b = await makeMesh(t, { ...membership })
  await connect(a, b)
  const [action, result] = [someBytes(MiB), someBytes(4 * MiB)]
  const arrived = framesAt(b.mesh, 5)
  const sent: ControlMessage[] = [
    { case: 'gone', value: { reservation: 1n } },
    { case: 'award', value: { action } },
    { case: 'gone', value: { reservation: 2n } },
    { case: 'done', value: { result } },
    { case: 'gone', value: { reservation: 3n } },
  ]
  for (const body of sent) assert.equal(a.mesh.send(b.mesh.peerId, body), true)
  const bodies = await arrived
  assert.deepEqual(
    bodies.map((body) => body.case),
    ['gone', 'award', 'gone', 'done', 'gone'],
  )
  assert.deepEqual(bodies[1]?.case === 'award' && bodies[1].value.action, action)
  assert.deepEqual(bodies[3]?.case === 'done' && bodies[3].value.result, result)
})

test('send() refuses a frame larger than its kind allows, and peers that are not there', async (t) => {
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, { ...membership })
  const b = await makeMesh(t, { ...membership })
  await connect(a, b)
  const large: ControlMessage[] = [
    { case: 'goodbye', value: { reason: 'x'.repeat(64 * KiB) } },
    { case: 'award', value: { action: someBytes(MiB + 65 * KiB) } },
    { case: 'done', value: { result: someBytes(4 * MiB + 65 * KiB) } },
  ]
  for (const body of large) assert.throws(() => a.mesh.send(b.mesh.peerId, body), { code: 'ERR_LIMIT' })
  assert.equal(a.mesh.send('12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN', hello), false)
})

const oversized = encodeFrame(
  toBinary(
    ControlFrameSchema,
    create(ControlFrameSchema, { body: { case: 'bid', value: { lacks: [someBytes(65 * KiB)] } } }),
  ),
)
const disguised = Buffer.concat([
  toBinary(ControlFrameSchema, create(ControlFrameSchema, { body: { case: 'award', value: {} } })),
  toBinary(
    ControlFrameSchema,
    create(ControlFrameSchema, { body: { case: 'bid', value: { lacks: [someBytes(65 * KiB)] } } }),
  ),
])
const breaches: [string, Uint8Array][] = [
  ['garbage', Buffer.concat([someBytes(500), new Uint8Array(70_000).fill(0xff)])],
  ['a frame above the limit', oversized],
  ['a frame above the limit behind an award', encodeFrame(disguised)],
  ['a truncated message', encodeFrame(Uint8Array.of(0x7a, 0x7f))],
  ['a second hello', encodeFrame(toBinary(ControlFrameSchema, create(ControlFrameSchema, { body: hello })))],
]
for (const [what, bytes] of breaches) {
  test(`${what} ends the control stream with ERR_DECODE, and another is opened`, async (t) => {
    const { node, log, rogue, rogueId, streams } = await withRogue(t, 'real')
    const up = peerEvent(node.mesh, rogueId, true)
    await dial(rogue, node.mesh)
    const first = await next(streams)
    say(first, hello)
    await up
    const down = peerEvent(node.mesh, rogueId, false)
    const closed = streamClosed(first)
    first.send(bytes)
    await Promise.all([log.code('ERR_DECODE'), down, closed])
    assert.equal(node.mesh.peers()[0]?.connected, false)
    const again = peerEvent(node.mesh, rogueId, true)
    const second = await next(streams)
    say(second, hello)
    await again
  })
}

test('anything before hello, and a peer of another version, are turned away', async (t) => {
  const { node, log, rogue, streams } = await withRogue(t, 'real')
  node.mesh.onPeer(() => assert.fail('the peer must not come up'))
  node.mesh.onFrame(() => assert.fail('no frame must be handed on'))
  await dial(rogue, node.mesh)
  const first = await next(streams)
  const closed = streamClosed(first)
  say(first, { case: 'goodbye', value: {} })
  await Promise.all([closed, log.code('ERR_DECODE')])
  const second = await next(streams)
  say(second, { case: 'hello', value: { versionMin: 2, versionMax: 3 } })
  await Promise.all([streamClosed(second), log.code('ERR_UNSUPPORTED')])
})

test('a peer that also speaks later versions is welcome, and frames of theirs are ignored and counted', async (t) => {
  const { node, rogue, rogueId, streams } = await withRogue(t, 'real')
  const up = peerEvent(node.mesh, rogueId, true)
  await dial(rogue, node.mesh)
  const stream = await next(streams)
  say(stream, { case: 'hello', value: { versionMin: 1, versionMax: 9, name: 'from\u001bthe future' } })
  await up
  const arrived = framesAt(node.mesh, 1)
  stream.send(encodeFrame(Uint8Array.of(0xf2, 0x07, 3, 1, 2, 3)))
  stream.send(encodeFrame(new Uint8Array(0)))
  say(stream, { case: 'goodbye', value: {} })
  assert.equal((await arrived)[0]?.case, 'goodbye')
  assert.equal(node.mesh.peers()[0]?.unknownFrames, 2)
  assert.equal(node.mesh.peers()[0]?.name, 'from the future')
})

test('a peer that does not say hello is not waited for', async (t) => {
  const { clock, log, rogue, node, streams } = await withRogue(t, 'manual')
  await dial(rogue, node.mesh)
  const stream = await next(streams)
  const closed = streamClosed(stream)
  clock.advance(4000)
  assert.equal(stream.status, 'open')
  clock.advance(1000)
  await Promise.all([closed, log.code('ERR_DEADLINE')])
})

test('a watched peer is pinged every second, suspect after three of silence, and not once it is heard', async (t) => {
  const { clock, rogue, rogueId, node, streams } = await withRogue(t, 'manual')
  const suspects: boolean[] = []
  const changes: (() => void)[] = []
  node.mesh.onSuspect((peer, suspect) => {
    assert.equal(peer, rogueId)
    suspects.push(suspect)
    changes.shift()?.()
  })
  const up = peerEvent(node.mesh, rogueId, true)
  await dial(rogue, node.mesh)
  const stream = await next(streams)
  const pings: bigint[] = []
  let onPing = (): void => undefined
  hear(stream, (body) => {
    if (body.case !== 'ping') return
    pings.push(body.value.nonce)
    onPing()
  })
  say(stream, hello)
  await up
  await clock.pass(20_000)
  assert.deepEqual(suspects, [])
  const stop = node.mesh.watch(rogueId)
  clock.advance(2000)
  assert.deepEqual(suspects, [])
  clock.advance(1000)
  assert.deepEqual(suspects, [true])
  assert.equal(node.mesh.peers()[0]?.suspect, true)
  assert.equal(node.mesh.peers()[0]?.connected, true)

  const measured = new Promise<void>((resolve) => {
    onPing = resolve
  })
  clock.advance(1000)
  await measured
  const heard = new Promise<void>((resolve) => {
    node.mesh.onFrame(() => resolve())
  })
  clock.advance(40)
  for (const nonce of pings.slice(-1)) say(stream, { case: 'pong', value: { nonce } })
  say(stream, { case: 'gone', value: {} })
  await heard
  clock.advance(1000)
  assert.deepEqual(suspects, [true, false])
  assert.equal(node.mesh.peers()[0]?.rttMs, 40)
  stop()
})

test('a watched peer that stays silent loses its connection', async (t) => {
  const { clock, rogue, rogueId, node, streams } = await withRogue(t, 'manual')
  const up = peerEvent(node.mesh, rogueId, true)
  const connection = await dial(rogue, node.mesh)
  say(await next(streams), hello)
  await up
  node.mesh.watch(rogueId)
  const down = peerEvent(node.mesh, rogueId, false)
  const closed = new Promise((resolve) => connection.addEventListener('close', resolve))
  await clock.pass(15_000)
  await Promise.all([down, closed])
})

test('a peer that reads nothing cannot make this node keep more than the bound', async (t) => {
  const { node, rogue, rogueId, streams, clock, log } = await withRogue(t, 'manual')
  const up = peerEvent(node.mesh, rogueId, true)
  await dial(rogue, node.mesh)
  const stream = await next(streams)
  say(stream, hello)
  queueMicrotask(() => stream.pause())
  await up
  const result = someBytes(4 * MiB)
  let accepted = 0
  const closed = streamClosed(stream)
  for (let quiet = 0; quiet < 50; quiet += 1) {
    while (node.mesh.send(rogueId, { case: 'done', value: { result } })) {
      accepted += 1
      quiet = 0
      assert.ok(accepted < 20, 'the queue has no end')
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(accepted >= 4, `${accepted} results taken`)
  await clock.pass(20_000)
  await Promise.all([closed, log.code('ERR_DEADLINE')])
})

test('only the member with the lower peerId opens the control stream', async (t) => {
  const { node, rogue, rogueId, streams } = await withRogue(t, 'real')
  const up = peerEvent(node.mesh, rogueId, true)
  const connection = await dial(rogue, node.mesh)
  say(await next(streams), hello)
  await up
  const stream = await connection.newStream(controlProtocol)
  await streamClosed(stream)
  assert.equal(node.mesh.peers()[0]?.connected, true)
})

test('a peer that closes its stream is down at once and comes up on the next', async (t) => {
  const { node, rogue, rogueId, streams } = await withRogue(t, 'real')
  const up = peerEvent(node.mesh, rogueId, true)
  await dial(rogue, node.mesh)
  const first = await next(streams)
  say(first, hello)
  await up
  const down = peerEvent(node.mesh, rogueId, false)
  await first.close()
  await down
  const again = peerEvent(node.mesh, rogueId, true)
  say(await next(streams), hello)
  await again
})

test('a newer control stream replaces the one before it', async (t) => {
  const [lower, higher] = await orderedDirectories(t)
  const node = await makeMesh(t, createMembership({ name: 'test' }), { stateDir: higher })
  await node.mesh.start()
  const rogue = await makeHost(t, node.membership, lower)
  const rogueId = rogue.peerId.toString()
  const up = peerEvent(node.mesh, rogueId, true)
  const connection = await dial(rogue, node.mesh)
  const first = await connection.newStream(controlProtocol)
  say(first, hello)
  await up
  const [down, again, closed] = [
    peerEvent(node.mesh, rogueId, false),
    peerEvent(node.mesh, rogueId, true),
    streamClosed(first),
  ]
  const second = await connection.newStream(controlProtocol)
  say(second, hello)
  await Promise.all([down, again, closed])
})

test('a handler that throws is logged and harms nobody', async (t) => {
  const { node, log, rogue, rogueId, streams } = await withRogue(t, 'real')
  const up = peerEvent(node.mesh, rogueId, true)
  await dial(rogue, node.mesh)
  const stream = await next(streams)
  say(stream, hello)
  await up
  node.mesh.onFrame(() => {
    throw new Error('a bug elsewhere')
  })
  const arrived = framesAt(node.mesh, 2)
  say(stream, { case: 'gone', value: {} })
  say(stream, { case: 'gone', value: {} })
  await arrived
  await log.code('ERR_INTERNAL')
})
