import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeBlockFrame, encodeReply, encodeRequest } from '../../src/mesh/block-frames.ts'
import { chunkBytes, chunkCount, decodeManifest, encodeManifest, isChunk, sha256 } from '../../src/mesh/manifest.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { RangeKind, RangeStatus } from '../../src/wire/generated/block_pb.ts'

/** The bytes of `protocols/block.md`, as hex. */
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const cid = cidOf(Buffer.from('shoal'))

const frames: [name: string, frame: Uint8Array, expected: string][] = [
  [
    'a request',
    encodeRequest({ id: 7n, cid: cid.bytes, offset: 131_072n, length: 1_048_576, zstd: true }),
    '340a320807122401551220888696c38e895dd742b8494f449219c12a256a16d0841b93813c841a298df92c18808008208080403001',
  ],
  [
    'a request for a manifest',
    encodeRequest({ id: 8n, cid: cid.bytes, length: 1, kind: RangeKind.MANIFEST }),
    '2e0a2c0808122401551220888696c38e895dd742b8494f449219c12a256a16d0841b93813c841a298df92c20012801',
  ],
  ['a reply', encodeReply({ id: 7n, status: RangeStatus.OK, size: 5n, length: 5 }), '0a12080807100118052805'],
  [
    'a compressed reply',
    encodeReply({ id: 9n, status: RangeStatus.OK, size: 300_000n, length: 300_000, zstdLength: 41 }),
    '10120e0809100118e0a71228e0a7123029',
  ],
  [
    'who else asks, from a member that has the first and the tenth chunk',
    encodeReply({ id: 10n, status: RangeStatus.OK, others: ['12D3KooWA'], have: Uint8Array.of(1, 2) }),
    '151213080a10013a09313244334b6f6f574142020102',
  ],
  ['a refusal', encodeReply({ id: 11n, status: RangeStatus.BUSY }), '061204080b1003'],
]

test('frames are these bytes', () => {
  for (const [name, frame, expected] of frames) assert.equal(hex(frame), expected, name)
})

test('every frame is read back', () => {
  for (const [name, frame] of frames) {
    const { case: kind, value } = decodeBlockFrame(frame.subarray(1))
    assert.ok(kind !== undefined, name)
    const again = kind === 'request' ? encodeRequest(value) : encodeReply(value)
    assert.equal(hex(again), hex(frame), name)
  }
})

const size = chunkBytes + 1
const digests = [sha256(new Uint8Array(chunkBytes)), sha256(new Uint8Array(1))]

test('a manifest is these bytes', () => {
  assert.equal(
    hex(encodeManifest(size, digests)),
    'a46176016473697a651a00100001656368756e6b1a0010000066686173686573584030e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb586e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  )
})

test('a manifest of another block, or in another form, is refused', () => {
  const bytes = encodeManifest(size, digests)
  const manifest = decodeManifest(bytes, size)
  assert.ok(isChunk(manifest, 1, digests[1] ?? new Uint8Array()))
  assert.ok(!isChunk(manifest, 0, digests[1] ?? new Uint8Array()))
  const bad = { code: 'ERR_DECODE' }
  assert.throws(() => decodeManifest(bytes, size + 1), bad)
  assert.throws(() => decodeManifest(encodeManifest(size, digests.slice(1)), size), bad)
  assert.throws(() => decodeManifest(bytes.subarray(1), size), bad)
  assert.throws(() => chunkCount(chunkBytes * 16_384 + 1), { code: 'ERR_BLOCK_TOO_LARGE' })
})
