import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { blockProtocol, encodeRequest } from '../../src/mesh/block-frames.ts'
import type { Host } from '../../src/mesh/host.ts'
import { cidOf, dagCborCodec } from '../../src/wire/cid.ts'
import {
  connect,
  dial,
  LogBook,
  ManualClock,
  makeHost,
  makeMesh,
  someBytes,
  streamClosed,
  type TestMesh,
} from './fixture.ts'
import { createMembership } from './hiring.ts'
import { answer, readRequests } from './raw-blocks.ts'

const MB = 1_000_000
const MiB = 1024 * 1024

/** A requester and honest members, all connected. */
async function members(t: TestContext, count: number): Promise<[TestMesh, ...TestMesh[]]> {
  const membership = createMembership({ name: 'test' })
  const log = new LogBook()
  const first = await makeMesh(t, { ...membership }, {}, { log })
  const others = await Promise.all(Array.from({ length: count }, () => makeMesh(t, { ...membership })))
  await connect(first, ...others)
  return [first, ...others]
}

/** A member that treats block streams as it likes, connected to `node`. */
async function rogue(t: TestContext, node: TestMesh, handler: (stream: Stream) => void): Promise<Host> {
  const host = await makeHost(t, node.membership)
  await host.handle(blockProtocol, handler)
  await dial(host, node.mesh)
  return host
}

/** Bytes of array buffers that are in use. */
function liveBytes(): () => number {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  return () => {
    // What one collection finds is given back at the beginning of the next.
    collect()
    collect()
    return process.memoryUsage().arrayBuffers
  }
}

test('a block of 96 MB arrives whole, without a second one of memory', async (t) => {
  const [a, b] = await members(t, 1)
  const bytes = someBytes(96 * MB)
  const cid = b?.blocks.put(bytes)
  assert.ok(b && cid)
  const live = liveBytes()
  const before = live()
  let peak = 0
  const sampler = setInterval(() => {
    peak = Math.max(peak, live() - before)
  }, 200)
  t.after(() => clearInterval(sampler))
  const fetched = await a.mesh.fetchBlock(cid, { from: [b.mesh.peerId], maxBytes: bytes.length })
  assert.equal(Buffer.compare(fetched, bytes), 0)
  assert.ok(peak > 50 * MB && peak < 120 * MB, `${Math.round(peak / MB)} MB besides the block that is served`)
  assert.equal(b.blocks.reads, 1)
})

test('a thousand small blocks, an empty one and one of dag-cbor arrive at once', async (t) => {
  const [a, b] = await members(t, 1)
  assert.ok(b)
  const blocks = Array.from({ length: 1000 }, (_, index) => someBytes(index * 7))
  const from = [b.mesh.peerId]
  const fetched = await Promise.all(
    blocks.map((bytes) => a.mesh.fetchBlock(b.blocks.put(bytes), { from, maxBytes: bytes.length })),
  )
  assert.deepEqual(fetched, blocks)
  const object = someBytes(100)
  const cid = b.blocks.put(object, cidOf(object, dagCborCodec))
  assert.deepEqual(await a.mesh.fetchBlock(cid, { from, maxBytes: 100 * MB }), object)
})

test('wrong bytes are thrown away and the next source is used', async (t) => {
  const [a, liar, honest] = await members(t, 2)
  assert.ok(liar && honest)
  const bytes = someBytes(3 * MB)
  const cid = honest.blocks.put(bytes)
  const flipped = bytes.slice()
  flipped[2 * MB] = (flipped[2 * MB] ?? 0) ^ 1
  for (const wrong of [flipped, bytes.subarray(1), new Uint8Array(0)]) {
    liar.blocks.put(wrong, cid)
    const from: string[] = [liar.mesh.peerId, honest.mesh.peerId]
    assert.deepEqual(await a.mesh.fetchBlock(cid, { from, maxBytes: bytes.length }), bytes)
    const alone = a.mesh.fetchBlock(cid, { from: [liar.mesh.peerId], maxBytes: bytes.length })
    await assert.rejects(alone, { code: 'ERR_BLOCK_MISMATCH', message: new RegExp(liar.mesh.peerId) })
    honest.blocks.put(bytes, cid)
  }
})

test('a block that nobody has is missing', async (t) => {
  const [a, b, c] = await members(t, 2)
  assert.ok(b && c)
  const cid = cidOf(someBytes(10))
  const missing = { code: 'ERR_BLOCK_MISSING' }
  await assert.rejects(a.mesh.fetchBlock(cid, { from: [b.mesh.peerId, c.mesh.peerId], maxBytes: 10 }), missing)
  await assert.rejects(a.mesh.fetchBlock(cid, { from: [], maxBytes: 10 }), missing)
})

test('a block above the cap is refused before its bytes are asked for', async (t) => {
  const [a, b] = await members(t, 1)
  assert.ok(b)
  const bytes = someBytes(1 * MB)
  const cid = b.blocks.put(bytes)
  const options = { from: [b.mesh.peerId], maxBytes: bytes.length - 1 }
  await assert.rejects(a.mesh.fetchBlock(cid, options), { code: 'ERR_BLOCK_TOO_LARGE' })
  assert.deepEqual(await a.mesh.fetchBlock(cid, { ...options, maxBytes: bytes.length }), bytes)
})

test('a source that cannot be read counts as one without the block', async (t) => {
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, { ...membership })
  const source = { get: () => Promise.reject(new Error('disk on fire')) }
  const b = await makeMesh(t, { ...membership }, {}, { source })
  await connect(a, b)
  const fetching = a.mesh.fetchBlock(cidOf(someBytes(5)), { from: [b.mesh.peerId], maxBytes: 5 })
  await assert.rejects(fetching, { code: 'ERR_BLOCK_MISSING' })
})

test('callers of one block share one transfer; who gives up disturbs nobody else', async (t) => {
  const [a, b] = await members(t, 1)
  assert.ok(b)
  const bytes = someBytes(20 * MB)
  const cid = b.blocks.put(bytes)
  const options = { from: [b.mesh.peerId], maxBytes: bytes.length }
  const impatient = new AbortController()
  const [given, ...others] = [
    a.mesh.fetchBlock(cid, { ...options, signal: impatient.signal }),
    a.mesh.fetchBlock(cid, options),
    a.mesh.fetchBlock(cid, { ...options, from: [] }),
  ]
  impatient.abort(new Error('no longer needed'))
  await assert.rejects(given ?? Promise.resolve(), { message: 'no longer needed' })
  const [one, two] = await Promise.all(others)
  assert.ok(one !== undefined && one === two)
  assert.equal(b.blocks.reads, 1)
})

test('at most 2 MiB are asked for at a time, in ranges of at most 1 MiB', async (t) => {
  const [a] = await members(t, 0)
  const block = someBytes(9 * MB)
  let outstanding = 0
  let most = 0
  const host = await rogue(t, a, (stream) =>
    readRequests(stream, (request) => {
      assert.ok(request.length <= MiB)
      outstanding += request.length
      most = Math.max(most, outstanding)
      // Later, so that everything that can be asked for at once has been.
      setImmediate(() => {
        outstanding -= request.length
        answer(stream, request, block)
      })
    }),
  )
  const from = [host.peerId.toString()]
  assert.deepEqual(await a.mesh.fetchBlock(cidOf(block), { from, maxBytes: block.length }), block)
  assert.ok(most > MiB && most <= 2 * MiB, `${most} bytes outstanding`)
})

test('the next source continues where the one before it broke off', async (t) => {
  const [a] = await members(t, 0)
  const block = someBytes(5 * MB)
  const broken = await rogue(t, a, (stream) =>
    readRequests(stream, (request) => {
      if (request.offset < 2 * MiB) answer(stream, request, block)
      else stream.abort(new Error('out of power'))
    }),
  )
  const offsets: number[] = []
  const whole = await rogue(t, a, (stream) =>
    readRequests(stream, (request) => {
      offsets.push(Number(request.offset))
      answer(stream, request, block)
    }),
  )
  const from = [broken.peerId.toString(), whole.peerId.toString()]
  assert.deepEqual(await a.mesh.fetchBlock(cidOf(block), { from, maxBytes: block.length }), block)
  assert.ok((offsets[0] ?? 0) >= MiB, `continued at ${offsets[0]}`)
})

test('wrong bytes from a source that broke off do not spoil the block', async (t) => {
  const [a] = await members(t, 0)
  const block = someBytes(5 * MB)
  const wrong = someBytes(5 * MB)
  const broken = await rogue(t, a, (stream) =>
    readRequests(stream, (request) => {
      if (request.offset < 2 * MiB) answer(stream, request, wrong)
      else stream.abort(new Error('out of power'))
    }),
  )
  const whole = await rogue(t, a, (stream) => readRequests(stream, (request) => answer(stream, request, block)))
  const from = [broken.peerId.toString(), whole.peerId.toString()]
  assert.deepEqual(await a.mesh.fetchBlock(cidOf(block), { from, maxBytes: block.length }), block)
})

test('a source that contradicts itself about the size is given up', { timeout: 20_000 }, async (t) => {
  const [a] = await members(t, 0)
  const block = someBytes(5 * MB)
  const host = await rogue(t, a, (stream) =>
    readRequests(stream, (request) => answer(stream, request, request.offset < MiB ? block : block.subarray(1))),
  )
  const fetching = a.mesh.fetchBlock(cidOf(block), { from: [host.peerId.toString()], maxBytes: block.length })
  await assert.rejects(fetching, { code: 'ERR_BLOCK_MISMATCH' })
})

test('a silent source is left for another after two seconds, a dripping one is given up', async (t) => {
  const membership = createMembership({ name: 'test' })
  const clock = new ManualClock()
  const a = await makeMesh(t, membership, {}, { clock })
  await a.mesh.start()
  const block = someBytes(500_000)
  const asked = Promise.withResolvers<Stream>()
  const silent = await rogue(t, a, (stream) => readRequests(stream, () => asked.resolve(stream)))
  const honest = await rogue(t, a, (stream) => readRequests(stream, (request) => answer(stream, request, block)))
  let drip: ((piece: number) => void) | undefined
  const dripping = await rogue(t, a, (stream) =>
    readRequests(stream, (request) => {
      const bytes = block.subarray(0, request.length)
      const whole: Uint8Array[] = []
      answer({ writeStatus: 'writable', send: (part) => whole.push(part.subarray()) > 0 }, request, bytes)
      const all = Buffer.concat(whole)
      drip = (piece) => stream.status === 'open' && stream.send(all.subarray(piece, piece + 1))
    }),
  )
  const cid = cidOf(block)
  const from = [silent.peerId.toString(), honest.peerId.toString()]
  const first = a.mesh.fetchBlock(cid, { from, maxBytes: block.length })
  const stream = await asked.promise
  clock.advance(1900)
  assert.equal(stream.status, 'open')
  clock.advance(600)
  assert.deepEqual(await first, block)

  const second = a.mesh.fetchBlock(cid, { from: [dripping.peerId.toString()], maxBytes: block.length })
  let isOver = false
  const failed = assert.rejects(second, { code: 'ERR_DEADLINE', message: /too slowly/ }).finally(() => {
    isOver = true
  })
  for (let piece = 0; !isOver; piece += 1) {
    drip?.(piece)
    // On the same connection, so the byte has been read when the answer to the ping comes.
    await dripping.services.ping.ping(peerIdFromString(a.mesh.peerId))
    clock.advance(500)
  }
  await failed
})

test('the only source is asked again while it is connected, and goes on where it stopped', async (t) => {
  const membership = createMembership({ name: 'test' })
  const clock = new ManualClock()
  const a = await makeMesh(t, membership, {}, { clock })
  await a.mesh.start()
  const block = someBytes(5 * MB)
  const offsets: number[][] = []
  const fallsSilent = Promise.withResolvers<void>()
  const host = await rogue(t, a, (stream) => {
    const mine: number[] = []
    offsets.push(mine)
    readRequests(stream, (request) => {
      mine.push(Number(request.offset))
      if (offsets.length > 1 || request.offset < 2 * MiB) answer(stream, request, block)
      else fallsSilent.resolve()
    })
  })
  const options = { from: [host.peerId.toString()], maxBytes: block.length }
  const fetching = a.mesh.fetchBlock(cidOf(block), options)
  let isHere = false
  const here = fetching.finally(() => {
    isHere = true
  })
  await fallsSilent.promise
  while (!isHere) {
    await host.services.ping.ping(peerIdFromString(a.mesh.peerId))
    clock.advance(500)
  }
  assert.deepEqual(await here, block)
  assert.equal(offsets.length, 2)
  assert.ok((offsets[1]?.[0] ?? 0) >= MiB, `went on at ${offsets[1]?.[0]}`)
})

test('a source whose connection is gone is not asked again', async (t) => {
  const clock = new ManualClock()
  const a = await makeMesh(t, undefined, {}, { clock })
  await a.mesh.start()
  let asked = 0
  const host = await rogue(t, a, (stream) =>
    readRequests(stream, () => {
      asked += 1
      for (const connection of host.getConnections()) connection.abort(new Error('out of power'))
    }),
  )
  const fetching = a.mesh.fetchBlock(cidOf(someBytes(9)), { from: [host.peerId.toString()], maxBytes: 9 })
  let isOver = false
  const over = assert.rejects(fetching, { code: 'ERR_PEER_LOST' }).finally(() => {
    isOver = true
  })
  while (!isOver) await clock.pass(100)
  await over
  assert.equal(asked, 1)
})

test('garbage from a source ends its stream and the next source is used', async (t) => {
  const [a, honest] = await members(t, 1)
  assert.ok(honest)
  const bytes = someBytes(100_000)
  const cid = honest.blocks.put(bytes)
  for (const garbage of [
    someBytes(5000),
    new Uint8Array(40),
    Uint8Array.of(2, 0x12, 0),
    Uint8Array.of(0xff, 0xff, 0xff, 0xff),
  ]) {
    const host = await rogue(t, a, (stream) => readRequests(stream, () => stream.send(garbage)))
    const from: string[] = [host.peerId.toString(), honest.mesh.peerId]
    assert.deepEqual(await a.mesh.fetchBlock(cid, { from, maxBytes: bytes.length }), bytes)
    await assert.rejects(a.mesh.fetchBlock(cid, { from: from.slice(0, 1), maxBytes: bytes.length }), {
      code: 'ERR_DECODE',
    })
  }
})

test('garbage from a requester ends its stream and nothing else', async (t) => {
  const log = new LogBook()
  const membership = createMembership({ name: 'test' })
  const a = await makeMesh(t, { ...membership }, {}, { log })
  const b = await makeMesh(t, { ...membership })
  await connect(a, b)
  const host = await makeHost(t, membership)
  const connection = await dial(host, a.mesh)
  for (let round = 0; round < 20; round += 1) {
    const stream = await connection.newStream(blockProtocol)
    const closed = streamClosed(stream)
    // Ended by more of what cannot begin a frame than any frame can hold.
    stream.send(Buffer.concat([someBytes(1 + round * 50), new Uint8Array(5000).fill(0xff)]))
    await closed
  }
  await log.code('ERR_DECODE')
  const bytes = someBytes(1000)
  const cid = a.blocks.put(bytes)
  assert.deepEqual(await b.mesh.fetchBlock(cid, { from: [a.mesh.peerId], maxBytes: 1000 }), bytes)
})

test('a requester that asks for more than it may at a time is cut off', async (t) => {
  const [a] = await members(t, 0)
  const host = await makeHost(t, a.membership)
  const connection = await dial(host, a.mesh)
  const stream = await connection.newStream(blockProtocol)
  const cid = a.blocks.put(someBytes(MiB))
  const many = Array.from({ length: 300 }, (_, id) =>
    encodeRequest({ id: BigInt(id), cid: cid.bytes, offset: 0n, length: MiB }),
  )
  stream.addEventListener('message', () => undefined)
  const closed = once(stream, 'close')
  stream.send(Buffer.concat(many))
  await closed
  assert.equal(stream.status, 'reset')
})

test('a source that is not connected is connected to', async (t) => {
  const [a, b] = await members(t, 1)
  assert.ok(b)
  const bytes = someBytes(1000)
  const cid = b.blocks.put(bytes)
  const stranger = await makeHost(t, a.membership)
  await assert.rejects(a.mesh.fetchBlock(cid, { from: [stranger.peerId.toString(), 'not a peer'], maxBytes: 1000 }), {
    code: 'ERR_PEER_LOST',
  })
  const from: string[] = [stranger.peerId.toString(), b.mesh.peerId]
  assert.deepEqual(await a.mesh.fetchBlock(cid, { from, maxBytes: 1000 }), bytes)
})
