import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import fc from 'fast-check'
import { type ByteList, MessageCutter } from '../../src/mesh/message-cutter.ts'
import { connectedHosts } from './hosts.ts'

const protocol = '/test/list/1.0.0'
let empty: ByteList

// The library makes its lists itself: one is taken from a message that it delivers.
before(async () => {
  const { from, to, end } = await connectedHosts()
  const list = Promise.withResolvers<ByteList>()
  await to.handle(protocol, (stream) => {
    stream.addEventListener('message', ({ data }) => {
      if (!(data instanceof Uint8Array)) list.resolve(data.sublist(0, 0) as unknown as ByteList)
    })
  })
  const stream = await from.newStream(protocol)
  stream.send(Uint8Array.of(1))
  empty = await list.promise
  await end()
})

function listOf(...pieces: Uint8Array[]): ByteList {
  const list = empty.sublist()
  for (const piece of pieces) list.append(piece)
  return list
}

const framed = (messages: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(messages.flatMap((message) => [message.length >> 8, message.length & 0xff, ...message]))

/** Pieces of these lengths, the lengths over and over, each in memory of its own. */
function cutUp(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + (lengths[pieces.length % lengths.length] ?? 1)
    pieces.push(bytes.slice(at, end))
    at = end
  }
  return pieces
}

const content = (list: ByteList): Uint8Array => new Uint8Array(list.subarray())

test('messages come out whole and in order however the bytes arrive; empty ones are left out', () => {
  const message = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ minLength: 250, maxLength: 700 }))
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 6 }),
      fc.nat({ max: 3 }),
      fc.boolean(),
      (messages, lengths, begun, inLists) => {
        const pieces = cutUp(framed(messages), lengths)
        const cutter = new MessageCutter(listOf(...pieces.slice(0, begun)))
        const seen: Uint8Array[] = []
        // What had come before is looked at together with what comes next.
        for (const piece of [new Uint8Array(), ...pieces.slice(begun)]) {
          seen.push(...cutter.cut(inLists ? listOf(piece) : piece).map(content))
        }
        assert.deepEqual(
          seen,
          messages.filter(({ length }) => length > 0),
        )
      },
    ),
  )
})

test('a message of the greatest length comes out as soon as its last byte is here, and not before', () => {
  const message = new Uint8Array(65_535).fill(7)
  const bytes = framed([message, Uint8Array.of(1)])
  const cutter = new MessageCutter(empty)
  assert.deepEqual(cutter.cut(bytes.subarray(0, 65_536)), [])
  assert.deepEqual(cutter.cut(bytes.subarray(65_536, 65_537)).map(content), [message])
  assert.deepEqual(cutter.cut(bytes.subarray(65_537)).map(content), [Uint8Array.of(1)])
})

test('nothing is copied: a message lies where it came', () => {
  const pieces = cutUp(framed([new Uint8Array(100), new Uint8Array(50)]), [60])
  const cutter = new MessageCutter(empty)
  const messages = pieces.flatMap((piece) => cutter.cut(piece))
  const memory = messages.map((message) =>
    [...message].map(({ buffer }) => pieces.findIndex((p) => p.buffer === buffer)),
  )
  assert.deepEqual(memory, [
    [0, 1],
    [1, 2],
  ])
})
