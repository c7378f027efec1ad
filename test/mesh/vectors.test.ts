import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { anyRange, rangeAt } from '../../src/daemon/ranges.ts'
import type { ControlMessage } from '../../src/mesh/control.ts'
import { byDistance } from '../../src/mesh/nearest.ts'
import { cidFromDigest, hexOf } from '../../src/wire/cid.ts'
import { ControlFrameSchema } from '../../src/wire/generated/control_pb.ts'

/** Bytes are written `{"hex": …}`, integers of 64 bits `{"int": …}`. */
interface Vector {
  name: string
  kind: ControlMessage['case']
  value: unknown
  /** Hex, without the length before it. */
  frame: string
}

const vectors = JSON.parse(readFileSync(new URL('vectors/frames.json', import.meta.url), 'utf8')) as Vector[]

function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson)
  if (typeof value !== 'object' || value === null) return value
  if ('hex' in value) return new Uint8Array(Buffer.from(String(value.hex), 'hex'))
  if ('int' in value) return BigInt(String(value.int))
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, fromJson(field)]))
}

for (const { name, kind, value, frame } of vectors) {
  test(`golden frame: ${kind}, ${name}`, () => {
    const body = { case: kind, value: fromJson(value) } as ControlMessage
    const bytes = toBinary(ControlFrameSchema, create(ControlFrameSchema, { body }))
    assert.equal(Buffer.from(bytes).toString('hex'), frame)
    assert.deepEqual(
      fromBinary(ControlFrameSchema, new Uint8Array(Buffer.from(frame, 'hex'))).body,
      create(ControlFrameSchema, { body }).body,
    )
  })
}

test('what is announced of ranges has these names', () => {
  assert.equal(hexOf(anyRange), 'f7750adc41c85f76d1ff6d06134f259b450b825f5ba1ce071e13cc4d6d4d54a5')
  assert.equal(hexOf(rangeAt(0)), 'de9eb7cd6c15d80ccfc297b2f28c71dd86942b346ee262e80804791c5f69ad9b')
  assert.equal(hexOf(rangeAt(15)), 'a6684f3acfbde4537a79865ad0a15035ac468fce46ae145d13b9a6396af191aa')
})

// As the DHT's own functions put them.
test('who is nearest to a key', async () => {
  const peers: string[] = []
  for (let seed = 0; seed < 5; seed++) {
    const key = await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(seed))
    peers.push(peerIdFromPrivateKey(key).toString())
  }
  const order = byDistance(cidFromDigest(new Uint8Array(32)), peers)
  assert.deepEqual(
    order.map((peer) => peers.indexOf(peer)),
    [0, 2, 4, 1, 3],
  )
})
