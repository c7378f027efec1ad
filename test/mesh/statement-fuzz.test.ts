import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Random, seededRandom } from '../../src/base/clock.ts'
import { type ErrorCode, ShoalError } from '../../src/base/errors.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { hex, maxStatementBytes } from '../../src/mesh/statement.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { statements } from './before-admission.ts'
import { changeFields, changeProof, cutBytes, encodeLoosely, flipBits, pick } from './mutate.ts'
import { fuzzRuns, keyOf, office, plain, serialOf, start } from './office.ts'

const { genesis, ann, ivy, max, hire, roster } = office()
const maxGrowth = 256 * 1024 * 1024

const semantic: ErrorCode[] = [
  'ERR_DECODE',
  'ERR_NOT_CANONICAL',
  'ERR_OTHER_MESH',
  'ERR_ISSUER_UNKNOWN',
  'ERR_CHAIN_LENGTH',
  'ERR_ROLE',
  'ERR_EXPIRED',
  'ERR_NOT_YET_VALID',
]

/** Runs it, counts with which code it is refused, and how often it is not. */
function tally(runs: number, allowed: readonly ErrorCode[], run: (number: number) => unknown): Map<string, number> {
  const counts = new Map<string, number>()
  const before = process.memoryUsage().rss
  for (let number = 0; number < runs; number++) {
    let outcome = 'accepted'
    try {
      run(number)
    } catch (error) {
      if (!(error instanceof ShoalError) || !allowed.includes(error.code)) throw error
      outcome = error.code
    }
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  }
  assert.ok(process.memoryUsage().rss - before < maxGrowth, 'memory is bounded')
  return counts
}

function mutate(bytes: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  const kind = random()
  if (kind < 0.4) return flipBits(bytes, random)
  if (kind < 0.55) return cutBytes(bytes, random)
  if (kind < 0.8) return changeFields(bytes, other, random)
  if (kind < 0.9) return changeProof(bytes, other, random)
  return encodeLoosely(bytes, random)
}

test(`of ${fuzzRuns} changed certificates none is accepted`, () => {
  const random = seededRandom(5)
  const bob = hire(ann, 30, plain, start, 'bob')
  const fresh = keyOf(31).publicKey
  const follows = handOver(meshKeyOf(genesis), bob.key, fresh)
  const init = { subject: fresh, name: 'bob', roles: plain, follows, serial: serialOf(31) }
  const tom = { ...bob, certificate: issueCertificate(ann, init, start) }
  const next = keyOf(32).publicKey
  const { sig } = handOver(meshKeyOf(genesis), keyOf(31), next)
  const third = { ...init, subject: next, follows: { key: bob.key.publicKey, via: fresh, sig }, serial: serialOf(32) }
  const tim = { ...bob, certificate: issueCertificate(ann, third, start) }
  // Short chains more often, because they are decoded faster.
  const originals = [ann, ann, ivy, ivy, bob, tom, tim, max].map(({ certificate }) => certificate.bytes)
  const whole = new Set(originals.map(hex))
  const [empty, full] = [new Roster(genesis), roster(ann, ivy, bob, tom, tim, max)]
  const counts = tally(fuzzRuns, [...semantic, 'ERR_SIGNATURE'], (number) => {
    const changed = mutate(pick(random, originals), pick(random, originals), random)
    if (whole.has(hex(changed))) throw new ShoalError('ERR_DECODE', 'not changed')
    return (number % 2 === 0 ? empty : full).add(changed, start)
  })
  assert.equal(counts.get('accepted'), undefined)
  assert.equal(empty.size, 0)
  assert.equal(full.size, 6)
  // Each line of defence was reached.
  for (const code of [...semantic, 'ERR_SIGNATURE']) assert.ok((counts.get(code) ?? 0) > 0, code)
})

test(`of ${fuzzRuns / 10} changed statements of the other types none is accepted`, () => {
  const random = seededRandom(9)
  const originals = statements
  const whole = new Set(originals.map(hex))
  const [empty, full] = [new Roster(genesis), new Roster(genesis)]
  for (const bytes of originals) full.add(bytes, start)
  const counts = tally(fuzzRuns / 10, [...semantic, 'ERR_SIGNATURE'], (number) => {
    const changed = mutate(pick(random, originals), pick(random, originals), random)
    if (whole.has(hex(changed))) throw new ShoalError('ERR_DECODE', 'not changed')
    return (number % 2 === 0 ? empty : full).add(changed, start)
  })
  assert.equal(counts.get('accepted'), undefined)
  assert.deepEqual([empty.size, full.size], [0, originals.length])
})

test('deep, wide and large input is refused before it costs anything', () => {
  const refused = (bytes: Uint8Array): void =>
    assert.throws(
      () => new Roster(genesis).add(bytes, start),
      (error) => error instanceof ShoalError,
    )
  for (const byte of [0x81, 0x9f, 0xa1, 0xbf, 0xc6, 0xd8, 0x5f, 0x7f]) {
    refused(new Uint8Array(maxStatementBytes).fill(byte))
    refused(new Uint8Array(100_000_000).fill(byte))
  }
  // Says that four thousand million items, or bytes, follow.
  for (const major of [0x40, 0x60, 0x80, 0xa0]) {
    refused(Uint8Array.of(major + 26, 255, 255, 255, 255))
    refused(Uint8Array.of(major + 27, 0, 31, 255, 255, 255, 255, 255, 255))
  }
})
