import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Certificate, issueCertificate, lifetimeMs, renew, roleOrder } from '../../src/mesh/certificate.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { createInvite, proveInvite } from '../../src/mesh/invite.ts'
import { kick } from '../../src/mesh/kick.ts'
import { checkMayReissue, followsOf, peopleBehind, provenInviter, reissue } from '../../src/mesh/people.ts'
import { redeem } from '../../src/mesh/redeem.ts'
import { revoke, roomToKeep } from '../../src/mesh/revocation.ts'
import type { Roster } from '../../src/mesh/roster.ts'
import { hex } from '../../src/mesh/statement.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { allows } from '../../src/recall/policy.ts'
import { day, inviting, keyOf, type Office, office, type Person, plain, serialOf, start, trusted } from './office.ts'

type Key = Pick<Person, 'key'>

const namesOf = (roster: Roster, { key }: Key, now = start): string[] =>
  [...peopleBehind(roster, key.publicKey, now)].toSorted()
const nameOf = ({ key }: Key): string => hex(key.publicKey)

/** Whether what these say alike is enough for so many people. */
function convinces(roster: Roster, count: number, who: readonly Key[], now = start): boolean {
  const witnesses = who.map(({ key: { publicKey } }) => {
    const { name } = roster.verify(publicKey, now)
    return { people: peopleBehind(roster, publicKey, now), name, isCi: false, isSelf: false }
  })
  return allows([{ kind: 'quorum', people: count }], 'lib', witnesses)
}

/** As `certifySuccessor` does it, under a name that may be another one. */
function follow(
  o: Office,
  by: Parameters<typeof issueCertificate>[0],
  old: Person,
  number: number,
  name: string,
): Person {
  const key = keyOf(number)
  const { roles, invitedBy } = old.certificate.body
  const follows = followsOf(o.roster(old), by, handOver(meshKeyOf(o.genesis), old.key, key.publicKey), start)
  const init = { subject: key.publicKey, name, roles, invitedBy, follows, serial: serialOf(number) }
  return { genesis: o.genesis, key, certificate: issueCertificate(by, init, start) }
}

/** The same, of a key that follows another already. */
function followIn(o: Office, roster: Roster, old: Person, number: number): Person {
  const key = keyOf(number)
  const follows = followsOf(roster, o.ann, handOver(meshKeyOf(o.genesis), old.key, key.publicKey), start)
  const init = { subject: key.publicKey, name: 'bob', roles: plain, follows, serial: serialOf(number) }
  const certificate = issueCertificate(o.ann, init, start)
  roster.add(certificate.bytes, start)
  return { genesis: o.genesis, key, certificate }
}

const again = (roster: Roster, { certificate }: { certificate: Certificate }, by: Person, now: number): Certificate =>
  reissue(roster, certificate, by, now, serialOf(900))

test('a key that follows another is the same person, under whatever name, also when the other is gone', () => {
  const o = office()
  const bob = o.hire(o.ann, 51, plain, start, 'bob')
  const next = follow(o, o.ann, bob, 52, 'rob')
  const roster = o.roster(o.ann, o.ivy, bob, next)
  assert.equal(convinces(roster, 2, [bob, next]), false)
  assert.equal(convinces(roster, 2, [bob, o.ivy]), true)
  assert.equal(convinces(roster, 2, [next, o.ivy]), true)
  // A third, through the second.
  const third = follow(o, o.ann, next, 53, 'tom')
  roster.add(third.certificate.bytes, start)
  assert.equal(convinces(roster, 2, [bob, next, third]), false)
  // Two that follow one.
  const other = follow(o, o.ann, bob, 54, 'tim')
  roster.add(other.certificate.bytes, start)
  assert.equal(convinces(roster, 2, [next, other]), false)
  // A renewal hands it on; the certificate of the old key passes away.
  const later = start + 16 * day
  roster.add(again(roster, other, o.ann, later).bytes, later)
  // But not for one that another has followed.
  assert.throws(() => again(roster, next, o.ann, later), { code: 'ERR_FOLLOWED' })
  const end = start + lifetimeMs + 2 * day
  const renewed = roster.certificateOf(other.key.publicKey, end)
  assert.deepEqual(renewed.body.follows?.key, bob.key.publicKey)
  assert.deepEqual(namesOf(roster, other, end), [nameOf(bob)])
})

test('nobody can be made to follow, or be followed, who has not said so', () => {
  const o = office()
  const [bob, key] = [o.hire(o.ann, 51, plain), keyOf(52)]
  const mesh = meshKeyOf(o.genesis)
  const init = { subject: key.publicKey, name: 'x', roles: plain, serial: serialOf(5) }
  for (const follows of [
    { ...handOver(mesh, o.ivy.key, key.publicKey), key: bob.key.publicKey },
    handOver(mesh, bob.key, keyOf(53).publicKey),
    handOver(serialOf(4), bob.key, key.publicKey),
    // The third of a line: the word has to be that of the key before, and not of the first.
    { ...handOver(mesh, o.ivy.key, key.publicKey), via: bob.key.publicKey },
    { ...handOver(mesh, bob.key, keyOf(53).publicKey), key: o.ivy.key.publicKey, via: bob.key.publicKey },
  ]) {
    assert.throws(() => issueCertificate(o.ann, { ...init, follows }, start), { code: 'ERR_SIGNATURE' })
  }
  const self = handOver(mesh, key, key.publicKey)
  assert.throws(() => issueCertificate(o.ann, { ...init, follows: self }, start), { code: 'ERR_ROLE' })
  // Nobody comes after the root, or where the root has been.
  const root = o.root.key
  const { sig } = handOver(mesh, bob.key, key.publicKey)
  for (const follows of [
    handOver(mesh, root, key.publicKey),
    { key: bob.key.publicKey, via: root.publicKey },
    { key: root.publicKey, via: bob.key.publicKey, sig },
  ]) {
    assert.throws(() => issueCertificate(o.ann, { ...init, follows }, start), { code: 'ERR_ROLE' })
  }
})

test('an inviter cannot say which key another one follows, does not hand it on, and so does not renew it', () => {
  const o = office()
  const bob = o.hire(o.ann, 51, plain, start, 'bob')
  assert.throws(() => follow(o, o.ivy, bob, 61, 'x'), { code: 'ERR_ROLE' })
  const next = follow(o, o.ann, bob, 62, 'bob')
  const roster = o.roster(o.ann, o.ivy, bob, next)
  assert.equal(again(roster, next, o.ivy, start + 1).body.follows, undefined)
  assert.throws(() => checkMayReissue(roster, o.ivy, next.key.publicKey, start), { code: 'ERR_ROLE' })
  assert.deepEqual(again(roster, next, o.ann, start + 1).body.follows, next.certificate.body.follows)
})

test('who is made up by an inviter stays its person, whatever it writes and whoever renews it', () => {
  const o = office()
  const ivan = o.hire(o.ann, 7, inviting, start, 'ivan')
  const bob = o.hire(o.ann, 8, plain, start, 'bob')
  for (const [at, liedOf] of [o.ann, ivan, bob, o.max].entries()) {
    const key = keyOf(70 + at)
    const init = { subject: key.publicKey, name: `n${at}`, roles: plain, serial: serialOf(70 + at) }
    const certificate = issueCertificate(o.ivy, { ...init, invitedBy: liedOf.key.publicKey }, start)
    const made = { key, certificate }
    const roster = o.roster(o.ann, o.ivy, ivan, bob, o.max)
    roster.add(certificate.bytes, start)
    assert.equal(convinces(roster, 2, [o.ivy, made]), false)
    assert.equal(convinces(roster, 3, [o.ivy, made, ivan]), false)
    // Another inviter does not sign for it, an administrator says who it is.
    assert.throws(() => checkMayReissue(roster, ivan, key.publicKey, start), { code: 'ERR_ROLE' })
    checkMayReissue(roster, o.ivy, key.publicKey, start)
    checkMayReissue(roster, o.ann, key.publicKey, start)
    roster.add(again(roster, made, o.ann, start + 1).bytes, start + 1)
    assert.deepEqual(namesOf(roster, made, start + 1), [nameOf(o.ivy)])
    assert.equal(convinces(roster, 2, [o.ivy, made], start + 1), false)
    // Nor does it become one when the inviter is kicked, and those who stand on it get other certificates.
    const book = o.roster(o.ann, o.ivy, ivan, bob)
    book.add(certificate.bytes, start)
    const needs = { roster: book, issuer: o.ann, random: () => serialOf(at) }
    const said = [...kick(needs, o.ivy.key.publicKey, {}, start + 2)]
    for (const { bytes } of said) book.add(bytes, start + 2)
    assert.ok(namesOf(book, made, start + 2).includes(nameOf(o.ivy)))
  }
})

test('inviters renew whom an administrator has let in, who counts as one person all the while', () => {
  const o = office()
  const bob = o.hire(o.ann, 8, plain, start, 'bob')
  const roster = o.roster(o.ann, o.ivy, bob)
  checkMayReissue(roster, o.ivy, bob.key.publicKey, start)
  const half = start + 16 * day
  roster.add(again(roster, bob, o.ivy, half).bytes, half)
  assert.deepEqual(namesOf(roster, bob, half), [nameOf(bob)])
  // As long as an administrator's word is there, another one hands it on.
  roster.add(again(roster, bob, o.ann, half + day).bytes, half + day)
  const end = start + lifetimeMs + 2 * day
  assert.deepEqual(namesOf(roster, bob, end), [nameOf(bob)])
})

test('an invitation of an administrator proves itself, whoever redeems it', () => {
  const o = office()
  const roster = o.roster(o.ann, o.ivy)
  const secret = serialOf(3)
  const invite = createInvite(o.ann, { secret, roles: plain }, start)
  roster.add(invite.bytes, start)
  const channel = new Uint8Array(32).fill(7)
  const key = keyOf(80)
  const mesh = meshKeyOf(o.genesis)
  const proof = proveInvite({ secret, mesh, subject: key.publicKey, inviter: o.ivy.key.publicKey, channel })
  const request = { proof, remote: key.publicKey, channel, name: 'new', serial: serialOf(4) }
  const { certificate, redemption } = redeem({ book: roster, issuer: o.ivy }, request, start)
  roster.add(certificate.bytes, start)
  // Without the proof that it was used anybody could name an invitation.
  assert.deepEqual(provenInviter(roster, key.publicKey, start), o.ivy.key.publicKey)
  roster.add(redemption.bytes, start)
  assert.deepEqual(provenInviter(roster, key.publicKey, start), o.ann.key.publicKey)
  roster.add(again(roster, { certificate }, o.ann, start + 1).bytes, start + 1)
  assert.deepEqual(namesOf(roster, { key }, start + 1), [hex(key.publicKey)])
})

test('whom an administrator has let in stays a person when the administrator has another key', () => {
  const o = office()
  const [bob, tim] = [o.hire(o.ann, 8, plain, start, 'bob'), o.hire(o.ann, 9, plain, start, 'tim')]
  const next = follow(o, o.root, o.ann, 81, 'ann')
  const roster = o.roster(o.ann, bob, tim, next)
  roster.add(revoke(o.ann, { kind: 'key', key: o.ann.key.publicKey }, 'rekeyed', start).bytes, start)
  assert.equal(convinces(roster, 2, [bob, tim]), true)
  assert.equal(convinces(roster, 3, [bob, tim, next]), true)
})

test('whom an administrator has let in stays a person when the administrator has been away for too long, unless it was kicked', () => {
  const o = office()
  const away = o.hire(o.ann, 10, trusted)
  const later = start + 20 * day
  const [bob, tim] = [o.hire(away, 8, plain, later, 'bob'), o.hire(away, 9, plain, later, 'tim')]
  const roster = o.roster(o.ann, o.ivy, away)
  for (const { certificate } of [bob, tim]) roster.add(certificate.bytes, later)
  roster.add(again(roster, o.ivy, o.ann, later).bytes, later)
  const end = start + lifetimeMs + 2 * day
  assert.throws(() => roster.verify(away.key.publicKey, end))
  assert.equal(convinces(roster, 2, [bob, tim], end), true)
  const ivy = { ...o.ivy, certificate: roster.certificateOf(o.ivy.key.publicKey, end) }
  checkMayReissue(roster, ivy, bob.key.publicKey, end)
  const kicked = revoke(o.ann, { kind: 'key', key: away.key.publicKey }, 'kicked', end)
  roster.add(kicked.bytes, end)
  assert.equal(convinces(roster, 2, [bob, tim], end), false)
  assert.throws(() => checkMayReissue(roster, ivy, bob.key.publicKey, end), { code: 'ERR_ROLE' })
})

test('whom an inviter has let in is signed for again by the key that follows it', () => {
  const o = office()
  const next = follow(o, o.ann, o.ivy, 82, 'ivy')
  const roster = o.roster(o.ann, o.ivy, o.max, next)
  checkMayReissue(roster, next, o.max.key.publicKey, start)
  assert.deepEqual(namesOf(roster, o.max), namesOf(roster, next))
})

test('two who have let each other in are one person and end no search', () => {
  const o = office()
  const [left, right] = [keyOf(83).publicKey, keyOf(84).publicKey]
  const roster = o.roster(o.ann, o.ivy)
  for (const [subject, invitedBy, name] of [
    [left, right, 'left'],
    [right, left, 'right'],
  ] as const) {
    const init = { subject, invitedBy, name, roles: inviting, serial: serialOf(85) }
    roster.add(issueCertificate(o.ann, init, start).bytes, start)
  }
  assert.equal(convinces(roster, 2, [{ key: keyOf(83) }, { key: keyOf(84) }]), false)
  const admin = o.hire(o.ann, 86, trusted)
  roster.add(admin.certificate.bytes, start)
  assert.deepEqual(namesOf(roster, admin), [nameOf(admin)])
})

test('what is said at the end of the longest chain fits, where everybody in it had two keys before', () => {
  const o = office()
  const name = 'x'.repeat(64)
  const from = (by: Parameters<typeof issueCertificate>[0], number: number): Person => {
    const [first, old, key] = [keyOf(number + 50), keyOf(number + 100), keyOf(number)]
    const { sig } = handOver(meshKeyOf(o.genesis), old, key.publicKey)
    const follows = { key: first.publicKey, via: old.publicKey, sig }
    const init = {
      subject: key.publicKey,
      name,
      roles: roleOrder,
      invite: serialOf(number).slice(8),
      follows,
      serial: serialOf(number),
    }
    return { genesis: o.genesis, key, certificate: issueCertificate(by, init, start) }
  }
  const second = from(from(o.root, 90), 91)
  const third = from(second, 92)
  const room = roomToKeep(third)
  assert.ok(room >= 1 && room < 12, `${room}`)
  const ids = (count: number) => Array.from({ length: count }, (_, at) => new Uint8Array(32).fill(200 - at))
  const target = (count: number) => ({ kind: 'issuer' as const, key: third.key.publicKey, keep: ids(count) })
  assert.ok(revoke(third, target(room), 'rekeyed', start))
  assert.throws(() => revoke(third, target(room + 1), 'rekeyed', start), { code: 'ERR_LIMIT' })
  assert.equal(roomToKeep(o.ivy), 12)
  const roster = o.roster()
  const secret = serialOf(3)
  const invite = createInvite(second, { secret, roles: roleOrder }, start)
  roster.add(invite.bytes, start)
  const channel = new Uint8Array(32).fill(7)
  const remote = keyOf(93).publicKey
  const proof = proveInvite({
    secret,
    mesh: meshKeyOf(o.genesis),
    subject: remote,
    inviter: second.key.publicKey,
    channel,
  })
  const { redemption } = redeem(
    { book: roster, issuer: second },
    { proof, remote, channel, name, serial: serialOf(4) },
    start,
  )
  assert.equal(roster.add(redemption.bytes, start), 'added')
})

test('a key that its owner has given up is let in again after it was forgotten, and is the person of whoever did so too', () => {
  const o = office()
  const bob = o.hire(o.ann, 51, plain, start, 'bob')
  const roster = o.roster(o.ann, o.ivy, bob)
  const next = follow(o, o.ann, bob, 52, 'bob')
  roster.add(next.certificate.bytes, start)
  roster.add(revoke(bob, { kind: 'key', key: bob.key.publicKey }, 'rekeyed', start + 1).bytes, start + 1)
  for (const at of [15, 30, 45, 60]) {
    for (const who of [o.ivy, next]) {
      const now = start + at * day
      roster.add(again(roster, { certificate: roster.certificateOf(who.key.publicKey, now) }, o.ann, now).bytes, now)
    }
  }
  const late = start + 62 * day
  const ivy = { ...o.ivy, certificate: roster.certificateOf(o.ivy.key.publicKey, late) }
  // Whoever has stolen the old key is let in by ivy, who then has the word of two.
  const stolen = o.hire(ivy, 51, plain, late, 'rob')
  assert.equal(roster.add(stolen.certificate.bytes, late), 'added')
  assert.equal(convinces(roster, 2, [next, o.ivy], late), true)
  assert.equal(convinces(roster, 2, [stolen, o.ivy], late), false)
  assert.equal(convinces(roster, 2, [stolen, next], late), false)
  assert.equal(convinces(roster, 3, [stolen, next, o.ivy], late), false)
  // Nor does it become a person of its own should an administrator sign for it; and nobody becomes ivy's guest by that.
  assert.throws(() => again(roster, stolen, o.ann, late + 1), { code: 'ERR_FOLLOWED' })
  const signed = renew(stolen.certificate, o.ann, late + 1, serialOf(901), { invitedBy: o.ivy.key.publicKey })
  roster.add(signed.bytes, late + 1)
  assert.equal(convinces(roster, 2, [stolen, o.ivy], late + 1), false)
  assert.equal(convinces(roster, 2, [stolen, next], late + 1), false)
  assert.equal(convinces(roster, 2, [next, o.ivy], late + 1), true)
  assert.deepEqual(provenInviter(roster, next.key.publicKey, late + 1), o.ann.key.publicKey)
})

test('a key in the middle of a line that is let in again once nothing names it is no more than whom an inviter lets in', () => {
  const o = office()
  const bob = o.hire(o.ann, 51, plain, start, 'bob')
  const roster = o.roster(o.ann, o.ivy, bob)
  const second = follow(o, o.ann, bob, 52, 'bob')
  roster.add(second.certificate.bytes, start)
  const third = followIn(o, roster, second, 53)
  for (const old of [bob, second])
    roster.add(revoke(old, { kind: 'key', key: old.key.publicKey }, 'rekeyed', start + 1).bytes, start + 1)
  const late = start + 62 * day
  for (const at of [15, 30, 45, 60]) {
    const now = start + at * day
    for (const { key } of [o.ivy, third])
      roster.add(again(roster, { certificate: roster.certificateOf(key.publicKey, now) }, o.ann, now).bytes, now)
  }
  const ivy = { ...o.ivy, certificate: roster.certificateOf(o.ivy.key.publicKey, late) }
  const stolen = o.hire(ivy, 52, plain, late, 'rob')
  roster.add(stolen.certificate.bytes, late)
  assert.equal(convinces(roster, 2, [stolen, o.ivy], late), false)
  assert.equal(convinces(roster, 3, [stolen, third, o.ivy], late), false)
})

test('whom an administrator has kicked no inviter lets in again, however long ago that was', () => {
  const o = office()
  const roster = o.roster(o.ann, o.ivy, o.max)
  for (const { bytes } of kick({ roster, issuer: o.ann, random: () => serialOf(1) }, o.max.key.publicKey, {}, start))
    roster.add(bytes, start)
  for (const after of [61, 62, 200, 390]) {
    const now = start + after * day
    const ivy = o.hire(o.ann, 7, inviting, now, `ivy${after}`)
    roster.add(ivy.certificate.bytes, now)
    const max = o.hire(ivy, 4, plain, now, 'max')
    roster.add(max.certificate.bytes, now)
    assert.throws(() => roster.verify(max.key.publicKey, now), { code: 'ERR_REVOKED' })
    assert.throws(() => roster.checkKey(max.key.publicKey), { code: 'ERR_REVOKED' })
  }
})
