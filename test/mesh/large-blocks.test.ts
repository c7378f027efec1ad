import assert from 'node:assert/strict'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import type { Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { CID } from 'multiformats/cid'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import {
  blockFrameLimits,
  blockProtocol,
  decodeBlockFrame,
  encodeReply,
  encodeRequest,
} from '../../src/mesh/block-frames.ts'
import { FrameReader } from '../../src/mesh/frames.ts'
import type { Host } from '../../src/mesh/host.ts'
import { chunkBytes, encodeManifest, sha256 } from '../../src/mesh/manifest.ts'
import { type BlockStore, createBlockStore } from '../../src/store/blocks.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { RangeKind, RangeStatus } from '../../src/wire/generated/block_pb.ts'
import { connect, dial, makeHost, makeMesh, someBytes, type TestMesh, temporaryDirectory } from './fixture.ts'
import { createMembership } from './hiring.ts'
import { answer, type RangeRequest, readRequests } from './raw-blocks.ts'

/** A member whose blocks lie in a store on disk. */
interface Stored extends TestMesh {
  store: BlockStore
}

async function stored(t: TestContext, membership = createMembership({ name: 'test' })): Promise<Stored> {
  const dir = join(await temporaryDirectory(t), 'store')
  const store = createBlockStore({ dir, log: silentLogger, maxBytes: 1e9, minFreeBytes: 0 })
  await store.start()
  t.after(() => store.stop())
  return { ...(await makeMesh(t, { ...membership }, {}, { source: store })), store }
}

async function storedMembers(t: TestContext, count: number): Promise<[Stored, ...Stored[]]> {
  const membership = createMembership({ name: 'test' })
  const first = await stored(t, membership)
  const others = await Promise.all(Array.from({ length: count - 1 }, () => stored(t, membership)))
  await connect(first, ...others)
  return [first, ...others]
}

async function fetchTo({ mesh, store }: Stored, cid: CID, size: number, from: string[]): Promise<void> {
  const signal = AbortSignal.timeout(60_000)
  await mesh.fetchFile(cid, { from, size, signal, keep: (fill) => store.putLarge(cid, size, fill) })
}

/** A member that serves `block` and `manifest` as `serve` likes: false for what it leaves to the honest way. */
async function rogue(
  t: TestContext,
  node: TestMesh,
  block: Uint8Array,
  serve: (stream: Stream, request: RangeRequest) => boolean,
  manifest = manifestOf(block),
): Promise<Host> {
  const host = await makeHost(t, node.membership)
  const contentOf = (kind: RangeKind): Uint8Array => {
    if (kind === RangeKind.OTHERS) return new Uint8Array()
    return kind === RangeKind.MANIFEST ? manifest : block
  }
  await host.handle(blockProtocol, (stream: Stream) =>
    readRequests(stream, (request) => {
      if (!serve(stream, request)) answer(stream, request, contentOf(request.kind))
    }),
  )
  await dial(host, node.mesh)
  return host
}

function manifestOf(block: Uint8Array): Uint8Array {
  const count = Math.ceil(block.length / chunkBytes)
  const chunks = Array.from({ length: count }, (_, at) => block.subarray(at * chunkBytes, (at + 1) * chunkBytes))
  return encodeManifest(block.length, chunks.map(sha256))
}

const idOf = (host: Host): string => host.peerId.toString()

test('a large block goes from store to store without ever being in memory', async (t) => {
  const [a, b] = await storedMembers(t, 2)
  assert.ok(b)
  const block = someBytes(5 * chunkBytes + 17)
  const cid = await b.store.put(block)
  await fetchTo(a, cid, block.length, [b.mesh.peerId])
  assert.equal(Buffer.compare((await a.store.get(cid)) ?? new Uint8Array(), block), 0)
})

test('chunks come from every source, and from another when one breaks off', async (t) => {
  const a = await stored(t)
  await a.mesh.start()
  const block = someBytes(12 * chunkBytes)
  const served = [new Set<number>(), new Set<number>()]
  let breaks = 0
  const hosts = await Promise.all(
    served.map((chunks, which) =>
      rogue(t, a, block, (stream, { id, kind, offset }) => {
        if (kind !== RangeKind.BLOCK) return false
        if (which === 1 && chunks.size > 2) {
          breaks += 1
          stream.abort(new Error('out of power'))
          return true
        }
        const index = Math.floor(Number(offset) / chunkBytes)
        // Half of the block is with the second source alone, until that is gone.
        if (which === 0 && index >= 6 && breaks === 0) {
          stream.send(encodeReply({ id, status: RangeStatus.BUSY }))
          return true
        }
        chunks.add(index)
        return false
      }),
    ),
  )
  await fetchTo(a, cidOf(block), block.length, hosts.map(idOf))
  assert.equal(Buffer.compare((await a.store.get(cidOf(block))) ?? new Uint8Array(), block), 0)
  assert.ok((served[1]?.size ?? 0) > 0, 'the second source was used')
  assert.ok(breaks > 0)
})

test('a source with wrong chunks is found out, and the block is right all the same', async (t) => {
  const a = await stored(t)
  await a.mesh.start()
  const block = someBytes(8 * chunkBytes)
  const wrong = block.map((byte, at) => (at % 1000 === 0 ? byte ^ 1 : byte))
  const liar = await rogue(t, a, wrong, () => false, manifestOf(block))
  const honest = await rogue(t, a, block, () => false)
  for (const from of [
    [idOf(liar), idOf(honest)],
    [idOf(honest), idOf(liar)],
  ]) {
    await fetchTo(a, cidOf(block), block.length, from)
    assert.equal(Buffer.compare((await a.store.get(cidOf(block))) ?? new Uint8Array(), block), 0)
    await a.store.remove(cidOf(block))
  }
  await assert.rejects(fetchTo(a, cidOf(block), block.length, [idOf(liar)]), { code: 'ERR_BLOCK_MISMATCH' })
  assert.equal(await a.store.get(cidOf(block)), undefined)
})

test('a false manifest does not make a false block', async (t) => {
  const a = await stored(t)
  await a.mesh.start()
  const block = someBytes(8 * chunkBytes)
  const wrong = someBytes(block.length)
  // Two that agree on the lie, and one that does not.
  const liars = await Promise.all([rogue(t, a, wrong, () => false), rogue(t, a, wrong, () => false)])
  const honest = await rogue(t, a, block, () => false)
  const from = [...liars, honest].map(idOf)
  await fetchTo(a, cidOf(block), block.length, from)
  assert.equal(Buffer.compare((await a.store.get(cidOf(block))) ?? new Uint8Array(), block), 0)
})

test('members that fetch the same block serve each other', async (t) => {
  const [a, b] = await storedMembers(t, 2)
  assert.ok(b)
  const block = someBytes(12 * chunkBytes)
  const cid = cidOf(block)
  const last = block.length - chunkBytes
  // The seed keeps the first member waiting for the last chunk, and gives the second nothing else than that one.
  let isReleased = false
  const given = new Set<number>()
  const allButLast = Promise.withResolvers<void>()
  const seed = await makeHost(t, a.membership)
  await seed.handle(blockProtocol, (stream: Stream, connection) => {
    const isFirst = connection.remotePeer.toString() === a.mesh.peerId
    readRequests(stream, (request) => {
      const { id, kind } = request
      const isLast = Number(request.offset) >= last
      if (kind === RangeKind.OTHERS) {
        stream.send(encodeReply({ id, status: RangeStatus.OK, others: isFirst ? [b.mesh.peerId] : [a.mesh.peerId] }))
      } else if (kind === RangeKind.MANIFEST) answer(stream, request, manifestOf(block))
      else if (isReleased || isFirst !== isLast) {
        answer(stream, request, block)
        if (isFirst) given.add(Number(request.offset))
        if (given.size === 11) allButLast.resolve()
      } else stream.send(encodeReply({ id, status: RangeStatus.BUSY }))
    })
  })
  await dial(seed, a.mesh)
  await dial(seed, b.mesh)
  const first = fetchTo(a, cid, block.length, [idOf(seed)])
  await allButLast.promise
  await fetchTo(b, cid, block.length, [idOf(seed)])
  isReleased = true
  await first
  for (const { store } of [a, b]) assert.equal(Buffer.compare((await store.get(cid)) ?? new Uint8Array(), block), 0)
})

test('what several streams ask for at once is not mixed up', async (t) => {
  const b = await stored(t)
  await b.mesh.start()
  const block = someBytes(16 * chunkBytes)
  const cid = await b.store.put(block)
  const host = await makeHost(t, b.membership)
  const connection = await dial(host, b.mesh)
  const readAll = async (stream: Stream): Promise<void> => {
    const parts: Uint8Array[] = []
    await new Promise<void>((resolve) => {
      let left = block.length
      const reader = new FrameReader(blockFrameLimits, (frame) => {
        const body = decodeBlockFrame(frame)
        reader.expectRaw(body.case === 'reply' ? body.value.length : 0, (bytes) => {
          parts.push(bytes)
          left -= bytes.length
          if (left === 0) resolve()
        })
      })
      stream.addEventListener('message', (event) => reader.push(event.data))
      for (let at = 0; at < block.length; at += chunkBytes) {
        stream.send(encodeRequest({ id: BigInt(at), cid: cid.bytes, offset: BigInt(at), length: chunkBytes }))
      }
    })
    assert.equal(Buffer.compare(Buffer.concat(parts), block), 0)
    stream.abort(new Error('done'))
  }
  const streams = await Promise.all(Array.from({ length: 4 }, () => connection.newStream(blockProtocol)))
  await Promise.all(streams.map(readAll))
})

test('a requester that reads nothing makes no server keep more than a few ranges for it', async (t) => {
  const b = await stored(t)
  await b.mesh.start()
  const block = someBytes(64 * chunkBytes)
  const cid = await b.store.put(block)
  let read = 0
  const open = b.store.open.bind(b.store)
  t.mock.method(b.store, 'open', async (wanted: CID) => {
    const file = await open(wanted)
    const original = file?.read.bind(file)
    return (
      file &&
      Object.assign(file, {
        read: async (offset: number, length: number) => {
          read += length
          return await original?.(offset, length)
        },
      })
    )
  })
  const host = await makeHost(t, b.membership)
  const connection = await dial(host, b.mesh)
  const stream = await connection.newStream(blockProtocol)
  stream.pause()
  for (let at = 0; at < 64; at++) {
    stream.send(encodeRequest({ id: BigInt(at), cid: cid.bytes, offset: BigInt(at * chunkBytes), length: chunkBytes }))
  }
  // As much as fits into the window, the writer's queue and two ranges; then nothing until somebody reads.
  for (let before = -1; before !== read; ) {
    before = read
    for (let round = 0; round < 20; round++) await host.services.ping.ping(peerIdFromString(b.mesh.peerId))
  }
  assert.ok(read > 0 && read <= 8 * chunkBytes, `${read} bytes read for a requester that takes none`)
  stream.abort(new Error('done'))
})

test('compressed bytes are accepted when they are exactly what was announced', async (t) => {
  const a = await makeMesh(t)
  await a.mesh.start()
  const block = new Uint8Array(100_000).fill(7)
  const bomb = zstdCompressSync(new Uint8Array(50_000_000))
  const cases: [Uint8Array, number, string | undefined][] = [
    [zstdCompressSync(block), block.length, undefined],
    [bomb, block.length, 'ERR_DECODE'],
    [zstdCompressSync(block.subarray(1)), block.length, 'ERR_DECODE'],
    [someBytes(500), block.length, 'ERR_DECODE'],
    [someBytes(block.length), block.length, 'ERR_DECODE'],
  ]
  for (const [bytes, length, code] of cases) {
    const host = await rogue(t, a, block, (stream, { id }) => {
      const size = BigInt(block.length)
      stream.send(encodeReply({ id, status: RangeStatus.OK, size, length, zstdLength: bytes.length }))
      stream.send(bytes)
      return true
    })
    const fetching = a.mesh.fetchBlock(cidOf(block), { from: [idOf(host)], maxBytes: block.length })
    if (code === undefined) assert.deepEqual(await fetching, block)
    else await assert.rejects(fetching, { code })
  }
})

test('a block that was asked for with zstd comes compressed, and not when that does not pay', async (t) => {
  const b = await stored(t)
  await b.mesh.start()
  const plain = new Uint8Array(300_000).fill(1)
  const random = someBytes(300_000)
  const host = await makeHost(t, b.membership)
  const connection = await dial(host, b.mesh)
  for (const [block, isSmaller] of [
    [plain, true],
    [random, false],
  ] as const) {
    const cid = await b.store.put(block)
    const stream = await connection.newStream(blockProtocol)
    const length = await new Promise<number>((resolve) => {
      const reader = new FrameReader(blockFrameLimits, (frame) => {
        const body = decodeBlockFrame(frame)
        if (body.case === 'reply') resolve(body.value.zstdLength)
        reader.stop()
      })
      stream.addEventListener('message', (event) => reader.push(event.data))
      stream.send(encodeRequest({ id: 1n, cid: cid.bytes, offset: 0n, length: block.length, zstd: true }))
    })
    assert.equal(length > 0, isSmaller)
    stream.abort(new Error('done'))
  }
})

test('a second source is asked when the first stays silent', async (t) => {
  const a = await makeMesh(t, undefined, {}, { clock: systemClock })
  await a.mesh.start()
  const block = someBytes(1000)
  const asked = Promise.withResolvers<void>()
  const silent = await rogue(t, a, block, () => {
    asked.resolve()
    return true
  })
  const quick = await rogue(t, a, block, () => false)
  // The silent one would be given up after two seconds only; by then it has been cut off, which a test cannot await less.
  const fetched = await a.mesh.fetchBlock(cidOf(block), { from: [silent, quick].map(idOf), maxBytes: 1000 })
  await asked.promise
  assert.deepEqual(fetched, block)
  assert.equal(
    silent
      .getConnections()
      .flatMap(({ streams }) => streams)
      .some(({ protocol, status }) => protocol === blockProtocol && status === 'open'),
    true,
  )
})

test('a file that was changed after it was lent is not served', async (t) => {
  const [a, b] = await storedMembers(t, 2)
  assert.ok(b)
  const block = someBytes(2 * chunkBytes)
  const path = join(await temporaryDirectory(t), 'lent')
  const file = await open(path, 'w+')
  t.after(() => file.close())
  await file.write(block)
  b.store.lend(cidOf(block), path)
  await fetchTo(a, cidOf(block), block.length, [b.mesh.peerId])
  await a.store.remove(cidOf(block))
  await file.write(Uint8Array.of((block[5] ?? 0) ^ 1), 0, 1, 5)
  await assert.rejects(fetchTo(a, cidOf(block), block.length, [b.mesh.peerId]))
  assert.equal(await a.store.get(cidOf(block)), undefined)
})
