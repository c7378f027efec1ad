import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { ErrorCode } from '../../src/base/errors.ts'
import * as ask from '../../src/mesh/ask-messages.ts'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { decodeHello, decodeVerdict, encodeHello, encodeVerdict } from '../../src/mesh/hello.ts'
import * as joining from '../../src/mesh/join-messages.ts'
import { askPrologue, joinPrologue, restorePrologue } from '../../src/mesh/join-protocol.ts'
import { prologueOf } from '../../src/mesh/membership.ts'
import { restoreServiceOf } from '../../src/mesh/restore.ts'
import * as restoring from '../../src/mesh/restore-messages.ts'
import { type CodeInit, commitmentTo, shortCode } from '../../src/mesh/short-code.ts'
import { hex } from '../../src/mesh/statement.ts'

/** Bytes are written `{"hex": …}`. All was made by another encoder than this one. */
interface Vectors {
  messages: { name: string; kind: string; value: unknown; bytes: string }[]
  prologues: { join: string; ask: string; restore: string; member: { secret: string; prologue: string } }
  code: { fields: unknown; commitment: string; code: string }
  restore: { seed: string; between: unknown; root: string; sig: string; service: string }
}

const vectors: Vectors = JSON.parse(readFileSync(new URL('vectors/handshakes.json', import.meta.url), 'utf8'))
const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))

function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson)
  if (typeof value !== 'object' || value === null) return value
  if ('hex' in value) return unhex(String(value.hex))
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, fromJson(field)]))
}

interface Refused {
  refused: ErrorCode | ''
}

/** How each kind is written, and that it is read as what it was. */
const kinds: Record<string, [encode: (value: never) => Uint8Array, check: (bytes: Uint8Array, value: never) => void]> =
  {
    hello: [
      encodeHello,
      (bytes, value: object) => assert.deepEqual(decodeHello(bytes), { v: 1, ...value, protocols: { min: 1, max: 1 } }),
    ],
    verdict: [
      ({ refused }: Refused) => encodeVerdict(refused === '' ? undefined : refused),
      (bytes, { refused }: Refused) => assert.equal(decodeVerdict(bytes) ?? '', refused),
    ],
    'join-ask': [
      joining.encodeAsk,
      (bytes, value) => assert.deepEqual(joining.decodeAsk(bytes), { v: 1, ...asObject(value) }),
    ],
    'join-offer': [
      joining.encodeOffer,
      (bytes, value) => assert.deepEqual(joining.decodeOffer(bytes), { v: 1, ...asObject(value) }),
    ],
    'join-proof': [
      joining.encodeJoinProof,
      (bytes, value) => assert.deepEqual(joining.decodeJoinProof(bytes), { v: 1, ...asObject(value) }),
    ],
    'join-welcome': [
      joining.encodeWelcome,
      (bytes, value) => assert.deepEqual(joining.decodeWelcome(bytes), { v: 1, ...asObject(value) }),
    ],
    'join-roster': [
      joining.encodeRosterPart,
      (bytes, value) => assert.deepEqual(joining.decodeRosterPart(bytes), { v: 1, ...asObject(value) }),
    ],
    'join-refusal': [
      ({ refused }: Refused) => joining.encodeRefusal(refused || 'ERR_INTERNAL'),
      (bytes, { refused }: Refused) => assert.throws(() => joining.decodeOffer(bytes), { code: refused }),
    ],
    'ask-request': [
      ask.encodeRequest,
      (bytes, value) => assert.deepEqual(ask.decodeRequest(bytes), { v: 1, ...asObject(value) }),
    ],
    'ask-sign': [ask.encodeSign, (bytes, value) => assert.deepEqual(ask.decodeSign(bytes), value)],
    'ask-nonce': [
      ({ nonce }: { nonce: Uint8Array }) => ask.encodeNonce(nonce),
      (bytes, { nonce }: { nonce: Uint8Array }) => {
        assert.deepEqual(ask.decodeNonce(bytes), nonce)
        assert.deepEqual(ask.decodeNonceReply(bytes), nonce)
      },
    ],
    'ask-state': [
      ({ approved }: { approved: boolean }) => ask.encodeState(approved),
      (bytes, { approved }: { approved: boolean }) => assert.equal(ask.decodeState(bytes), approved),
    ],
    'ask-refusal': [
      ({ refused }: Refused) => ask.encodeAskRefusal(refused || 'ERR_INTERNAL'),
      (bytes, { refused }: Refused) => assert.throws(() => ask.decodeSign(bytes), { code: refused }),
    ],
    'restore-claim': [
      restoring.encodeClaim,
      (bytes, value) => assert.deepEqual(restoring.decodeClaim(bytes), { v: 1, ...asObject(value) }),
    ],
    'restore-answer': [
      restoring.encodeRestored,
      (bytes, value) => assert.deepEqual(restoring.decodeRestored(bytes), { v: 1, ...asObject(value) }),
    ],
  }

function asObject(value: unknown): object {
  assert.ok(typeof value === 'object' && value !== null)
  return value
}

for (const { name, kind, value, bytes } of vectors.messages) {
  test(`golden ${kind}: ${name}`, () => {
    const [encode, check] = kinds[kind] ?? []
    const fields = fromJson(value) as never
    assert.ok(encode && check)
    assert.equal(hex(encode(fields)), bytes)
    check(unhex(bytes), fields)
  })
}

test('golden prologues', () => {
  const { join, ask: asking, restore, member } = vectors.prologues
  assert.equal(hex(joinPrologue), join)
  assert.equal(hex(askPrologue), asking)
  assert.equal(hex(restorePrologue), restore)
  assert.equal(hex(prologueOf(unhex(member.secret))), member.prologue)
})

test('golden code', () => {
  const fields = fromJson(vectors.code.fields) as CodeInit
  assert.equal(hex(commitmentTo(fields.newcomerNonce, fields.newcomer)), vectors.code.commitment)
  assert.equal(shortCode(fields), vectors.code.code)
})

test('golden claim of the root key, and the name under which members are found', () => {
  const { seed, between, root, sig, service } = vectors.restore
  const fields = fromJson(between) as restoring.Between
  const claim = restoring.proveRoot(signingKey(unhex(seed)), fields)
  assert.deepEqual([hex(claim.root), hex(claim.sig)], [root, sig])
  restoring.checkClaim(claim, fields)
  assert.equal(restoreServiceOf(claim.root), service)
})
