import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { StreamMessageEvent } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { type Logger, silentLogger } from '../../src/base/log.ts'
import { controlProtocol } from '../../src/mesh/control.ts'
import { encodeFrame, FrameReader } from '../../src/mesh/frames.ts'
import { ControlFrameSchema } from '../../src/wire/generated/control_pb.ts'
import {
  bothUp,
  connect,
  dial,
  ManualClock,
  makeHost,
  makeMesh,
  orderedDirectories,
  peerEvent,
  type TestMesh,
  temporaryDirectory,
} from './fixture.ts'
import { createMembership } from './hiring.ts'

function portOf({ mesh }: TestMesh): number {
  return Number(multiaddr(mesh.addresses()[0]).getComponents()[1]?.value)
}

for (const who of ['lower', 'higher']) {
  test(`a member (${who} peerId) that comes back on another port is met again without help`, async (t) => {
    const directories = await orderedDirectories(t)
    const [goes, stays] = who === 'lower' ? directories : directories.toReversed()
    assert.ok(goes && stays)
    const membership = createMembership({ name: 'test' })
    const a = await makeMesh(t, { ...membership }, { stateDir: stays })
    const b = await makeMesh(t, { ...membership }, { stateDir: goes })
    await connect(a, b)
    const before = portOf(b)
    const down = peerEvent(a.mesh, b.mesh.peerId, false)
    await b.mesh.stop()
    await down
    assert.equal((await stat(join(goes, 'members.json'))).mode & 0o777, 0o600)
    // Somebody else has its port by now.
    const other = createServer().listen(before, '127.0.0.1')
    await once(other, 'listening')
    t.after(() => other.close())

    const again = await makeMesh(t, { ...membership }, { stateDir: goes })
    assert.equal(again.mesh.peerId, b.mesh.peerId)
    const up = bothUp(a.mesh, again.mesh)
    await again.mesh.start()
    await up
    assert.notEqual(portOf(again), before)
  })
}

test('two members that were both switched off meet again, though nothing but their memory says where', async (t) => {
  const [first, second] = await orderedDirectories(t)
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, { ...membership }, { stateDir: first })
  const b = await makeMesh(t, { ...membership }, { stateDir: second })
  await connect(a, b)
  const before = [a, b].map(portOf)
  await Promise.all([a.mesh.stop(), b.mesh.stop()])
  const again = [
    await makeMesh(t, { ...membership }, { stateDir: first }),
    await makeMesh(t, { ...membership }, { stateDir: second }),
  ] as const
  const up = bothUp(again[0].mesh, again[1].mesh)
  for (const { mesh } of again) await mesh.start()
  assert.deepEqual(again.map(portOf), before)
  await up
})

test('a port that somebody takes between the look and the listening is no reason not to start', async (t) => {
  const stateDir = await temporaryDirectory(t)
  const membership = createMembership({ name: 'test' })
  const first = await makeMesh(t, membership, { stateDir })
  await first.mesh.start()
  const before = portOf(first)
  await first.mesh.stop()
  const takers: Server[] = []
  t.after(() => takers.forEach((taker) => void taker.close()))
  const warn = (): void => {
    if (takers.length === 0) takers.push(createServer().listen(before))
  }
  const log: Logger = { ...silentLogger, warn, child: () => log }
  // What is said of this is said in between.
  await writeFile(join(stateDir, 'members.json'), '?', { mode: 0o600 })
  const again = await makeMesh(t, membership, { stateDir }, { log })
  await again.mesh.start()
  assert.ok(takers.length > 0)
  assert.notEqual(portOf(again), before)
})

test('a member that comes back knowing nobody is met again by those who remember it', async (t) => {
  const [lower, higher] = await orderedDirectories(t)
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, { ...membership }, { stateDir: higher })
  const first = await makeMesh(t, { ...membership }, { stateDir: lower })
  await connect(first, a)
  const port = portOf(first)
  const down = peerEvent(a.mesh, first.mesh.peerId, false)
  const again = await makeMesh(t, { ...membership }, { stateDir: lower, port })
  const up = peerEvent(a.mesh, first.mesh.peerId, true)
  await first.mesh.stop()
  await down
  await rm(join(lower, 'members.json'))
  await rm(join(lower, 'peers'), { recursive: true })
  await again.mesh.start()
  await up
})

test('members that know nobody in common but one meet each other', async (t) => {
  const membership = createMembership({ name: 'test' })
  const middle = await makeMesh(t, { ...membership })
  await middle.mesh.start()
  const seeds = middle.mesh.addresses()
  const a = await makeMesh(t, { ...membership, seeds })
  const b = await makeMesh(t, { ...membership, seeds })
  const up = bothUp(a.mesh, b.mesh)
  await a.mesh.start()
  await b.mesh.start()
  await up
})

test('a damaged address book is an empty one', async (t) => {
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, { ...membership })
  const b = await makeMesh(t, { ...membership })
  const file = join(a.stateDir, 'members.json')
  const member = { peerId: 'x', name: '', addresses: ['/ip4/127.0.0.1/tcp/1'], seenAt: 9e15 }
  const wrongAddress = { ...member, peerId: b.mesh.peerId, addresses: ['/nonsense', '/ip4/127.0.0.1/udp/1'] }
  for (const content of [
    '',
    '{"v":2}',
    JSON.stringify({ v: 1, members: [member] }),
    JSON.stringify({ v: 1, members: [wrongAddress] }),
  ]) {
    await writeFile(file, content)
    await connect(b, a)
    await a.mesh.stop()
    await b.mesh.stop()
    assert.match(await readFile(file, 'utf8'), new RegExp(b.mesh.peerId))
  }
})

const frameOf = (kind: 'ping' | 'pong', nonce: bigint): Uint8Array =>
  encodeFrame(toBinary(ControlFrameSchema, create(ControlFrameSchema, { body: { case: kind, value: { nonce } } })))

/** A mesh node that opens the control stream, and a member that greets on it and answers pings until it is told to fall silent. */
async function withAnswerer(t: TestContext) {
  const [lower, higher] = await orderedDirectories(t)
  const clock = new ManualClock()
  let addresses = [{ address: '192.0.2.1' }]
  const interfaces = (): Record<string, { address: string }[]> => ({ eth0: addresses })
  const node = await makeMesh(t, createMembership({ name: 'test' }), { stateDir: lower }, { clock, interfaces })
  await node.mesh.start()
  const rogue = await makeHost(t, node.membership, higher)
  const said = { silent: false, pings: 0 }
  const carriers: string[] = []
  let answered = (): void => undefined
  let say: (frame: Uint8Array) => void = () => undefined
  /** Resolves when the node has read all that it was answered so far. */
  const heardOut = async (): Promise<void> => {
    const answer = new Promise<void>((resolve) => {
      answered = resolve
    })
    say(frameOf('ping', 1n))
    await answer
  }
  await rogue.handle(controlProtocol, (stream, connection) => {
    carriers.push(connection.id)
    const reader = new FrameReader({ smallBytes: 65_536, of: () => 65_536 }, (frame) => {
      const { body } = fromBinary(ControlFrameSchema, frame)
      if (body.case === 'pong') answered()
      if (body.case !== 'ping') return
      said.pings += 1
      if (!said.silent) stream.send(frameOf('pong', body.value.nonce))
    })
    stream.addEventListener('message', (event: StreamMessageEvent) => reader.push(event.data))
    say = (frame) => void stream.send(frame)
    // A hello of version 1.
    stream.send(encodeFrame(Uint8Array.of(10, 4, 8, 1, 16, 1)))
  })
  const move = (): void => {
    addresses = [{ address: '192.0.2.2' }]
  }
  return { node, rogue, clock, said, carriers, move, heardOut }
}

/** Lets real input and output happen until something is so. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

test('after a change of the network, a connection that gives no sign of life is given up within seconds', async (t) => {
  const { node, rogue, clock, said, move } = await withAnswerer(t)
  const up = peerEvent(node.mesh, rogue.peerId.toString(), true)
  const connection = await dial(rogue, node.mesh)
  await up
  await until(() => said.pings > 0)
  said.silent = true
  const down = peerEvent(node.mesh, rogue.peerId.toString(), false)
  const closed = new Promise((resolve) => connection.addEventListener('close', resolve))
  await clock.pass(8000)
  assert.equal(connection.status, 'open')
  move()
  await clock.pass(4000)
  await Promise.all([down, closed])
})

test('a connection is not given up because this node was too busy to hear of it', async (t) => {
  const { node, rogue, clock, said, move, heardOut } = await withAnswerer(t)
  const up = peerEvent(node.mesh, rogue.peerId.toString(), true)
  const connection = await dial(rogue, node.mesh)
  await up
  await until(() => said.pings > 0)
  await heardOut()
  said.silent = true
  move()
  clock.advance(1000)
  await until(() => said.pings > 1)
  // Whatever lies here unread: both rounds would be over.
  for (let round = 0; round < 4; round += 1) {
    const before = said.pings
    clock.stall(800)
    clock.advance(0)
    await until(() => said.pings > before || connection.status !== 'open')
    assert.equal(connection.status, 'open')
  }
  said.silent = false
  clock.advance(499)
  await heardOut()
  await clock.pass(3000)
  assert.equal(connection.status, 'open')
})

test('one that answers stays', async (t) => {
  const { node, rogue, clock, said, move, heardOut } = await withAnswerer(t)
  const up = peerEvent(node.mesh, rogue.peerId.toString(), true)
  const connection = await dial(rogue, node.mesh)
  await up
  await until(() => said.pings > 0)
  move()
  // The change is seen.
  clock.advance(1000)
  await until(() => said.pings > 1)
  await heardOut()
  await clock.pass(8000)
  assert.equal(connection.status, 'open')
})

test('a member that dials again is met on the new connection when the old one is silent', async (t) => {
  const { node, rogue, clock, said, carriers } = await withAnswerer(t)
  const up = peerEvent(node.mesh, rogue.peerId.toString(), true)
  const first = await dial(rogue, node.mesh)
  await up
  await until(() => said.pings > 0)
  said.silent = true
  const again = rogue.dial(
    node.mesh.addresses().map((address) => multiaddr(address)),
    { force: true },
  )
  await until(() => said.pings > 1)
  said.silent = true
  const upAgain = peerEvent(node.mesh, rogue.peerId.toString(), true)
  await clock.pass(4000)
  await upAgain
  assert.notEqual(first.status, 'open')
  assert.equal(carriers.at(-1), (await again).id)
})

test('of two connections to one peer, the one without the control stream is closed', async (t) => {
  const { node, rogue, clock, said, carriers, heardOut } = await withAnswerer(t)
  const up = peerEvent(node.mesh, rogue.peerId.toString(), true)
  const first = await dial(rogue, node.mesh)
  await up
  await until(() => said.pings > 0)
  const before = said.pings
  const addresses = node.mesh.addresses().map((address) => multiaddr(address))
  const second = await rogue.dial(addresses, { force: true })
  assert.equal(rogue.getConnections().length, 2)
  // The node has noticed, and asked the first whether it is alive. No time may pass before it knows that.
  await until(() => said.pings > before)
  while (second.status === 'open') {
    await heardOut()
    await clock.pass(1000)
  }
  assert.equal(first.status, 'open')
  assert.deepEqual(carriers, [first.id])
})
