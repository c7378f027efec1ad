import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Issuer, lifetimeMs, renew } from '../../src/mesh/certificate.ts'
import {
  createInvite,
  decodeProof,
  encodeProof,
  type Invite,
  inviteLifetimeMs,
  type JoinProof,
  proveInvite,
} from '../../src/mesh/invite.ts'
import { redeem } from '../../src/mesh/redeem.ts'
import { revoke, type Target } from '../../src/mesh/revocation.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { earlyMs, signStatement } from '../../src/mesh/statement.ts'
import { day, inviting, keyOf, office, plain, serialOf, start } from './office.ts'

const { genesis, root, ann, ivy, max, hire, roster } = office()
const secret = serialOf(77)
const channel = new Uint8Array(32).fill(5)
const newcomer = keyOf(20).publicKey
const code = (expected: string, run: () => unknown): void => assert.throws(run, { code: expected })

/** The proof of a newcomer who knows the secret. */
function prove(changes: Partial<Parameters<typeof proveInvite>[0]> = {}): JoinProof {
  const mesh = genesis.id.slice(0, 16)
  return proveInvite({ secret, mesh, subject: newcomer, inviter: ivy.key.publicKey, channel, ...changes })
}

/** An inviter with an open invitation at its door. */
function door(by: Issuer = ivy, invite: Invite = createInvite(ann, { secret, roles: plain }, start)) {
  const book = roster(ann, ivy)
  book.add(invite.bytes, start)
  const needs = { book, issuer: by }
  const ask = (proof: JoinProof, now = start, remote = newcomer, over = channel) =>
    redeem(needs, { proof, remote, channel: over, name: 'new', serial: serialOf(9) }, now)
  return { book, ask, invite }
}

test('an invitation makes a member, whoever of the inviters is there', () => {
  const { book, ask, invite } = door()
  const { certificate, redemption } = ask(prove())
  assert.equal(book.add(certificate.bytes, start), 'added')
  assert.equal(book.add(redemption.bytes, start), 'added')
  const { name, roles, invitedBy } = book.verify(newcomer, start)
  assert.deepEqual({ name, roles, invitedBy }, { name: 'new', roles: plain, invitedBy: ann.key.publicKey })
  assert.deepEqual(certificate.body.invite, invite.body.invite)
  assert.deepEqual(certificate.body.issuer, ivy.key.publicKey)
})

test('once: a second use is refused wherever either statement of the first has come', () => {
  const { certificate, redemption } = door().ask(prove())
  for (const { bytes } of [certificate, redemption]) {
    const { book, ask } = door()
    book.add(bytes, start)
    code('ERR_INVITE_USED', () => ask(prove()))
    code('ERR_INVITE_USED', () => ask(prove({ subject: keyOf(21).publicKey }), start, keyOf(21).publicKey))
  }
})

test('a proof is good for one key, one inviter and one channel', () => {
  const { ask } = door()
  code('ERR_REPLAYED', () => ask(prove(), start, keyOf(21).publicKey))
  code('ERR_REPLAYED', () => ask(prove({ inviter: ann.key.publicKey })))
  code('ERR_REPLAYED', () => ask(prove(), start, newcomer, new Uint8Array(32)))
  // Changed to fit, its signature does not.
  code('ERR_SIGNATURE', () => ask({ ...prove({ subject: keyOf(21).publicKey }), subject: newcomer }))
  code('ERR_INVITE_UNKNOWN', () => ask(prove({ secret: serialOf(78) })))
  code('ERR_INVITE_UNKNOWN', () => ask(prove({ mesh: new Uint8Array(16) })))
  assert.equal(ask(prove()).certificate.body.name, 'new')
})

test('a key that was shut out does not come in again, and uses nothing up', () => {
  const { book, ask } = door()
  book.add(revoke(ann, { kind: 'key', key: newcomer }, 'kicked', start).bytes, start)
  code('ERR_REVOKED', () => ask(prove()))
  const other = keyOf(21).publicKey
  assert.equal(ask(prove({ subject: other }), start, other).certificate.body.name, 'new')
})

test('bad proofs use nothing up', () => {
  const { ask } = door()
  const guess = { ...prove(), sig: new Uint8Array(64) }
  for (let tries = 0; tries < 20; tries++) code('ERR_SIGNATURE', () => ask(guess))
  assert.equal(ask(prove()).certificate.body.name, 'new')
})

test('an invitation that somebody says is burned is closed, and who came with it stays', () => {
  for (const by of [root, ann, ivy]) {
    const { book, ask, invite } = door()
    const { certificate } = ask(prove())
    book.add(revoke(by, { kind: 'invite', invite: invite.body.invite }, 'burned', start).bytes, start)
    code('ERR_INVITE_BURNED', () => ask(prove()))
    book.add(certificate.bytes, start)
    assert.equal(book.verify(newcomer, start).name, 'new')
  }
})

test('a day, and ten minutes for the clocks', () => {
  const { ask } = door()
  const last = start + inviteLifetimeMs + earlyMs
  assert.equal(ask(prove(), last).certificate.body.notBefore, last)
  code('ERR_EXPIRED', () => ask(prove(), last + 1))
  code('ERR_INVITE_UNKNOWN', () => ask(prove(), start + 3 * day))
  code('ERR_NOT_YET_VALID', () => door().ask(prove(), start - earlyMs - 1))
  code('ERR_ROLE', () => createInvite(ann, { secret, roles: plain, lifetimeMs: inviteLifetimeMs + 1 }, start))
})

test('an invitation gives no more than its issuer has, and its redeemer neither', () => {
  code('ERR_ROLE', () => createInvite(ivy, { secret, roles: inviting }, start))
  code('ERR_ROLE', () => createInvite(max, { secret, roles: plain }, start))
  const third = hire(hire(ann, 60, inviting.concat('admin')), 61, inviting)
  code('ERR_CHAIN_LENGTH', () => createInvite(third, { secret, roles: plain }, start))
  const invite = createInvite(ann, { secret, roles: inviting }, start)
  code('ERR_ROLE', () => door(ivy, invite).ask(prove()))
  const proof = prove({ inviter: ann.key.publicKey })
  assert.deepEqual(door(ann, invite).ask(proof).certificate.body.roles, inviting)
  assert.ok(createInvite(root, { secret, roles: inviting.concat('admin') }, start))
})

test('where the root key is, it signs for who may let others in, and for nobody else', () => {
  for (const roles of [inviting, plain]) {
    const invite = createInvite(ann, { secret, roles }, start)
    const { book } = door(ann, invite)
    const proof = prove({ inviter: ann.key.publicKey })
    const request = { proof, remote: newcomer, channel, name: 'new', serial: serialOf(9) }
    const { certificate, redemption } = redeem({ book, issuer: ann, highest: root }, request, start)
    const by = roles === inviting ? root : ann
    assert.deepEqual(certificate.body.issuer, by.key.publicKey)
    assert.deepEqual(certificate.body.invitedBy, ann.key.publicKey)
    for (const { bytes } of [certificate, redemption]) assert.equal(book.add(bytes, start), 'added')
    assert.deepEqual(book.verify(newcomer, start).roles, roles)
  }
})

test('a member cannot redeem, nor say that somebody has redeemed', () => {
  code('ERR_ROLE', () => door(max).ask(prove({ inviter: max.key.publicKey })))
  const { redemption } = door().ask(prove())
  const { id: by } = max.certificate
  const body = { ...redemption.body, issuer: max.key.publicKey, by }
  const forged = signStatement('redemption', body, max.key, [max.certificate, ...max.certificate.chain])
  code('ERR_ROLE', () => door().book.add(forged.bytes, start))
})

test('no inviter can invent that an invitation was used', () => {
  const { redemption } = door().ask(prove())
  const links = [ivy.certificate, ...ivy.certificate.chain]
  for (const changes of [
    { subject: keyOf(22).publicKey },
    { channel: new Uint8Array(32) },
    { verifier: keyOf(23).publicKey },
  ]) {
    const forged = signStatement('redemption', { ...redemption.body, ...changes }, ivy.key, links)
    code('ERR_SIGNATURE', () => door().book.add(forged.bytes, start))
  }
  const chosen = { ...createInvite(ann, { secret, roles: plain }, start).body, invite: new Uint8Array(8) }
  const forged = signStatement('invite', chosen, ann.key, [ann.certificate])
  code('ERR_DECODE', () => door().book.add(forged.bytes, start))
})

test('used on both sides of a partition: the earlier stays, the other falls, everywhere', () => {
  const other = keyOf(21)
  const here = door().ask(prove(), start + 2)
  const there = door(ann).ask(
    prove({ subject: other.publicKey, inviter: ann.key.publicKey }),
    start + 1,
    other.publicKey,
  )
  const all = [here.certificate, here.redemption, there.certificate, there.redemption]
  for (const order of [all, all.toReversed()]) {
    const book = new Roster(genesis)
    for (const { bytes } of order) book.add(bytes, start + 2)
    assert.equal(book.verify(other.publicKey, start + 2).name, 'new')
    code('ERR_INVITE_USED', () => book.verify(newcomer, start + 2))
    // A renewal keeps the invitation, so it does not help.
    const renewed = renew(here.certificate, ann, start + day, serialOf(10))
    book.add(renewed.bytes, start + day)
    code('ERR_INVITE_USED', () => book.verify(newcomer, start + day))
  }
})

test('with the one who came second, whom it let in falls', () => {
  const invite = createInvite(ann, { secret, roles: inviting }, start)
  const [first, second] = [keyOf(21), keyOf(22)].map((key, at) => {
    const proof = prove({ subject: key.publicKey, inviter: ann.key.publicKey })
    return { genesis, key, ...door(ann, invite).ask(proof, start + at, key.publicKey) }
  })
  assert.ok(first !== undefined && second !== undefined)
  const friends = [first, second].map((issuer, at) => hire(issuer, 23 + at, plain, start + 1))
  const book = new Roster(genesis)
  for (const { certificate } of [first, second, ...friends]) book.add(certificate.bytes, start + 1)
  assert.equal(book.members(start + 1).length, 4)
  for (const { redemption } of [first, second]) book.add(redemption.bytes, start + 1)
  assert.deepEqual(
    book.members(start + 1).map(({ key }) => key),
    [first.key, keyOf(23)].map(({ publicKey }) => publicKey).toSorted(Buffer.compare),
  )
})

test('two uses in the same millisecond have one winner too', () => {
  const keys = [keyOf(21), keyOf(22)]
  const uses = keys.map(({ publicKey }) => door().ask(prove({ subject: publicKey }), start, publicKey))
  const winners = [uses, uses.toReversed()].map((order) => {
    const book = new Roster(genesis)
    for (const { certificate, redemption } of order) {
      book.add(certificate.bytes, start)
      book.add(redemption.bytes, start)
    }
    return book.members(start).map(({ peerId }) => peerId)
  })
  assert.equal(winners[0]?.length, 1)
  assert.deepEqual(winners[0], winners[1])
})

test('a redemption is remembered for as long as its certificates could matter', () => {
  const { certificate, redemption } = door().ask(prove())
  const book = new Roster(genesis)
  book.add(certificate.bytes, start)
  book.add(redemption.bytes, start)
  book.ids(start + lifetimeMs + 2 * day)
  assert.equal(book.size, 1)
  book.ids(start + 63 * day)
  assert.equal(book.size, 0)
})

test('who is shut out has no invitations any more', () => {
  const invite = createInvite(ivy, { secret, roles: plain }, start)
  const targets: Target[] = [
    { kind: 'key', key: ivy.key.publicKey },
    { kind: 'issuer', key: ivy.key.publicKey, keep: [] },
    { kind: 'invite', invite: invite.body.invite },
  ]
  for (const target of targets) {
    const { book, ask } = door(ann, invite)
    book.add(revoke(ann, target, 'kicked', start).bytes, start)
    code('ERR_REVOKED', () => ask(prove({ inviter: ann.key.publicKey })))
  }
})

test('a proof survives the wire', () => {
  assert.deepEqual(decodeProof(encodeProof(prove())), prove())
  code('ERR_DECODE', () => decodeProof(new Uint8Array(513)))
})
