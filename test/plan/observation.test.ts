import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeObservations, observationBytes, readObservations } from '../../src/plan/observation.ts'

const areaStart = 65_600

interface Record {
  kind?: number
  origin?: number
  errno?: number
  path?: string | Uint8Array
  /** Instead of what the path needs. */
  total?: number
  length?: number
}

function record({ kind = 1, origin = 0, errno = 0, path = '/a', ...wrong }: Record): Buffer {
  const text = Buffer.from(path)
  const bytes = Buffer.alloc(Math.ceil((12 + text.length) / 8) * 8)
  bytes.writeUInt32LE(wrong.total ?? bytes.length, 0)
  bytes.writeUInt16LE(wrong.length ?? text.length, 4)
  bytes.writeUInt16LE(errno, 6)
  bytes.writeUInt8(kind, 8)
  bytes.writeUInt8(origin, 9)
  text.copy(bytes, 12)
  return bytes
}

interface Header {
  magic?: string
  used?: number
  flags?: number
  expected?: number
  attached?: number
}

function file(records: readonly Record[], header: Header = {}): Buffer {
  const area = Buffer.concat(records.map(record))
  const head = Buffer.alloc(areaStart)
  head.write(header.magic ?? 'shoalob1', 0, 'latin1')
  head.writeBigUInt64LE(BigInt(header.used ?? area.length), 8)
  head.writeBigUInt64LE(BigInt(header.flags ?? 0), 16)
  head.writeBigInt64LE(BigInt(header.expected ?? 0), 24)
  head.writeBigInt64LE(BigInt(header.attached ?? 1), 32)
  return Buffer.concat([head, area])
}

const found = { kind: 'open', path: '/a', errno: 0, macro: false }

test('decodeObservations() tells the kinds, in order and once', () => {
  const kinds = ['open', 'stat', 'list', 'link', 'exec', 'write', 'env', 'load', 'net', 'attach', 'clock', 'random']
  const records = kinds.map((_, index) => ({
    kind: index + 1,
    errno: index,
    path: `/päth-${index}`,
    origin: index % 2,
  }))
  const decoded = decodeObservations(file([...records, ...records]))
  const events = kinds.map((kind, index) => ({ kind, path: `/päth-${index}`, errno: index, macro: index % 2 === 1 }))
  assert.deepEqual(decoded, { attached: true, complete: true, events })
})

test('decodeObservations() finds the records behind as many hashes as there are', () => {
  const usual = file([{}, { path: '/b' }])
  const small = Buffer.concat([usual.subarray(0, 64), Buffer.alloc(8 * 16), usual.subarray(areaStart)])
  small.writeBigUInt64LE(16n, 40)
  assert.deepEqual(decodeObservations(small), decodeObservations(usual))
  assert.equal(decodeObservations(small).events.length, 2)
  small.writeBigUInt64LE(0n, 40)
  assert.equal(decodeObservations(small).complete, false)
})

test('decodeObservations() of nothing that a program wrote', () => {
  const none = { attached: false, complete: false, events: [] }
  for (const bytes of [
    new Uint8Array(0),
    Buffer.from('shoalob1'),
    new Uint8Array(observationBytes),
    file([{}], { magic: 'shoalob2' }),
    file([{}]).subarray(0, areaStart - 1),
  ])
    assert.deepEqual(decodeObservations(bytes), none)
})

test('decodeObservations() needs nothing after the last record, and ignores it', () => {
  const whole = { attached: true, complete: true, events: [found] }
  assert.deepEqual(decodeObservations(file([{}])), whole)
  assert.deepEqual(decodeObservations(Buffer.concat([file([{}]), Buffer.alloc(1000)])), whole)
  assert.deepEqual(decodeObservations(file([])), { attached: true, complete: true, events: [] })
  const shifted = Buffer.concat([Buffer.alloc(3), file([{}])]).subarray(3)
  assert.deepEqual(decodeObservations(shifted), whole)
})

test('decodeObservations() says so when something may be missing', () => {
  const partly: [string, Buffer][] = [
    ['full', file([{}], { flags: 1 })],
    ['unseen', file([{}], { flags: 2 })],
    ['an unknown flag', file([{}], { flags: 1 << 20 })],
    ['a program that did not attach', file([{}], { expected: 1, attached: 1 })],
    ['nobody counted', file([{}], { attached: 0 })],
    ['an unfinished record', file([{}, { total: 0 }, { path: '/b' }])],
    ['cut off', file([{}, { path: '/b' }]).subarray(0, -1)],
    ['more reserved than there is', file([{}], { used: 1 << 20 })],
    ['less reserved than a record', file([{}, { path: '/b' }], { used: 20 })],
    ['a record that is longer than the rest', file([{}, { total: 800 }])],
    ['a record of a length that is none', file([{}, { total: 17 }])],
    ['a path that is longer than its record', file([{}, { length: 13 }])],
    ['an unknown kind', file([{}, { kind: 13 }])],
    ['no kind', file([{}, { kind: 0 }])],
    ['an unknown origin', file([{}, { origin: 2 }])],
    ['a path that is no UTF-8', file([{}, { path: Uint8Array.of(0x2f, 0xff) }])],
    ['half of a surrogate pair', file([{}, { path: Uint8Array.of(0x2f, 0xed, 0xa0, 0x80) }])],
    ['a path that is too long', file([{}, { path: `/${'a'.repeat(4096)}` }])],
  ]
  for (const [what, bytes] of partly)
    assert.deepEqual(decodeObservations(bytes), { attached: true, complete: false, events: [found] }, what)
})

test('decodeObservations() never throws', () => {
  const good = file([{}, { kind: 7, path: 'NAME' }, { errno: 2, path: '/b' }])
  const edit = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255) })
  const edits = fc.array(fc.oneof(edit, fc.record({ at: fc.nat(40), byte: fc.nat(255) })), {
    minLength: 1,
    maxLength: 8,
  })
  fc.assert(
    fc.property(edits, fc.nat(good.length), (edits, length) => {
      const bytes = Buffer.from(good)
      for (const { at, byte } of edits) bytes[at] = byte
      const { attached, complete, events } = decodeObservations(bytes.subarray(0, length))
      assert.ok(attached || (!complete && events.length === 0))
    }),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (area) => {
      const bytes = Buffer.concat([file([], { used: area.length }), area])
      assert.ok(decodeObservations(bytes).events.length <= area.length / 16)
    }),
  )
})

test('readObservations() reads what was written, and believes no length', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-observation-'))
  try {
    const path = join(dir, 'reads')
    for (const bytes of [
      Buffer.concat([file([{}]), Buffer.alloc(1 << 20)]),
      file([{}], { used: 2 ** 52 }),
      file([{}]).subarray(0, 50),
      Buffer.alloc(0),
      Buffer.alloc(1 << 20),
    ]) {
      await writeFile(path, bytes)
      assert.deepEqual(readObservations(path), decodeObservations(bytes))
    }
    assert.throws(() => readObservations(join(dir, 'none')), { code: 'ENOENT' })
  } finally {
    await rm(dir, { recursive: true })
  }
})
