import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { decode, encode } from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { seededRandom } from '../../src/base/clock.ts'
import { ShoalError } from '../../src/base/errors.ts'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { encodeResult } from '../../src/plan/action.ts'
import { placeHere, tellPlace } from '../../src/recall/run-place.ts'
import {
  type ClaimBody,
  checkClaim,
  evidenceOf,
  isAbout,
  outputsDigest,
  readClaim,
  signClaim,
  unwatched,
} from '../../src/recall/signed-claim.ts'
import { cutBytes, flipBits, pick } from '../mesh/mutate.ts'
import { fuzzRuns } from '../mesh/office.ts'
import { content, planned, result } from './support.ts'

interface Vector {
  name: string
  seed: string
  /** Bytes and CIDs as text. */
  body: Record<Exclude<keyof ClaimBody, 'place'>, string | number>
  /** Where the roots of a run lay: root, length, digest. */
  place?: [string, number, string][]
  bytes: string
}

const vectors: { claims: Vector[]; unwatched: string; outputs: string } = JSON.parse(
  readFileSync(new URL('vectors/claims.json', import.meta.url), 'utf8'),
)
const unhex = (text: unknown): Uint8Array => new Uint8Array(Buffer.from(String(text), 'hex'))
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function bodyOf({ body, place }: Vector): Omit<ClaimBody, 'v' | 'signer'> {
  return {
    ...(place === undefined ? {} : { place: place.map(([root, length, digest]) => [root, length, unhex(digest)]) }),
    mesh: unhex(body.mesh),
    action: CID.parse(String(body.action)),
    evidence: unhex(body.evidence),
    outputs: unhex(body.outputs),
    result: CID.parse(String(body.result)),
    package: String(body.package),
    tier: body.tier as ClaimBody['tier'],
    at: Number(body.at),
    wallMs: Number(body.wallMs),
  }
}

for (const vector of vectors.claims) {
  test(`golden claim: ${vector.name}`, () => {
    const claim = signClaim(bodyOf(vector), signingKey(unhex(vector.seed)))
    assert.equal(hex(claim.bytes), vector.bytes)
    assert.equal(hex(claim.body.signer), vector.body.signer)
    const read = readClaim(unhex(vector.bytes))
    checkClaim(read, unhex(vector.body.mesh))
    assert.deepEqual(read.body, claim.body)
  })
}

test('golden digests', () => {
  assert.equal(hex(evidenceOf(unwatched)), vectors.unwatched)
  assert.equal(hex(outputsDigest(result)), vectors.outputs)
})

const mesh = new Uint8Array(16).fill(9)
const reads = { reads: [], env: [] as [string, string | null][] }
const key = signingKey(new Uint8Array(32).fill(5))
const body = {
  mesh,
  action: planned.key,
  evidence: evidenceOf(reads),
  outputs: outputsDigest(result),
  result: encodeResult(result).cid,
  package: 'x 1.0.0',
  tier: 'host' as const,
  at: 1,
  wallMs: 2,
}

test('what a claim says cannot be changed, nor its signer', () => {
  const claim = signClaim(body, key)
  checkClaim(claim, mesh)
  for (const change of [
    { outputs: new Uint8Array(32) },
    { tier: 'confined' as const },
    { package: 'y 1.0.0' },
    { signer: signingKey(new Uint8Array(32).fill(6)).publicKey },
  ]) {
    const forged = readClaim(encode({ body: { ...claim.body, ...change }, sig: claim.sig }))
    assert.throws(() => checkClaim(forged, mesh), { code: 'ERR_SIGNATURE' })
  }
  assert.throws(() => checkClaim(claim, new Uint8Array(16)), { code: 'ERR_OTHER_MESH' })
})

test('a signature of the same bytes for another purpose is none', () => {
  const whole = { v: 1 as const, signer: key.publicKey, ...body }
  for (const prefix of ['', 'shoal/1/certificate\0', 'shoal/2/claim\0']) {
    const sig = key.sign(Buffer.concat([Buffer.from(prefix), encode(whole)]))
    assert.throws(() => checkClaim({ body: whole, sig, bytes: new Uint8Array() }, mesh), { code: 'ERR_SIGNATURE' })
  }
})

test('what is no claim in its one form is refused', () => {
  const { bytes, sig, body: signed } = signClaim(body, key)
  const bad = [
    new Uint8Array(),
    bytes.subarray(1),
    new Uint8Array([...bytes, 0]),
    encode({ body: signed, sig, more: 1 }),
    encode({ body: { ...signed, more: 1 }, sig }),
    encode({ body: { ...signed, v: 2 }, sig }),
    encode({ body: { ...signed, tier: 'none' }, sig }),
    encode({ body: { ...signed, at: -1 }, sig }),
    encode({ body: signed, sig: sig.subarray(1) }),
    encode({ body: { ...signed, package: 'x'.repeat(2000) }, sig }),
  ]
  for (const one of bad) assert.throws(() => readClaim(one), { code: 'ERR_DECODE' })
})

/** Of the run of a build script. */
const ofRun = {
  ...body,
  package: 'x 1.0.0 build script',
  place: tellPlace(
    placeHere([
      { name: 'build', path: '/home/ada/work/target/debug/build/x-1/out' },
      { name: 'registry', path: '/home/ada/.cargo/registry/src' },
    ]),
  ),
}

test('of a run it is signed where the roots lay, and what is no place is refused', () => {
  const { bytes, sig, body: signed } = signClaim(ofRun, key)
  const read = readClaim(bytes)
  checkClaim(read, mesh)
  assert.deepEqual(read.body.place, ofRun.place)
  const [first = ofRun.place[0], second] = ofRun.place
  assert.ok(first !== undefined && second !== undefined)
  const [root, length, digest] = first
  const moved = readClaim(encode({ body: { ...signed, place: [[root, length + 1, digest], second] }, sig }))
  assert.throws(() => checkClaim(moved, mesh), { code: 'ERR_SIGNATURE' })
  const { place: _, ...silent } = signed
  assert.throws(() => checkClaim(readClaim(encode({ body: silent, sig })), mesh), { code: 'ERR_SIGNATURE' })
  const bad: unknown[] = [
    null,
    'here',
    [[root, length]],
    [[root, length, digest, 1]],
    [[root, -1, digest]],
    [[root, 0.5, digest]],
    [[root, 4097, digest]],
    [[root, length, digest.subarray(1)]],
    [[root, length, 'digest']],
    [['r'.repeat(17), length, digest]],
    Array.from({ length: 9 }, () => first),
  ]
  for (const place of bad)
    assert.throws(() => readClaim(encode({ body: { ...signed, place }, sig })), { code: 'ERR_DECODE' })
})

test(`of ${fuzzRuns / 10} changed claims about runs none is accepted`, () => {
  const random = seededRandom(16)
  const claim = signClaim(ofRun, key)
  const refused = new Map<string, number>()
  const decoded = decode<{ body: Record<string, unknown>; sig: Uint8Array }>(claim.bytes)
  /** With the place changed, as anybody could who hands it on. */
  const misplaced = (): Uint8Array => {
    const changed = flipBits(encode(ofRun.place), random)
    try {
      return encode({ body: { ...decoded.body, place: decode(changed) }, sig: decoded.sig })
    } catch {
      return changed
    }
  }
  for (let run = 0; run < fuzzRuns / 10; run++) {
    const bytes = pick(random, [() => flipBits(claim.bytes, random), () => cutBytes(claim.bytes, random), misplaced])()
    if (Buffer.compare(bytes, claim.bytes) === 0) continue
    try {
      checkClaim(readClaim(bytes), mesh)
      assert.fail(Buffer.from(bytes).toString('hex'))
    } catch (error) {
      const code = error instanceof ShoalError ? error.code : ''
      assert.ok(
        ['ERR_DECODE', 'ERR_NOT_CANONICAL', 'ERR_SIGNATURE', 'ERR_OTHER_MESH', 'ERR_LIMIT'].includes(code),
        String(error),
      )
      refused.set(code, (refused.get(code) ?? 0) + 1)
    }
  }
  assert.ok((refused.get('ERR_DECODE') ?? 0) > 0 && (refused.get('ERR_SIGNATURE') ?? 0) > 0)
})

test('equal outputs are one result however long they took, and a claim is about one trace only', () => {
  const slower = { ...result, wallMs: 99, stderr: new Uint8Array([1]) }
  assert.deepEqual(outputsDigest(slower), outputsDigest(result))
  const claim = signClaim(body, key)
  const trace = { ...reads, action: planned.key, result: encodeResult(result).cid }
  assert.ok(isAbout(claim, trace))
  assert.ok(!isAbout(claim, { ...trace, result: encodeResult(slower).cid }))
  assert.ok(!isAbout(claim, { ...trace, action: content('other') }))
  assert.ok(!isAbout(claim, { ...trace, env: [['A', null]] }))
})
