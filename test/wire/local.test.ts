import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { encodeLocalFrame, FrameReader, maxLocalFrame } from '../../src/wire/local.ts'
import type { LocalFrame } from '../../src/wire/local-frames.ts'

const bytes = fc.uint8Array({ maxLength: 40 })
const text = fc.string({ unit: 'binary', maxLength: 20 })
const u16 = fc.nat(0xffff)
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const i32 = fc.integer()
const type = <const T extends string>(...names: T[]) => fc.constantFrom(...names)

const frame: fc.Arbitrary<LocalFrame> = fc.oneof(
  fc.record({ type: type('hello'), version: u16, client: type('shim', 'cli') }),
  fc.record({
    type: type('compile'),
    cwd: bytes,
    argv: fc.array(bytes),
    env: fc.array(bytes),
    pid: u32,
    ppid: u32,
    hasJobserver: fc.boolean(),
    remaps: fc.array(fc.record({ from: bytes, to: bytes })),
  }),
  fc.record({
    type: type('ran'),
    code: i32,
    wallMicros: fc.maxSafeNat(),
    cpuMicros: fc.maxSafeNat(),
    truncated: fc.boolean(),
    stdout: bytes,
    stderr: bytes,
  }),
  fc.record({ type: type('token'), state: type('released', 'taken', 'debt') }),
  fc.record({ type: type('request', 'response', 'event'), json: text }),
  fc.record({ type: type('welcome'), version: u16 }),
  fc.record({ type: type('release'), repay: fc.boolean() }),
  fc.record({ type: type('stdout', 'stderr'), data: bytes }),
  fc.record({
    type: type('run'),
    privateDir: text,
    observer: text,
    stripIncremental: fc.boolean(),
    linger: fc.boolean(),
  }),
  fc.record({
    type: type('script'),
    cwd: bytes,
    program: bytes,
    env: fc.array(bytes),
    pid: u32,
    ppid: u32,
    umask: u32,
    spare: bytes,
  }),
  fc.record({ type: type('watch'), observer: text, dir: text, wrapper: text }),
  fc.record({ type: type('recalled'), stdout: bytes, stderr: bytes }),
  fc.record({ type: type('exit'), code: i32 }),
  fc.record({ type: type('beat') }),
  fc.record({ type: type('refuse'), reason: text }),
  fc.record({ type: type('placed'), path: text }),
  fc.record({
    type: type('deliver'),
    files: fc.array(
      fc.record({
        from: fc.constantFrom('file' as const, 'text' as const),
        source: bytes,
        target: text,
        executable: fc.boolean(),
        line: bytes,
        isMetadata: fc.boolean(),
      }),
    ),
    stderr: bytes,
  }),
  fc.record({
    type: type('delivered'),
    state: fc.constantFrom('metadata' as const, 'done' as const, 'failed' as const),
    identities: fc.array(text),
    errno: i32,
  }),
)
const stream = fc.array(frame, { minLength: 1, maxLength: 8 })

/** Cuts where the numbers say. */
function cut(whole: Buffer, places: number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (whole.length + 1)).sort((a, b) => a - b), whole.length]
  return at.slice(1).map((end, index) => whole.subarray(at[index], end))
}

/** Buffers compare as the bytes they hold. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value]
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

const readAll = (chunks: Uint8Array[]) => {
  const reader = new FrameReader()
  return chunks.flatMap((chunk) => [...reader.push(chunk)])
}

describe('FrameReader', () => {
  test('gives the frames that were encoded, however their bytes are cut', () => {
    const property = fc.property(stream, fc.array(fc.nat(), { maxLength: 30 }), (frames, places) => {
      const whole = Buffer.concat(frames.map(encodeLocalFrame))
      assert.deepEqual(plain(readAll(cut(whole, places))), plain(frames))
    })
    fc.assert(property, { numRuns: 500 })
    const frames: LocalFrame[] = [{ type: 'beat' }, { type: 'exit', code: -9 }]
    const single = [...Buffer.concat(frames.map(encodeLocalFrame))].map((byte) => Buffer.of(byte))
    assert.deepEqual(readAll(single), frames)
  })

  test('throws nothing but ERR_FRAME at bytes that were changed, and nothing else ever after', () => {
    const change = fc.record({ at: fc.nat(), to: fc.nat(255) })
    const property = fc.property(stream, fc.array(change, { minLength: 1, maxLength: 5 }), (frames, changes) => {
      const whole = Buffer.concat(frames.map(encodeLocalFrame))
      for (const { at, to } of changes) whole[at % whole.length] = to
      const reader = new FrameReader()
      try {
        Array.from(reader.push(whole))
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'ERR_FRAME')
        assert.throws(() => [...reader.push(encodeLocalFrame({ type: 'beat' }))], { code: 'ERR_FRAME' })
      }
    })
    fc.assert(property, { numRuns: 1000 })
  })

  test('keeps for the next call what was not taken', () => {
    const reader = new FrameReader()
    const two = Buffer.concat([encodeLocalFrame({ type: 'beat' }), encodeLocalFrame({ type: 'welcome', version: 7 })])
    assert.deepEqual(reader.push(two).next().value, { type: 'beat' })
    assert.deepEqual([...reader.push(Buffer.alloc(0))], [{ type: 'welcome', version: 7 }])
  })

  test('gives the frames before the one that is wrong', () => {
    const frames = new FrameReader().push(Buffer.concat([encodeLocalFrame({ type: 'beat' }), Buffer.alloc(4)]))
    assert.deepEqual(frames.next().value, { type: 'beat' })
    assert.throws(() => frames.next(), { code: 'ERR_FRAME' })
  })

  test('refuses a size before the bytes arrive', () => {
    const head = (length: number) => {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32BE(length)
      return bytes
    }
    for (const length of [0, maxLocalFrame + 1, 0xffff_ffff]) {
      assert.throws(() => readAll([head(length)]), { code: 'ERR_FRAME' })
    }
    assert.deepEqual(readAll([head(maxLocalFrame)]), [])
  })

  const refused: [string, string][] = [
    ['an unknown type', '00000001 7f'],
    ['another protocol', '0000000d 01 0001 00000005 73686f6171 00'],
    ['an unknown kind of client', '0000000d 01 0001 00000005 73686f616c 02'],
    ['an unknown token state', '00000002 04 04'],
    ['a flag that is neither', '00000002 82 02'],
    ['an order of version 1', '00000005 85 00000000'],
    ['an order with an unknown flag', '0000000a 85 00000000 00000000 02'],
    ['a delivery from nowhere known', '00000017 8a 00000001 02 00000000 00000000 00 00000000 00 00000000'],
    ['a delivery in an unknown state', '0000000a 05 03 00000000 00000000'],
    ['bytes that run over the end', '00000006 83 00000002 61'],
    ['bytes after the end', '00000002 87 00'],
    ['text that is not UTF-8', '00000006 89 00000001 ff'],
    ['more arguments than fit', '0000000d 02 00000000 00010000 00000000'],
    ['more arguments than allowed', '0000000d 02 00000000 00010001 00000000'],
  ]
  for (const [what, hex] of refused) {
    test(`refuses ${what}`, () => {
      assert.throws(() => readAll([Buffer.from(hex.replaceAll(' ', ''), 'hex')]), { code: 'ERR_FRAME' })
    })
  }

  test('takes a RELEASE without payload: nothing is repaid', () => {
    assert.deepEqual(readAll([Buffer.from('0000000182', 'hex')]), [{ type: 'release', repay: false }])
  })
})

describe('encodeLocalFrame()', () => {
  test('writes what the specification says', () => {
    const hex = (frame: LocalFrame) => encodeLocalFrame(frame).toString('hex')
    assert.equal(hex({ type: 'hello', version: 1, client: 'shim' }), '0000000d0100010000000573686f616c00')
    assert.equal(hex({ type: 'exit', code: -9 }), '0000000586fffffff7')
    const order = { privateDir: '/p', observer: '/o', stripIncremental: true, linger: true }
    assert.equal(hex({ type: 'run', ...order }), '0000000f85000000022f70000000022f6f0101')
    assert.equal(hex({ type: 'token', state: 'debt' }), '000000020403')
    const file = { from: 'text' as const, source: Buffer.from('s'), target: '/t', line: Buffer.from('l') }
    const files = [{ ...file, executable: true, isMetadata: false }]
    const delivery = '00000001 01 00000001 73 00000002 2f74 01 00000001 6c 00 00000001 65'
    assert.equal(hex({ type: 'deliver', files, stderr: Buffer.from('e') }), `0000001d8a${delivery.replaceAll(' ', '')}`)
    const report = { identities: ['1'], errno: 2 }
    assert.equal(
      hex({ type: 'watch', observer: '/o', dir: '/d', wrapper: '' }),
      '000000118c000000022f6f000000022f6400000000',
    )
    const said = { stdout: Buffer.from('o'), stderr: Buffer.from('e') }
    assert.equal(hex({ type: 'recalled', ...said }), '0000000b8d000000016f0000000165')
    assert.equal(hex({ type: 'delivered', state: 'failed', ...report }), '0000000f0502000000010000000131' + '00000002')
    const remaps = [{ from: Buffer.from('f'), to: Buffer.from('t') }]
    const compile = {
      cwd: Buffer.from('c'),
      argv: [Buffer.from('a')],
      env: [],
      pid: 1,
      ppid: 2,
      hasJobserver: true,
      remaps,
    }
    const body = '00000001 63 00000001 00000001 61 00000000 00000001 00000002 01 00000001 00000001 66 00000001 74'
    assert.equal(hex({ type: 'compile', ...compile }), `0000002a02${body.replaceAll(' ', '')}`)
  })

  test('refuses what does not fit', () => {
    const many = Array<Uint8Array>(65_537).fill(Buffer.alloc(0))
    const compile = { cwd: Buffer.alloc(0), env: [], pid: 1, ppid: 2, hasJobserver: true, remaps: [] }
    const ran = { code: 0, cpuMicros: 0, truncated: false, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) }
    const frames: LocalFrame[] = [
      { type: 'stdout', data: Buffer.alloc(maxLocalFrame) },
      { type: 'compile', ...compile, argv: many },
      { type: 'welcome', version: 65_536 },
      { type: 'exit', code: 0.5 },
      { type: 'ran', ...ran, wallMicros: 2 ** 53 },
    ]
    for (const frame of frames) assert.throws(() => encodeLocalFrame(frame), { code: 'ERR_FRAME' })
    const half = Buffer.alloc(8 * 1024 * 1024 - 64)
    assert.ok(
      encodeLocalFrame({ type: 'ran', ...ran, wallMicros: 1, stdout: half, stderr: half }).length < maxLocalFrame,
    )
  })
})
