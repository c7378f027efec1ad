import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  adminLifetimeMs,
  type CertificateBody,
  type Issuer,
  issueCertificate,
  lifetimeMs,
  needsRenewal,
  type Role,
  renew,
  roleOrder,
  type SignedCertificate,
} from '../../src/mesh/certificate.ts'
import type { SigningKey } from '../../src/mesh/ed25519.ts'
import { createGenesis, decodeGenesis, meshIdOf, meshKeyOf } from '../../src/mesh/genesis.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { earlyMs, lateMs, maxStatementBytes, signStatement } from '../../src/mesh/statement.ts'
import { day, hour, inviting, keyOf, office, type Person, plain, serialOf, start, trusted } from './office.ts'

const { genesis, root, ann, ivy, max, hire, roster } = office()

/** Signs whatever is asked for: what a member with a changed program would send. */
function forge(by: Person | Issuer, changes: Partial<CertificateBody>, chain?: readonly SignedCertificate[]) {
  const body = { ...max.certificate.body, ...changes }
  const issued = { ...body, issuer: by.key.publicKey, by: by.certificate?.id ?? null, ...changes }
  const links = by.certificate === undefined ? [] : [by.certificate, ...by.certificate.chain]
  return signStatement('certificate', issued, by.key, chain ?? links)
}

const code = (expected: string, run: () => unknown): void => assert.throws(run, { code: expected })
const refuse = (expected: string, statement: { bytes: Uint8Array }, now = start): void =>
  code(expected, () => roster(ann, ivy).add(statement.bytes, now))

test('a mesh is named after its genesis', () => {
  assert.deepEqual(decodeGenesis(genesis.bytes), genesis)
  assert.match(meshIdOf(genesis), /^[a-z2-7]{26}$/)
  assert.equal(meshKeyOf(genesis).length, 16)
  const init = { name: 'office', open: true, nonce: serialOf(1) }
  const open = createGenesis(init, keyOf(1), start)
  assert.notEqual(meshIdOf(open), meshIdOf(genesis))
  assert.deepEqual(decodeGenesis(open.bytes, meshKeyOf(open)), open)
  code('ERR_OTHER_MESH', () => decodeGenesis(open.bytes, meshKeyOf(genesis)))
  code('ERR_SIGNATURE', () => decodeGenesis(signStatement('genesis', genesis.body, keyOf(9), []).bytes))
  code('ERR_DECODE', () => decodeGenesis(signStatement('genesis', genesis.body, keyOf(1), [ann.certificate]).bytes))
  code('ERR_DECODE', () => decodeGenesis(max.certificate.bytes))
})

test('the root makes administrators, they inviters, and these members', () => {
  const known = roster(ann, ivy, max)
  const view = known.verify(max.key.publicKey, start)
  assert.equal(view.name, 'max')
  assert.deepEqual(view.roles, plain)
  assert.deepEqual(view.invitedBy, ivy.key.publicKey)
  assert.equal(view.notAfter, start + lifetimeMs)
  assert.match(view.peerId, /^12D3KooW/)
  assert.deepEqual(
    known
      .members(start)
      .map(({ name }) => name)
      .toSorted(),
    ['ann', 'ivy', 'max'],
  )
})

test('a certificate proves itself: no other statement has to be known', () => {
  const known = new Roster(genesis)
  assert.equal(known.admit(max.certificate.bytes, max.key.publicKey, start).name, 'max')
})

test('a member cannot mint members', () => {
  for (const role of roleOrder) {
    const roles: Role[] = role === 'member' ? ['member'] : ['member', role]
    const hired = hire(ann, 40, plain)
    code('ERR_ROLE', () => hire(hired, 41, roles))
    refuse('ERR_ROLE', forge(hired, { roles, subject: keyOf(41).publicKey }))
  }
})

test('who may grant what', () => {
  const table: [Issuer, readonly Role[], string | undefined][] = [
    [root, trusted, undefined],
    [root, roleOrder, undefined],
    [ann, roleOrder, undefined],
    [ann, inviting, undefined],
    [ivy, plain, undefined],
    [ivy, ['member'], undefined],
    [ivy, ['member', 'ci'], 'ERR_ROLE'],
    [ivy, inviting, 'ERR_ROLE'],
    [ivy, trusted, 'ERR_ROLE'],
    [hire(ann, 50, ['member', 'inviter']), ['member'], undefined],
    [hire(ann, 50, ['member', 'inviter']), plain, 'ERR_ROLE'],
    [hire(ann, 51, ['member', 'lender', 'ci', 'inviter']), ['member', 'ci'], 'ERR_ROLE'],
  ]
  for (const [by, roles, expected] of table) {
    const forged = forge(by, { roles: [...roles] })
    if (expected === undefined) {
      assert.equal(roster(ann, ivy).add(forged.bytes, start), 'added')
      assert.deepEqual(hire(by, 4, roles).certificate.body.roles, roles)
    } else {
      refuse(expected, forged)
      code(expected, () => hire(by, 4, roles))
    }
  }
})

test('three certificates in a row, and no more', () => {
  const second = hire(ann, 60, trusted)
  const third = hire(second, 61, trusted)
  assert.equal(roster().add(third.certificate.bytes, start), 'added')
  code('ERR_CHAIN_LENGTH', () => hire(third, 62, plain))
  refuse('ERR_CHAIN_LENGTH', forge(third, { subject: keyOf(62).publicKey }))
  refuse('ERR_CHAIN_LENGTH', forge(root, {}, [ann.certificate]))
})

test('nobody vouches for itself, or for the root', () => {
  code('ERR_ROLE', () => hire(ann, 2, plain))
  code('ERR_ROLE', () => hire(ivy, 2, plain))
  code('ERR_ROLE', () => hire(root, 1, plain))
  refuse('ERR_ROLE', forge(ann, { subject: ann.key.publicKey }))
  refuse('ERR_ROLE', forge(ivy, { subject: genesis.body.root }))
})

test('thirty days, and longer only for administrators from the root', () => {
  assert.equal(ann.certificate.body.notAfter - start, adminLifetimeMs)
  assert.equal(ivy.certificate.body.notAfter - start, lifetimeMs)
  assert.equal(hire(root, 70, inviting).certificate.body.notAfter - start, lifetimeMs)
  assert.equal(hire(ann, 71, trusted).certificate.body.notAfter - start, lifetimeMs)
  refuse('ERR_ROLE', forge(ann, { notAfter: start + lifetimeMs + 1 }))
  refuse('ERR_ROLE', forge(root, { notAfter: start + lifetimeMs + 1 }))
  refuse('ERR_ROLE', forge(ann, { roles: trusted, notAfter: start + lifetimeMs + 1 }))
  refuse('ERR_ROLE', forge(root, { roles: trusted, notAfter: start + adminLifetimeMs + 1 }))
  refuse('ERR_ROLE', forge(ann, { notAfter: start }))
})

test('dates are kept to ten minutes before and a day after', () => {
  const { notAfter } = max.certificate.body
  assert.equal(roster().add(max.certificate.bytes, start - earlyMs), 'added')
  refuse('ERR_NOT_YET_VALID', max.certificate, start - earlyMs - 1)
  assert.equal(roster().add(max.certificate.bytes, notAfter + lateMs), 'added')
  refuse('ERR_EXPIRED', max.certificate, notAfter + lateMs + 1)
  const known = roster(max)
  assert.equal(known.verify(max.key.publicKey, notAfter + lateMs).name, 'max')
  code('ERR_NOT_YET_VALID', () => known.verify(max.key.publicKey, start - earlyMs - 1))
  code('ERR_NOT_MEMBER', () => known.verify(max.key.publicKey, notAfter + lateMs + 1))
  assert.equal(known.size, 0)
})

test('an issuer must have been one at the time, and need not be one now', () => {
  const later = start + lifetimeMs + lateMs
  const last = hire(ivy, 80, plain, later)
  assert.equal(roster().add(last.certificate.bytes, later + 20 * day), 'added')
  code('ERR_EXPIRED', () => hire(ivy, 80, plain, later + 1))
  refuse('ERR_EXPIRED', forge(ivy, { notBefore: later + 1, notAfter: later + day }), later + 1)
  const early = start - earlyMs - 1
  refuse('ERR_NOT_YET_VALID', forge(ivy, { notBefore: early, notAfter: start + day }), start)
})

test('a chain that does not lead to the root of this mesh is none', () => {
  const other = office('another')
  refuse('ERR_OTHER_MESH', other.max.certificate)
  refuse('ERR_OTHER_MESH', forge(root, { mesh: meshKeyOf(other.genesis) }))
  refuse('ERR_ISSUER_UNKNOWN', forge(ivy, {}, []))
  refuse('ERR_ISSUER_UNKNOWN', forge(ivy, {}, [ivy.certificate]))
  refuse('ERR_ISSUER_UNKNOWN', forge(ivy, {}, [ann.certificate, ivy.certificate]))
  refuse('ERR_ISSUER_UNKNOWN', forge(ivy, { by: ann.certificate.id }, [ann.certificate]))
  refuse('ERR_ISSUER_UNKNOWN', forge({ genesis, key: keyOf(90) }, {}))
  const stranger: SigningKey = keyOf(91)
  refuse('ERR_ISSUER_UNKNOWN', forge({ ...ivy, key: stranger }, {}))
  refuse('ERR_SIGNATURE', forge({ ...ivy, key: stranger }, { issuer: ivy.key.publicKey }))
  const forgedLink = { ...ivy.certificate, sig: new Uint8Array(ivy.certificate.sig).fill(0, 32) }
  refuse('ERR_SIGNATURE', forge(ivy, {}, [forgedLink, ann.certificate]))
})

test('every link of a chain is looked at like the last', () => {
  const member = hire(root, 92, plain)
  const key = keyOf(93)
  const mint = (changes: Partial<CertificateBody>, by: Person | Issuer = member) => ({
    genesis,
    key,
    certificate: forge(by, { subject: key.publicKey, roles: inviting, ...changes }),
  })
  refuse('ERR_ROLE', forge(mint({}), {}))
  refuse('ERR_ROLE', forge(mint({ notAfter: start + lifetimeMs + 1 }, root), {}))
  refuse('ERR_ROLE', forge(mint({ subject: genesis.body.root }, root), { issuer: genesis.body.root }))
  refuse('ERR_OTHER_MESH', forge(mint({ mesh: new Uint8Array(16) }, root), {}))
  assert.equal(roster().add(forge(mint({}, root), {}).bytes, start), 'added')
  // The issuer has another certificate, but it is not the one that was signed.
  const renewed = renew(ivy.certificate, ann, start, serialOf(11))
  refuse('ERR_ISSUER_UNKNOWN', forge(ivy, {}, [renewed, ...ivy.certificate.chain]))
})

test("another key's certificate opens nothing", () => {
  code('ERR_REPLAYED', () => roster(ann, ivy).admit(max.certificate.bytes, keyOf(99).publicKey, start))
  code('ERR_NOT_MEMBER', () => roster(ann, ivy).verify(max.key.publicKey, start))
})

test('renewed from half-time on, by anyone who may grant as much', () => {
  const half = start + lifetimeMs / 2
  assert.equal(needsRenewal(max.certificate, half - 1), false)
  assert.equal(needsRenewal(max.certificate, half), true)
  const again = renew(max.certificate, ann, half, serialOf(7))
  const { subject, name, roles, invite, invitedBy } = max.certificate.body
  assert.deepEqual({ ...again.body, subject, name, roles, invite, invitedBy }, again.body)
  assert.equal(again.body.notBefore, half)
  assert.equal(again.body.notAfter, half + lifetimeMs)
  const known = roster(ann, ivy, max)
  known.add(again.bytes, half)
  assert.equal(known.verify(max.key.publicKey, half).notAfter, half + lifetimeMs)
  code('ERR_ROLE', () => renew(hire(ann, 81, inviting).certificate, ivy, start + hour, serialOf(8)))
  code('ERR_EXPIRED', () => renew(max.certificate, ann, start + lifetimeMs + lateMs + 1, serialOf(9)))
})

test('renamed and promoted by one more certificate, and no inviter takes that back', () => {
  const known = roster(ann, ivy, max)
  const subject = max.key.publicKey
  const issue = (by: Issuer, name: string, roles: Role[], now: number) =>
    known.add(issueCertificate(by, { subject, name, roles, serial: serialOf(now - start) }, now).bytes, now)
  issue(ivy, 'maxine', plain, start + 1)
  assert.equal(known.verify(subject, start + 9).name, 'maxine')
  issue(ann, 'maxine', trusted, start + 2)
  issue(ivy, 'nobody', ['member'], start + 3)
  const { name, roles } = known.verify(subject, start + 9)
  assert.deepEqual({ name, roles }, { name: 'maxine', roles: trusted })
})

test('names have 1 to 64 bytes and no control characters', () => {
  const long = 'ä'.repeat(32)
  assert.equal(hire(ivy, 4, plain, start, long).certificate.body.name, long)
  for (const name of ['', `${long}x`, 'a\u0007', 'a\u009b']) {
    code('ERR_DECODE', () => hire(ivy, 4, plain, start, name))
    refuse('ERR_DECODE', forge(ivy, { name }))
  }
})

test('the longest chain fits', () => {
  const name = 'x'.repeat(64)
  const first = hire(root, 30, roleOrder, start, name)
  const second = hire(first, 31, roleOrder, start, name)
  const third = hire(second, 32, roleOrder, start, name)
  assert.ok(third.certificate.bytes.length < maxStatementBytes, `${third.certificate.bytes.length}`)
})
