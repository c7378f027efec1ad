import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { CID } from 'multiformats/cid'
import {
  decodeAction,
  decodeInputs,
  decodeResult,
  decodeTrace,
  decodeTree,
  encodeTrace,
  limits,
  type RootName,
  readKinds,
} from '../../src/plan/action.ts'
import { nameRoots, placeRoots, sortRoots } from '../../src/plan/roots.ts'
import { encodeCbor } from '../../src/wire/cbor.ts'
import { withCode } from '../store/support.ts'

const decoders = {
  action: decodeAction,
  tree: decodeTree,
  inputs: decodeInputs,
  result: decodeResult,
  trace: decodeTrace,
}
type ObjectType = keyof typeof decoders

interface Vector {
  name: string
  type: ObjectType
  /** Hex. */
  cbor: string
}
interface Refused extends Vector {
  /** Hex of the same without its mistake, to show that nothing else is wrong with it. */
  mended?: string
}
interface Golden extends Vector {
  /** A CID is written `{"/": CID}`, bytes are written `{"/": {"bytes": base64}}`. */
  object: unknown
  cid: string
}
interface RootTokens {
  roots: { name: RootName; path: string }[]
  texts: { text: string; named: string }[]
}

function load<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`./vectors/${file}`, import.meta.url), 'utf8'))
}

function revive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revive)
  if (typeof value !== 'object' || value === null) return value
  if (!('/' in value)) return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, revive(each)]))
  const special = value['/']
  if (typeof special === 'string') return CID.parse(special)
  assert.ok(typeof special === 'object' && special !== null && 'bytes' in special)
  return Uint8Array.from(Buffer.from(String(special.bytes), 'base64'))
}

const objects = load<Golden[]>('objects.json')

test('there is an example of every object, and of every kind of read', () => {
  assert.deepEqual(new Set(objects.map(({ type }) => type)), new Set(Object.keys(decoders)))
  const traces = objects.filter(({ type }) => type === 'trace').map(({ cbor }) => decodeTrace(Buffer.from(cbor, 'hex')))
  assert.deepEqual(new Set(traces.flatMap(({ reads }) => reads.map(([kind]) => kind))), new Set(readKinds))
})

for (const { name, type, object, cbor, cid } of objects) {
  test(`${type}: ${name} is encoded, named and read as written down`, () => {
    const encoded = encodeCbor(revive(object))
    assert.equal(Buffer.from(encoded.bytes).toString('hex'), cbor)
    assert.equal(encoded.cid.toString(), cid)
    assert.deepEqual(encodeCbor(decoders[type](Buffer.from(cbor, 'hex'))), encoded)
  })

  test(`${type}: ${name} is refused when any byte is missing or too many`, () => {
    const bytes = Buffer.from(cbor, 'hex')
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => decoders[type](bytes.subarray(0, length)), withCode('ERR_DECODE'))
    }
    assert.throws(() => decoders[type](Buffer.concat([bytes, Buffer.of(0)])), withCode('ERR_DECODE'))
  })
}

for (const { name, type, cbor, mended } of load<Refused[]>('refused.json')) {
  test(`${type}: ${name} is refused`, () => {
    assert.throws(() => decoders[type](Buffer.from(cbor, 'hex')), withCode('ERR_DECODE'))
    if (mended !== undefined) assert.ok(decoders[type](Buffer.from(mended, 'hex')))
  })
}

test('what is longer than its limit is refused before it is parsed', () => {
  assert.deepEqual(limits, { action: 1 << 20, tree: 16 << 20, inputs: 4 << 20, result: 4 << 20, trace: 1 << 19 })
  for (const type of ['action', 'tree', 'inputs', 'result', 'trace'] as const) {
    assert.throws(() => decoders[type](Buffer.alloc(limits[type] + 1)), /at most/)
  }
})

test('a trace holds no more reads and variables than its lists may', () => {
  const [least] = objects.filter(({ type, name }) => type === 'trace' && name === 'a compile that looked at nothing')
  const trace = decodeTrace(Buffer.from(least?.cbor ?? '', 'hex'))
  const reads = (count: number) =>
    encodeTrace({ ...trace, reads: Array.from({ length: count }, () => ['absent', '', null]) })
  assert.equal(decodeTrace(reads(32768).bytes).reads.length, 32768)
  assert.throws(() => decodeTrace(reads(32769).bytes), withCode('ERR_DECODE'))
  const env = (count: number) => encodeTrace({ ...trace, env: Array.from({ length: count }, () => ['A', null]) })
  assert.equal(decodeTrace(env(4096).bytes).env.length, 4096)
  assert.throws(() => decodeTrace(env(4097).bytes), withCode('ERR_DECODE'))
  const path = (length: number) => encodeTrace({ ...trace, reads: [['absent', 'x'.repeat(length), null]] })
  assert.ok(decodeTrace(path(1 << 17).bytes))
  assert.throws(() => decodeTrace(path((1 << 17) + 1).bytes), withCode('ERR_DECODE'))
})

test('roots are named and placed as written down', () => {
  const { roots, texts } = load<RootTokens>('root-tokens.json')
  const sorted = sortRoots(roots)
  for (const { text, named } of texts) {
    assert.equal(nameRoots(text, sorted), named)
    assert.equal(placeRoots(named, sorted), text)
  }
})
