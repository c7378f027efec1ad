import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeFrame, FrameReader } from '../../src/mesh/frames.ts'

const limits = { smallBytes: 300, of: (field: number) => (field === 15 ? 2000 : 300) }

/** Cuts `bytes` after each of the given lengths, over and over. */
function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const end = at + (lengths[turn % lengths.length] ?? 1)
    pieces.push(bytes.slice(at, end))
    at = end
  }
  return pieces
}

test('frames come out whole however the stream is cut', () => {
  const message = fc.uint8Array({ maxLength: 300 })
  const large = fc.uint8Array({ minLength: 400, maxLength: 1990 }).map((rest) => Uint8Array.from([15 << 3, ...rest]))
  const lengths = fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(
      fc.array(fc.oneof(message, large), { maxLength: 12 }),
      lengths,
      fc.boolean(),
      (messages, sizes, many) => {
        const seen: Uint8Array[] = []
        const reader = new FrameReader(limits, (frame) => seen.push(Uint8Array.from(frame)))
        const pieces = cut(Buffer.concat(messages.map(encodeFrame)), sizes)
        if (many) reader.push(pieces)
        else for (const piece of pieces) reader.push(piece)
        assert.deepEqual(seen, messages)
        assert.equal(reader.unfinished, false)
      },
    ),
  )
})

test('raw bytes behind a frame are handed on and then frames again', () => {
  const first = encodeFrame(Uint8Array.from([5]))
  const second = encodeFrame(Uint8Array.from([0]))
  const raw = Uint8Array.from({ length: 5 }, (_, index) => 100 + index)
  for (let size = 1; size <= 10; size += 1) {
    const frames: number[] = []
    const bytes: number[] = []
    const reader: FrameReader = new FrameReader(limits, (frame) => {
      frames.push(...frame)
      reader.expectRaw(frame[0] ?? 0, (piece) => bytes.push(...piece))
    })
    for (const piece of cut(Buffer.concat([first, raw, second]), [size])) reader.push(piece)
    assert.deepEqual(frames, [5, 0])
    assert.deepEqual(bytes, [...raw])
  }
})

test('a frame above the limit of its kind is refused before memory is given to it', () => {
  const refuse = (...bytes: number[]): void => {
    const reader = new FrameReader(limits, () => assert.fail('no frame was expected'))
    assert.throws(() => reader.push(Uint8Array.from(bytes)), { code: 'ERR_DECODE' })
  }
  refuse(0xff, 0xff, 0xff, 0xff)
  refuse(0xff, 0xff, 0xff, 0x7f, 15 << 3)
  refuse(0xad, 0x02, 14 << 3)
  refuse(0xad, 0x02, 0xff, 0xff)
  refuse(0xd1, 0x0f, 15 << 3)
})

test('nothing is handed on after stop()', () => {
  let frames = 0
  const reader: FrameReader = new FrameReader(limits, () => {
    frames += 1
    reader.stop()
  })
  reader.push(Buffer.concat([encodeFrame(Uint8Array.of(1)), encodeFrame(Uint8Array.of(2))]))
  assert.equal(frames, 1)
})
