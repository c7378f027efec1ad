import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { CertificateBody } from '../../src/mesh/certificate.ts'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { decodeGenesis, meshIdOf } from '../../src/mesh/genesis.ts'
import { decodeProof, encodeProof, type JoinProof, proveInvite } from '../../src/mesh/invite.ts'
import { decodeInviteLink, encodeInviteLink, type InviteLink, isMaker } from '../../src/mesh/invite-link.ts'
import { phraseOf, rootFromPhrase } from '../../src/mesh/recovery.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { decodeEntry } from '../../src/mesh/roster-entry.ts'
import { hex, type Signed, type StatementType, signStatement } from '../../src/mesh/statement.ts'

interface Vectors {
  meshId: string
  /** Bytes in bodies are written `{"hex": …}`; `chain` names other vectors. */
  statements: {
    name: string
    type: StatementType
    seed: string
    chain: string[]
    body: unknown
    id: string
    bytes: string
  }[]
  roster: { now: number; digest: string; members: string[] }
  proof: { secret: string; fields: unknown; bytes: string }
  link: { makerKey: string; fields: unknown; text: string }
  linkBefore: { fields: unknown; text: string }
  recovery: { seed: string; phrase: string; publicKey: string }
}

const vectors: Vectors = JSON.parse(readFileSync(new URL('vectors/statements.json', import.meta.url), 'utf8'))
const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))

function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson)
  if (typeof value !== 'object' || value === null) return value
  if ('hex' in value) return unhex(String(value.hex))
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, fromJson(field)]))
}

const made = new Map<string, Signed<CertificateBody>>()
for (const { name, type, seed, chain, body, id, bytes } of vectors.statements) {
  const links = chain.map((link) => made.get(link)).filter((link) => link !== undefined)
  const statement = signStatement(type, fromJson(body) as CertificateBody, signingKey(unhex(seed)), links)
  made.set(name, { id: statement.id, body: statement.body, sig: statement.sig })

  test(`golden ${type}: ${name}`, () => {
    assert.equal(hex(statement.bytes), bytes)
    assert.equal(hex(statement.id), id)
    const read = type === 'genesis' ? decodeGenesis(unhex(bytes)) : decodeEntry(unhex(bytes)).statement
    assert.deepEqual(read, statement)
  })
}

test('golden roster: all of them together', () => {
  const [first, ...others] = vectors.statements.map(({ bytes }) => unhex(bytes))
  const genesis = decodeGenesis(first ?? new Uint8Array())
  assert.equal(meshIdOf(genesis), vectors.meshId)
  const roster = new Roster(genesis)
  const { now, digest, members } = vectors.roster
  for (const bytes of others) assert.equal(roster.add(bytes, now), 'added')
  assert.equal(hex(roster.digest(now)), digest)
  assert.deepEqual(
    roster.members(now).map(({ name }) => name),
    members,
  )
})

test('golden proof', () => {
  const { secret, fields, bytes } = vectors.proof
  const proof = fromJson(fields) as JoinProof
  assert.equal(hex(encodeProof(proof)), bytes)
  assert.deepEqual(decodeProof(unhex(bytes)), proof)
  const mesh = unhex(vectors.statements[0]?.id ?? '').slice(0, 16)
  assert.deepEqual(proveInvite({ ...proof, secret: unhex(secret), mesh }), proof)
})

test('golden links, as they are and as they were', () => {
  for (const { fields, text } of [vectors.link, vectors.linkBefore]) {
    const link = fromJson(fields) as InviteLink
    assert.equal(encodeInviteLink(link), text)
    assert.deepEqual(decodeInviteLink(text), link)
  }
  assert.ok(isMaker(decodeInviteLink(vectors.link.text), unhex(vectors.link.makerKey)))
})

test('golden recovery phrase', () => {
  const { seed, phrase, publicKey } = vectors.recovery
  assert.equal(phraseOf(unhex(seed)), phrase)
  assert.equal(hex(rootFromPhrase(phrase).key.publicKey), publicKey)
})
