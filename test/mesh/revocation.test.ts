import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Issuer, issueCertificate, type Role, roleOrder } from '../../src/mesh/certificate.ts'
import { createInvite, proveInvite } from '../../src/mesh/invite.ts'
import { kick } from '../../src/mesh/kick.ts'
import { redeem } from '../../src/mesh/redeem.ts'
import { leave, maxKeep, type RevocationBody, revoke, type Target } from '../../src/mesh/revocation.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { maxStatementBytes, signStatement } from '../../src/mesh/statement.ts'
import { day, inviting, keyOf, office, type Person, plain, serialOf, start, trusted } from './office.ts'

const { genesis, root, ann, ivy, max, hire, roster } = office()
const bob = hire(root, 5, trusted, start, 'bob')
const code = (expected: string, run: () => unknown): void => assert.throws(run, { code: expected })
const names = (book: Roster, now = start): string[] =>
  book
    .members(now)
    .map(({ name }) => name)
    .toSorted()
const keyTarget = (person: Issuer): Target => ({ kind: 'key', key: person.key.publicKey })
const issuerTarget = (person: Issuer, keep: Uint8Array[] = []): Target => ({
  kind: 'issuer',
  key: person.key.publicKey,
  keep,
})
let random = 1000
const needs = (book: Roster, issuer: Issuer) => ({ roster: book, issuer, random: () => serialOf(++random) })
const tell = (book: Roster, statements: Iterable<{ bytes: Uint8Array }>, now = start): void => {
  for (const { bytes } of statements) book.add(bytes, now)
}

test('a revoked key is out, whatever certificate it shows, for ever', () => {
  const book = roster(ann, ivy, max, bob)
  tell(book, [revoke(bob, keyTarget(max), 'kicked', start)])
  code('ERR_REVOKED', () => book.verify(max.key.publicKey, start))
  const again = hire(ivy, 4, plain, start + 400 * day - 372 * day)
  code('ERR_REVOKED', () => book.admit(again.certificate.bytes, max.key.publicKey, start + 28 * day))
  book.add(again.certificate.bytes, start + 28 * day)
  code('ERR_REVOKED', () => book.verify(max.key.publicKey, start + 28 * day))
  assert.deepEqual(names(book), ['ann', 'bob', 'ivy'])
})

test('who may revoke what', () => {
  const invite = createInvite(ann, { secret: serialOf(1), roles: plain }, start).body.invite
  const table: [Issuer, Target, boolean][] = [
    [root, keyTarget(ann), true],
    [root, issuerTarget(root), true],
    [bob, keyTarget(ann), true],
    [bob, issuerTarget(ann), true],
    [bob, keyTarget(root), false],
    [bob, issuerTarget(root), false],
    [ivy, keyTarget(max), false],
    [ivy, keyTarget(ann), false],
    [ivy, issuerTarget(ann), false],
    [ivy, issuerTarget(ivy), true],
    [ivy, { kind: 'invite', invite }, true],
    [max, { kind: 'invite', invite }, false],
    [max, keyTarget(ivy), false],
    [max, keyTarget(max), true],
    [max, issuerTarget(max), false],
  ]
  for (const [by, target, allowed] of table) {
    const body: RevocationBody = {
      v: 1,
      mesh: ann.certificate.body.mesh,
      issuer: by.key.publicKey,
      by: by.certificate?.id ?? null,
      target,
      reason: 'kicked',
      at: start,
    }
    const chain = by.certificate === undefined ? [] : [by.certificate, ...by.certificate.chain]
    const { bytes } = signStatement('revocation', body, by.key, chain)
    const book = roster(ann, ivy, max, bob)
    if (allowed) {
      assert.deepEqual(revoke(by, target, 'kicked', start).bytes, bytes)
      assert.equal(book.add(bytes, start), 'added')
    } else {
      code('ERR_ROLE', () => revoke(by, target, 'kicked', start))
      code('ERR_ROLE', () => book.add(bytes, start))
    }
  }
})

test('leave: a member takes itself out, and whom it let in stays', () => {
  const book = roster(ann, ivy, max)
  tell(book, [leave(ivy, start)])
  assert.deepEqual(names(book), ['ann', 'max'])
})

test('nobody fills the roster with good-byes', () => {
  const many = Array.from({ length: 9 }, (_, at) => leave(max, start + at))
  const books = [many, many.toReversed()].map((order) => {
    const book = roster(max)
    tell(book, order)
    assert.equal(book.size, 2)
    return book
  })
  assert.deepEqual(books[0]?.digest(start), books[1]?.digest(start))
})

test('an administrator who revokes an invitation shuts out whoever came with it, and whom that one let in', () => {
  const secret = serialOf(70)
  const guest = keyOf(30)
  const book = roster(ann, ivy)
  const invite = createInvite(root, { secret, roles: inviting }, start)
  book.add(invite.bytes, start)
  const channel = new Uint8Array(32)
  const { mesh } = invite.body
  const proof = proveInvite({ secret, mesh, subject: guest.publicKey, inviter: ann.key.publicKey, channel })
  const request = { proof, remote: guest.publicKey, channel, name: 'guest', serial: serialOf(71) }
  const made = redeem({ book, issuer: ann }, request, start)
  const friend = hire({ genesis, key: guest, certificate: made.certificate }, 43, plain, start, 'friend')
  tell(book, [made.certificate, made.redemption, friend.certificate])
  const target: Target = { kind: 'invite', invite: invite.body.invite }
  tell(book, [revoke(ivy, target, 'kicked', start)])
  assert.deepEqual(names(book), ['ann', 'friend', 'guest', 'ivy'])
  tell(book, [revoke(ann, target, 'kicked', start)])
  assert.deepEqual(names(book), ['ann', 'ivy'])
  code('ERR_REVOKED', () => book.verify(guest.publicKey, start))
})

test('kick --issued: what a stolen inviter signs is void, now and later, but for what is kept', () => {
  const kept = hire(ivy, 31, plain, start, 'kept')
  const book = roster(ann, ivy, max, kept)
  tell(book, kick(needs(book, ann), ivy.key.publicKey, { issued: true, keep: [kept.certificate.id] }, start))
  assert.deepEqual(names(book), ['ann', 'kept'])
  code('ERR_REVOKED', () => book.verify(max.key.publicKey, start))
  // Dated back, and for a key that is kept.
  const late = hire(ivy, 32, plain, start, 'late')
  code('ERR_REVOKED', () => book.admit(late.certificate.bytes, late.key.publicKey, start + day))
  const more = hire(ivy, 31, ['member'], start + 1, 'more')
  book.add(more.certificate.bytes, start + day)
  assert.equal(book.verify(kept.key.publicKey, start + day).name, 'kept')
})

test('kick without --issued keeps whom it knows, and disarms the key all the same', () => {
  const book = roster(ann, ivy, max)
  tell(book, kick(needs(book, ann), ivy.key.publicKey, {}, start))
  assert.deepEqual(names(book), ['ann', 'max'])
  const late = hire(ivy, 32, plain, start, 'late')
  code('ERR_REVOKED', () => book.admit(late.certificate.bytes, late.key.publicKey, start + day))
})

test('kick of an inviter who let in more than fit on a list renews the others', () => {
  const many = Array.from({ length: maxKeep + 4 }, (_, at) => hire(ivy, 100 + at, plain))
  const book = roster(ann, ivy, ...many)
  const statements = [...kick(needs(book, ann), ivy.key.publicKey, {}, start)]
  tell(book, statements)
  assert.equal(statements.filter(({ type }) => type === 'certificate').length, 4)
  assert.equal(names(book).length, many.length + 1)
})

test('kick of who stands between the root and others keeps the link, and the kicker never saws off its own branch', () => {
  const second = hire(ann, 40, trusted, start, 'second')
  const below = hire(second, 41, plain, start, 'below')
  const book = roster(ann, second, below, bob)
  tell(book, kick(needs(book, bob), ann.key.publicKey, {}, start))
  assert.deepEqual(names(book), ['below', 'bob', 'second'])
  const other = roster(ann, ivy, second, below)
  tell(other, kick(needs(other, second), ann.key.publicKey, { issued: true }, start))
  assert.deepEqual(names(other), ['below', 'second'])
})

test('without its issuer, everything below an issuer falls', () => {
  const book = roster(ann, ivy, max, bob)
  tell(book, [revoke(bob, issuerTarget(ann), 'kicked', start)])
  assert.deepEqual(names(book), ['ann', 'bob'])
})

test('two lists: only what both keep counts', () => {
  const [one, two] = [hire(ivy, 33, plain, start, 'one'), hire(ivy, 34, plain, start, 'two')]
  const book = roster(one, two, ann)
  tell(book, [
    revoke(ann, issuerTarget(ivy, [one.certificate.id, two.certificate.id]), 'kicked', start),
    revoke(bob, issuerTarget(ivy, [two.certificate.id]), 'kicked', start),
  ])
  assert.deepEqual(names(book), ['ann', 'two'])
})

test('two administrators who shut out each other are both out', () => {
  const book = roster(ann, bob, ivy)
  tell(book, [revoke(ann, keyTarget(bob), 'kicked', start), revoke(bob, keyTarget(ann), 'kicked', start)])
  assert.deepEqual(names(book), ['ivy'])
})

test('a stolen administrator shuts everybody out, and the root takes it back', () => {
  const rogue = hire(ann, 42, trusted, start, 'rogue')
  const attack = [
    revoke(ann, keyTarget(ivy), 'kicked', start),
    revoke(ann, issuerTarget(bob), 'kicked', start),
    revoke(rogue, keyTarget(bob), 'kicked', start),
  ]
  const cure = [...kick(needs(roster(), root), ann.key.publicKey, { issued: true, keep: [ivy.certificate.id] }, start)]
  for (const order of [
    [...attack, ...cure],
    [...cure, ...attack],
  ]) {
    const book = roster(ann, ivy, bob, rogue)
    tell(book, order)
    assert.deepEqual(names(book), ['bob', 'ivy'])
  }
  // What the root does not take back stays: here it only shuts out the key.
  const book = roster(ann, ivy, bob)
  tell(book, [...attack, revoke(root, keyTarget(ann), 'kicked', start)])
  assert.deepEqual(names(book), [])
})

test('when the root kicks an administrator as usual, what that one has revoked stays revoked', () => {
  const book = roster(ann, ivy, max, bob)
  tell(book, [revoke(ann, keyTarget(max), 'kicked', start)])
  tell(book, kick(needs(book, root), ann.key.publicKey, {}, start))
  assert.deepEqual(names(book), ['bob', 'ivy'])
})

test('a revocation outlives everything, and needs nothing but itself', () => {
  const { bytes } = revoke(ann, keyTarget(max), 'kicked', start + 30 * day)
  const book = new Roster(genesis)
  assert.equal(book.add(bytes, start + 5000 * day), 'added')
  // Also from a clock that is wrong.
  assert.equal(new Roster(genesis).add(bytes, start - 5000 * day), 'added')
  book.ids(start + 9000 * day)
  assert.equal(book.size, 1)
})

test('lists are sorted, without doubles, and as long as fits', () => {
  const ids = Array.from({ length: maxKeep }, (_, at) => new Uint8Array(32).fill(200 - at))
  const sorted = revoke(ann, issuerTarget(ivy, ids), 'kicked', start)
  assert.deepEqual(sorted.body.target, issuerTarget(ivy, ids.toReversed()))
  const forged = (keep: Uint8Array[]) =>
    signStatement('revocation', { ...sorted.body, target: issuerTarget(ivy, keep) }, ann.key, [ann.certificate])
  const refuse = (keep: Uint8Array[]): void => code('ERR_DECODE', () => roster().add(forged(keep).bytes, start))
  refuse(ids)
  refuse([new Uint8Array(32), new Uint8Array(32)])
  refuse([...ids.toReversed(), new Uint8Array(32).fill(255)])
  const name = 'x'.repeat(64)
  const first: Person = hire(root, 30, roleOrder, start, name)
  const second = hire(first, 31, roleOrder, start, name)
  const third = hire(second, 32, roleOrder, start, name)
  const longest = revoke(third, issuerTarget(ivy, ids), 'rekeyed', start)
  assert.ok(longest.bytes.length <= maxStatementBytes)
})

test('a promotion by a stolen administrator falls with it, and leaves what was before', () => {
  const roles: Role[] = trusted
  const init = { subject: max.key.publicKey, name: 'max', roles, serial: serialOf(72) }
  const promoted = issueCertificate(ann, init, start + 1)
  const book = roster(bob, max)
  tell(book, [promoted], start + 1)
  assert.deepEqual(book.verify(max.key.publicKey, start + 1).roles, trusted)
  tell(book, [revoke(bob, issuerTarget(ann, [ivy.certificate.id]), 'kicked', start)])
  assert.deepEqual(book.verify(max.key.publicKey, start + 1).roles, plain)
})
