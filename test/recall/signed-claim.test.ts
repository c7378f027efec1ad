import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { encode } from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { encodeResult } from '../../src/plan/action.ts'
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
import { content, planned, result } from './support.ts'

interface Vector {
  name: string
  seed: string
  /** Bytes and CIDs as text. */
  body: Record<keyof ClaimBody, string | number>
  bytes: string
}

const vectors: { claims: Vector[]; unwatched: string; outputs: string } = JSON.parse(
  readFileSync(new URL('vectors/claims.json', import.meta.url), 'utf8'),
)
const unhex = (text: unknown): Uint8Array => new Uint8Array(Buffer.from(String(text), 'hex'))
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function bodyOf({ body }: Vector): Omit<ClaimBody, 'v' | 'signer'> {
  return {
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
