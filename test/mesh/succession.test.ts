import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chainOf, issueCertificate, lifetimeMs } from '../../src/mesh/certificate.ts'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { createInvite, proveInvite } from '../../src/mesh/invite.ts'
import {
  checkMayReissue,
  checkMaySucceed,
  followsOf,
  peopleBehind,
  provenInviter,
  reissue,
} from '../../src/mesh/people.ts'
import { redeem } from '../../src/mesh/redeem.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import type { Roster } from '../../src/mesh/roster.ts'
import { hex, signStatement } from '../../src/mesh/statement.ts'
import { handOver, before as keyBefore } from '../../src/mesh/succession.ts'
import { allows } from '../../src/recall/policy.ts'
import { day, inviting, keyOf, type Office, office, type Person, plain, serialOf, start, trusted } from './office.ts'

type Key = Pick<Person, 'key'>

function convinces(roster: Roster, count: number, who: readonly Key[], now: number): boolean {
  const witnesses = who.map(({ key: { publicKey } }) => {
    const { name } = roster.verify(publicKey, now)
    return { people: peopleBehind(roster, publicKey, now), name, isCi: false, isSelf: false }
  })
  return allows([{ kind: 'quorum', people: count }], 'lib', witnesses)
}

let serials = 1000
const serial = (): Uint8Array => serialOf(serials++)

/** As `certifySuccessor` does it. */
function succeed(
  o: Office,
  roster: Roster,
  by: Parameters<typeof issueCertificate>[0],
  old: Person,
  key: Person['key'],
  name: string,
  now: number,
): Person {
  const before = old.key.publicKey
  const { roles } = roster.certificateOf(before, now).body
  checkMayReissue(roster, by, before, now)
  endBefore(roster, by, old, now)
  const follows = followsOf(roster, by, handOver(meshKeyOf(o.genesis), old.key, key.publicKey), now)
  const invitedBy = provenInviter(roster, before, now)
  const init = { subject: key.publicKey, name, roles, invitedBy, follows, serial: serial() }
  const certificate = issueCertificate(by, init, now)
  roster.add(certificate.bytes, now)
  return { genesis: o.genesis, key, certificate }
}

/** As `endBefore` does it. */
function endBefore(roster: Roster, by: Parameters<typeof issueCertificate>[0], who: Key, now: number): void {
  for (const { body } of roster.certificatesOf(who.key.publicKey, now)) {
    const old = body.follows && keyBefore(body.follows)
    if (old !== undefined) roster.add(revoke(by, { kind: 'key', key: old }, 'rekeyed', now).bytes, now)
  }
}

function again(roster: Roster, who: Key, by: Person, now: number): void {
  checkMayReissue(roster, by, who.key.publicKey, now)
  const certificate = roster.certificateOf(who.key.publicKey, now)
  roster.add(reissue(roster, certificate, by, now, serial()).bytes, now)
}

/** They get new certificates twice while those before last. @returns when only these are left */
function lastOut(roster: Roster, each: readonly (readonly [who: Key, by: Person])[]): number {
  for (const after of [16, 31]) for (const [who, by] of each) again(roster, who, by, start + after * day)
  return start + lifetimeMs + 3 * day
}

test('an inviter that changes its key twice stays one person with its guest when the certificate in the middle is gone', () => {
  const o = office()
  const sybil = o.hire(o.ivy, 40, plain, start, 'guest')
  const roster = o.roster(o.ann, o.ivy, sybil)
  again(roster, sybil, o.ann, start + 1)
  const second = succeed(o, roster, o.ann, o.ivy, keyOf(41), 'ivy2', start + 2)
  endBefore(roster, o.ann, second, start + 3)
  const third = succeed(o, roster, o.ann, second, keyOf(42), 'ivy3', start + 4)
  endBefore(roster, o.ann, third, start + 5)
  assert.equal(convinces(roster, 2, [third, sybil], start + 6), false)
  const end = lastOut(roster, [
    [sybil, o.ann],
    [third, o.ann],
  ])
  assert.equal(convinces(roster, 2, [third, sybil], end), false)
  assert.equal(roster.latestOf(second.key.publicKey), undefined)
  assert.deepEqual(provenInviter(roster, sybil.key.publicKey, end), o.ivy.key.publicKey)
})

test('two keys that two administrators let follow one are one person, also after one of them was followed again', () => {
  const o = office()
  const bea = o.hire(o.root, 20, trusted, start, 'bea')
  const mal = o.hire(o.ann, 50, plain, start, 'mal')
  const roster = o.roster(o.ann, bea, mal)
  const left = succeed(o, roster, o.ann, mal, keyOf(51), 'left', start + 1)
  const right = succeed(o, roster, bea, mal, keyOf(52), 'right', start + 2)
  endBefore(roster, o.ann, left, start + 3)
  endBefore(roster, o.ann, right, start + 3)
  const next = succeed(o, roster, o.ann, left, keyOf(53), 'next', start + 4)
  endBefore(roster, o.ann, next, start + 5)
  assert.equal(convinces(roster, 2, [next, right], start + 6), false)
  const end = lastOut(roster, [
    [next, o.ann],
    [right, bea],
  ])
  assert.equal(convinces(roster, 2, [next, right], end), false)
})

test('however often a key was changed, whom it has let in stays its person', () => {
  const o = office()
  const guest = o.hire(o.ivy, 40, plain, start, 'guest')
  const roster = o.roster(o.ann, o.ivy, guest)
  let [ivy, max] = [o.ivy, guest]
  for (let at = 0; at < 18; at += 1) {
    ivy = succeed(o, roster, o.ann, ivy, keyOf(60 + at), `ivy${at}`, start + 1 + at)
    max = succeed(o, roster, o.ann, max, keyOf(90 + at), `max${at}`, start + 1 + at)
  }
  endBefore(roster, o.ann, ivy, start + 60)
  endBefore(roster, o.ann, max, start + 60)
  assert.equal(convinces(roster, 2, [ivy, max], start + 100), false)
  assert.deepEqual([...peopleBehind(roster, max.key.publicKey, start + 100)].includes(hex(o.ivy.key.publicKey)), true)
})

test('an inviter cannot take from a member which key it follows', () => {
  const o = office()
  const mal = o.hire(o.ann, 50, plain, start, 'mal')
  const roster = o.roster(o.ann, o.ivy, mal)
  const left = succeed(o, roster, o.ann, mal, keyOf(51), 'left', start + 1)
  const right = succeed(o, roster, o.ann, mal, keyOf(52), 'right', start + 1)
  const half = start + 15 * day
  const bare = { subject: left.key.publicKey, name: 'left', roles: plain, serial: serial() }
  roster.add(issueCertificate(o.ivy, bare, half).bytes, half)
  again(roster, left, o.ann, half + 1)
  again(roster, right, o.ann, half + 1)
  assert.equal(convinces(roster, 2, [left, right], start + lifetimeMs + 3 * day), false)
})

test('an inviter cannot make members follow it, nor a key that nobody has: nobody takes such a certificate in', () => {
  const o = office()
  const bob = o.hire(o.ann, 50, plain, start, 'bob')
  const roster = o.roster(o.ann, o.ivy, bob)
  for (const old of [o.ivy.key, keyOf(90)]) {
    const follows = handOver(meshKeyOf(o.genesis), old, bob.key.publicKey)
    const body = { ...bob.certificate.body, issuer: o.ivy.key.publicKey, by: o.ivy.certificate.id, follows }
    const made = signStatement('certificate', body, o.ivy.key, chainOf(o.ivy))
    assert.throws(() => roster.add(made.bytes, start), { code: 'ERR_ROLE' })
  }
})

test('an inviter cannot put an invitation into what an administrator has said of a member', () => {
  const o = office()
  const bob = o.hire(o.ann, 50, plain, start, 'bob')
  const roster = o.roster(o.ann, o.ivy, bob)
  const half = start + 15 * day
  const secret = serialOf(77)
  const invite = createInvite(o.ivy, { secret, roles: plain }, half)
  const init = { subject: bob.key.publicKey, name: 'bob', roles: plain, invite: invite.body.invite, serial: serial() }
  roster.add(issueCertificate(o.ivy, init, half).bytes, half)
  again(roster, bob, o.ann, half + 1)
  const other = keyOf(91)
  const channel = new Uint8Array(32).fill(7)
  const mesh = meshKeyOf(o.genesis)
  const proof = proveInvite({ secret, mesh, subject: other.publicKey, inviter: o.ivy.key.publicKey, channel })
  const book = { openInvite: () => invite, checkKey: () => undefined }
  const request = { proof, remote: other.publicKey, channel, name: 'x', serial: serial() }
  const { redemption } = redeem({ book, issuer: o.ivy }, request, half + 2)
  const late = start + lifetimeMs + 2 * day
  roster.add(redemption.bytes, late)
  assert.equal(roster.verify(bob.key.publicKey, late).name, 'bob')
})

test('who comes with an administrator’s invitation is nobody’s guest, though an inviter has copied it', () => {
  const o = office()
  const ivan = o.hire(o.ann, 7, inviting, start, 'ivan')
  const roster = o.roster(o.ann, o.ivy, ivan)
  const secret = serialOf(77)
  const invite = createInvite(o.ann, { secret, roles: plain }, start)
  roster.add(invite.bytes, start)
  const bob = keyOf(80)
  const channel = new Uint8Array(32).fill(7)
  const mesh = meshKeyOf(o.genesis)
  const proof = proveInvite({ secret, mesh, subject: bob.publicKey, inviter: ivan.key.publicKey, channel })
  const request = { proof, remote: bob.publicKey, channel, name: 'bob', serial: serial() }
  const { certificate, redemption } = redeem({ book: roster, issuer: ivan }, request, start + 1)
  for (const { bytes } of [certificate, redemption]) roster.add(bytes, start + 1)
  // Until its id is the larger one.
  for (let at = 0, isLarger = false; !isLarger; at += 1) {
    const body = { ...invite.body, issuer: o.ivy.key.publicKey, by: o.ivy.certificate.id, notBefore: start + at }
    const copy = signStatement('invite', { ...body, notAfter: start + at + 3_600_000 }, o.ivy.key, chainOf(o.ivy))
    isLarger = Buffer.compare(copy.id, invite.id) > 0
    if (isLarger) roster.add(copy.bytes, start + 1)
  }
  again(roster, { key: bob }, o.ann, start + 2)
  assert.deepEqual([...peopleBehind(roster, bob.publicKey, start + 3)], [hex(bob.publicKey)])
})

test('whom an administrator has let in stays a person however often the administrator changes its key', () => {
  const o = office()
  const [bob, cat] = [o.hire(o.ann, 50, plain, start, 'bob'), o.hire(o.ann, 51, plain, start, 'cat')]
  const roster = o.roster(o.ann, o.ivy, bob, cat)
  let ann = o.ann
  for (const [at, number] of [60, 61].entries()) {
    const old = ann
    ann = succeed(o, roster, o.root, old, keyOf(number), 'ann', start + at)
    roster.add(revoke(old, { kind: 'key', key: old.key.publicKey }, 'rekeyed', start + at).bytes, start + at)
    assert.equal(convinces(roster, 2, [bob, cat], start + at), true)
  }
  const later = start + 16 * day
  again(roster, bob, ann, later)
  again(roster, cat, ann, later)
  assert.equal(convinces(roster, 2, [bob, cat], start + lifetimeMs + 2 * day), true)
})

test('whose keys follow each other is the same in whatever order it is heard', () => {
  const o = office()
  const max = o.hire(o.ann, 50, plain, start, 'max')
  const base = o.roster(o.ann, o.ivy, max)
  const left = succeed(o, base, o.ann, max, keyOf(51), 'left', start + 1)
  const right = succeed(o, base, o.root, max, keyOf(52), 'right', start + 2)
  endBefore(base, o.ann, left, start + 3)
  const ivy = succeed(o, base, o.ann, o.ivy, keyOf(53), 'ivy', start + 4)
  const guest = o.hire(o.ivy, 54, plain, start + 1, 'guest')
  base.add(guest.certificate.bytes, start + 5)
  endBefore(base, o.ann, ivy, start + 6)
  const all = base.bytesOf(base.ids(start + 9))
  const orders = all.map((_, at) => [...all.slice(at), ...all.slice(0, at)])
  const seen = [...orders, ...orders.map((order) => order.toReversed())].map((order) => {
    const roster = o.roster()
    for (const bytes of order) roster.add(bytes, start + 9)
    return [left, right, ivy, guest].map((who) => [...peopleBehind(roster, who.key.publicKey, start + 9)].toSorted())
  })
  for (const people of seen) assert.deepEqual(people, seen[0])
})

test('what is known of who is behind a key changes with the clock, and with what is heard', () => {
  const o = office()
  const bob = o.hire(o.ann, 50, plain, start, 'bob')
  const roster = o.roster(o.ann, o.ivy, bob)
  const people = (now: number): string[] => [...peopleBehind(roster, bob.key.publicKey, now)]
  const late = start + 20 * day
  assert.deepEqual(people(start), [hex(bob.key.publicKey)])
  // Only an inviter's word lasts longer.
  const bare = { subject: bob.key.publicKey, name: 'bob', roles: plain, serial: serial() }
  roster.add(issueCertificate(o.ivy, bare, late).bytes, late)
  assert.deepEqual(people(late), [hex(bob.key.publicKey)])
  assert.deepEqual(people(start + lifetimeMs + 2 * day), [hex(o.ivy.key.publicKey)])
})

test('a member changes its key a few times a month: it cannot fill the places of whoever shuts the old ones out', () => {
  const o = office()
  const [bad, mal] = [o.hire(o.ann, 49, plain, start, 'bad'), o.hire(o.ann, 50, plain, start, 'mal')]
  const roster = o.roster(o.ann, o.ivy, bad, mal)
  const keyAt = (at: number) => signingKey(Buffer.concat([new Uint8Array(28).fill(201), Buffer.from([0, 0, 0, at])]))
  let [last, count] = [mal, 0]
  const change = (now: number): void => {
    checkMaySucceed(roster, last.key.publicKey, now)
    last = succeed(o, roster, o.ann, last, keyAt(count), 'mal', now)
    count += 1
  }
  for (let at = 0; at < 4; at += 1) change(start + at)
  assert.throws(() => change(start + 5), { code: 'ERR_LIMIT', message: /had 5 keys lately/ })
  // Others are not kept from it.
  checkMaySucceed(roster, bad.key.publicKey, start + 5)
  const half = start + 16 * day
  again(roster, last, o.ann, half)
  assert.throws(() => change(half), { code: 'ERR_LIMIT' })
  change(start + lifetimeMs + 1)
  assert.equal(count, 5)
  const kicked = revoke(o.ann, { kind: 'key', key: bad.key.publicKey }, 'kicked', half)
  assert.equal(roster.add(kicked.bytes, half), 'added')
})
