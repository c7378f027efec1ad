import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode } from '@ipld/dag-cbor'
import { seededRandom } from '../../src/base/clock.ts'
import { certificateShape } from '../../src/mesh/certificate.ts'
import {
  checkSignature,
  decodeStatement,
  hex,
  maxStatementBytes,
  type StatementType,
  signStatement,
} from '../../src/mesh/statement.ts'
import { encodeLoosely } from './mutate.ts'
import { keyOf, office, start } from './office.ts'

const { ann, max, roster } = office()
const code = (expected: string, run: () => unknown): void => assert.throws(run, { code: expected })
const types: StatementType[] = ['genesis', 'certificate', 'invite', 'redemption', 'revocation']

test('what is signed as one type is signed as no other, and has another name', () => {
  const key = keyOf(1)
  const signed = types.map((type) => signStatement(type, { v: 1 }, key, []))
  assert.equal(new Set(signed.map(({ id }) => hex(id))).size, types.length)
  for (const type of types) {
    for (const statement of signed) {
      const check = (): void => checkSignature(type, statement, key.publicKey)
      if (statement.type === type) check()
      else code('ERR_SIGNATURE', check)
    }
  }
  const { body, chain } = max.certificate
  const passedOff = signStatement('invite', body, keyOf(3), chain)
  assert.equal(passedOff.bytes.length, max.certificate.bytes.length - 'certificate'.length + 'invite'.length)
  code('ERR_DECODE', () => roster(ann).add(passedOff.bytes, start))
})

test('a statement reads as it was written', () => {
  assert.deepEqual(decodeStatement(max.certificate.bytes, certificateShape), max.certificate)
  // Also from a larger buffer that is used for something else afterwards.
  const buffer = Buffer.concat([Buffer.from('before'), max.certificate.bytes])
  const read = decodeStatement(buffer.subarray(6), certificateShape)
  buffer.fill(0)
  assert.deepEqual(read, max.certificate)
})

test('the same in any other encoding is refused as such', () => {
  const random = seededRandom(4)
  let known = 0
  for (let run = 0; run < 500; run++) {
    const loose = encodeLoosely(ann.certificate.bytes, random)
    try {
      roster(ann).add(loose, start)
      assert.fail('accepted')
    } catch (error) {
      const { code: refusal } = error as { code?: string }
      // A tag or an undefined in place of a value is no other encoding but another value.
      assert.ok(refusal === 'ERR_NOT_CANONICAL' || refusal === 'ERR_DECODE', String(error))
      if (refusal === 'ERR_NOT_CANONICAL') known += 1
    }
  }
  assert.ok(known > 450, `${known}`)
  code('ERR_NOT_CANONICAL', () => roster().add(Buffer.concat([ann.certificate.bytes, Uint8Array.of(0)]), start))
})

test('fields in another order are refused', () => {
  const { bytes } = signStatement('certificate', ann.certificate.body, keyOf(1), [])
  assert.equal(hex(bytes), hex(ann.certificate.bytes))
  // The map begins with `sig`; here it is moved to the end.
  const field = 1 + 'sig'.length + 2 + 64
  const moved = Buffer.concat([bytes.subarray(0, 1), bytes.subarray(1 + field), bytes.subarray(1, 1 + field)])
  assert.deepEqual(decode(moved), decode(bytes))
  code('ERR_NOT_CANONICAL', () => roster().add(moved, start))
})

test('at most 2304 bytes', () => {
  code('ERR_LIMIT', () => signStatement('invite', { text: 'x'.repeat(maxStatementBytes) }, keyOf(1), []))
  code('ERR_DECODE', () => roster().add(new Uint8Array(maxStatementBytes + 1), start))
})
