import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  adminLifetimeMs,
  type Issuer,
  issueCertificate,
  lifetimeMs,
  needsRenewal,
  renew,
} from '../../src/mesh/certificate.ts'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { createInvite, proveInvite } from '../../src/mesh/invite.ts'
import { kick } from '../../src/mesh/kick.ts'
import { redeem } from '../../src/mesh/redeem.ts'
import { leave, revoke } from '../../src/mesh/revocation.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { rosterLimits } from '../../src/mesh/roster-places.ts'
import { lateMs } from '../../src/mesh/statement.ts'
import { day, hour, keyOf, office, type Person, plain, serialOf, start, trusted } from './office.ts'

const { genesis, root, ann, ivy, max, hire } = office()
const now = start + hour
const full = (run: () => unknown): void => assert.throws(run, { code: 'ERR_ROSTER_FULL' })
/** Every number by 32 smaller than it is: 96 + 32 + 12 + 16 places, and 32 for the root. */
const limits = JSON.parse(JSON.stringify(rosterLimits), (_name, value: unknown) =>
  typeof value === 'number' ? Math.max(value / 32, 4) : value,
) as typeof rosterLimits
const total = 188
let random = 1_000_000
const serial = (): Uint8Array => serialOf(++random)

function roster(...people: readonly Person[]): Roster {
  const book = new Roster(genesis, limits)
  for (const { certificate } of people) book.add(certificate.bytes, start)
  return book
}

/** A member that nobody has heard of. */
function invented(by: Issuer, roles = plain, at = start): Person {
  random += 1
  const key = signingKey(new Uint8Array(Buffer.concat([serialOf(random), serialOf(random)])))
  const init = { subject: key.publicKey, name: 'x', roles, serial: serial() }
  return { genesis, key, certificate: issueCertificate(by, init, at) }
}

/** Adds until there is no room; how many there was room for. */
function fill(book: Roster, make: () => { bytes: Uint8Array }): number {
  for (let added = 0; ; added++) {
    const { bytes } = make()
    try {
      book.add(bytes, now)
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'ERR_ROSTER_FULL')
      return added
    }
  }
}

/** All that the thief of a key can do to fill the rosters of others. */
function flood(book: Roster, thief: Person): void {
  fill(book, () => invented(thief).certificate)
  fill(book, () => createInvite(thief, { secret: serial(), roles: plain }, start))
  fill(book, () => revoke(thief, { kind: 'invite', invite: serial().slice(8) }, 'kicked', start))
  fill(book, () => leave(invented(thief), start))
}

const outsiders = [root, ann]
for (const by of outsiders) {
  test(`an inviter that fills the roster is shut out by ${by === root ? 'the root' : 'who let it in'}, and then there is room again`, () => {
    const book = roster(ann, ivy, max)
    flood(book, ivy)
    assert.equal(book.size, 2 + 32 + 4 + 4)
    // Others of the same administrator are heard as before.
    const other = hire(ann, 60, plain)
    assert.equal(book.add(other.certificate.bytes, now), 'added')
    assert.equal(book.add(leave(other, start).bytes, now), 'added')
    for (const { bytes } of kick(
      { roster: book, issuer: by, random: serial },
      ivy.key.publicKey,
      { issued: true },
      now,
    )) {
      book.add(bytes, now)
    }
    assert.throws(() => book.verify(ivy.key.publicKey, now), { code: 'ERR_REVOKED' })
    assert.deepEqual(
      book.members(now).map(({ name }) => name),
      ['ann'],
    )
  })
}

test('whatever a stolen administrator fills, the root shuts it out, lets others in, and takes the places back', () => {
  const book = roster(ann, ivy, max)
  const helpers = [invented(ann, trusted), invented(ann, trusted)]
  for (const thief of [ann, ...helpers]) flood(book, thief)
  for (const thief of [ann, ...helpers]) {
    fill(book, () => revoke(thief, { kind: 'key', key: invented(ann).key.publicKey }, 'kicked', start))
    fill(book, () => leave(invented(thief, trusted), start))
  }
  const bob = hire(root, 5, trusted, start, 'bob')
  assert.equal(book.add(bob.certificate.bytes, now), 'added')
  // What is reserved for administrators one of them cannot use up.
  const order = revoke(bob, { kind: 'key', key: max.key.publicKey }, 'kicked', start)
  assert.equal(book.add(order.bytes, now), 'added')
  const cure = kick({ roster: book, issuer: root, random: serial }, ann.key.publicKey, { issued: true }, now)
  for (const { bytes } of cure) book.add(bytes, now)
  assert.deepEqual(
    book.members(now).map(({ name }) => name),
    ['bob'],
  )
  const before = book.size
  const added = fill(book, () => createInvite(bob, { secret: serial(), roles: plain }, start))
  assert.equal(added, 32)
  assert.ok(book.size <= before + added)
})

test('everybody together leaves places for the root', () => {
  const book = roster(ann, ivy, max)
  const bosses = Array.from({ length: 5 }, () => invented(root, trusted))
  for (const boss of bosses) {
    fill(book, () => invented(boss).certificate)
    for (const reason of ['kicked', 'rekeyed'] as const)
      fill(book, () => revoke(boss, { kind: 'key', key: invented(ann).key.publicKey }, reason, start))
    fill(book, () => leave(invented(boss), start))
  }
  fill(book, () => revoke(ivy, { kind: 'invite', invite: serial().slice(8) }, 'kicked', start))
  full(() => book.add(hire(ann, 61, plain).certificate.bytes, now))
  assert.equal(book.size, 1 + 156)
  const count = fill(book, () => revoke(root, { kind: 'key', key: invented(ann).key.publicKey }, 'kicked', start))
  assert.equal(count, 31)
  assert.equal(book.size, total)
})

test('a good-bye goes when nothing is left that it could end', () => {
  const book = roster(ann, max)
  const bye = leave(max, now)
  book.add(bye.bytes, now)
  const end = max.certificate.body.notAfter + lateMs + lifetimeMs
  book.ids(end)
  assert.equal(book.revocationsBy(max.key.publicKey).length, 1)
  book.ids(end + 1)
  assert.equal(book.revocationsBy(max.key.publicKey).length, 0)
  assert.throws(() => book.add(bye.bytes, end + 1), { code: 'ERR_EXPIRED' })
  // Who may have a certificate for 400 days is remembered for longer.
  const boss = roster(ann)
  boss.add(leave(ann, now).bytes, now)
  boss.ids(ann.certificate.body.notAfter + lateMs + adminLifetimeMs)
  assert.equal(boss.size, 1)
})

test('a year after a flood nothing of it is left, and the roster takes a certificate', () => {
  const book = roster(ann)
  flood(book, ivy)
  const late = start + 300 * day
  const guest = hire(root, 50, plain, late)
  assert.equal(book.add(guest.certificate.bytes, late), 'added')
  assert.equal(book.members(late).length, 2)
})

test('of one issuer, with the same roles, the two newest certificates of a member are kept, whatever the order', () => {
  const many = Array.from({ length: 6 }, (_, at) => renew(max.certificate, ann, start + at, serial()))
  const newest = many.slice(-2).map(({ id }) => Buffer.from(id).toString('hex'))
  for (const order of [many, many.toReversed(), [...many.slice(3), ...many.slice(0, 3)]]) {
    const book = roster(ann, max)
    for (const { bytes } of order) book.add(bytes, now)
    assert.equal(book.size, 4)
    for (const { bytes } of many.slice(0, 4)) assert.equal(book.add(bytes, now), 'known')
    const ids = book.ids(now).map((id) => Buffer.from(id).toString('hex'))
    assert.ok(newest.every((id) => ids.includes(id)))
  }
})

test('what a thief signs for a member that is kept does not push out what is kept', () => {
  const book = roster(ann, ivy, max)
  const fakes = Array.from({ length: 5 }, (_, at) => hire(ivy, 4, plain, start + 1 + at, 'fake'))
  for (const { bytes } of kick({ roster: book, issuer: ann, random: serial }, ivy.key.publicKey, {}, now))
    book.add(bytes, now)
  for (const { certificate } of fakes) book.add(certificate.bytes, now)
  assert.equal(book.verify(max.key.publicKey, now).name, 'max')
  // A node that has heard the fakes first hears of it from the others.
  const other = roster(ann, ivy, max)
  for (const { certificate } of fakes) other.add(certificate.bytes, now)
  for (const bytes of book.bytesOf(other.missing(book.ids(now)))) other.add(bytes, now)
  for (const bytes of book.bytesOf(other.missing(book.ids(now)))) other.add(bytes, now)
  assert.equal(other.verify(max.key.publicKey, now).name, 'max')
})

test('one certificate after another, each better than the one before: so many a day and no more', () => {
  const book = roster(ann)
  let at = start
  const next = (): { bytes: Uint8Array } => {
    at += 1
    return issueCertificate(ivy, { subject: keyOf(70).publicKey, name: 'x', roles: plain, serial: serial() }, at)
  }
  assert.equal(fill(book, next), 2 + 32)
  const { bytes } = next()
  full(() => book.add(bytes, now))
  assert.equal(book.add(bytes, now + day), 'added')
})

test('good-byes of one key, each of a smaller id, are taken in a few times', () => {
  const byes = Array.from({ length: 100 }, (_, at) => leave(max, start + at)).toSorted((a, b) =>
    Buffer.compare(b.id, a.id),
  )
  const book = roster(ann, ivy, max)
  assert.equal(
    fill(book, () => byes.shift() ?? leave(max, start)),
    5,
  )
  assert.throws(() => book.verify(max.key.publicKey, now), { code: 'ERR_REVOKED' })
})

test('who lets in 300 within a day can renew them all, and invites somebody every day', () => {
  const book = roster(ann)
  const channel = new Uint8Array(32)
  const { mesh } = ann.certificate.body
  // 300 of 1024 are as 9 of 32.
  const people = Array.from({ length: 9 }, (_, at) => {
    const secret = serial()
    const { publicKey: subject } = invented(ann).key
    book.add(createInvite(ann, { secret, roles: plain }, start).bytes, now)
    const proof = proveInvite({ secret, mesh, subject, inviter: ann.key.publicKey, channel })
    const request = { proof, remote: subject, channel, name: `n${at}`, serial: serial() }
    const made = redeem({ book, issuer: ann }, request, now)
    for (const { bytes } of [made.certificate, made.redemption]) book.add(bytes, now)
    return subject
  })
  for (let time = start + day; time < start + 70 * day; time += day) {
    for (const key of people) {
      const certificate = book.certificateOf(key, time)
      if (needsRenewal(certificate, time)) book.add(renew(certificate, ann, time, serial()).bytes, time)
    }
    assert.equal(book.add(createInvite(ann, { secret: serial(), roles: plain }, time).bytes, time), 'added')
    assert.equal(book.members(time).length, 10)
  }
})

test('whatever a thief says with a key, there is a place for its owner to say that it is over', () => {
  const book = roster(ann, ivy, max)
  flood(book, ivy)
  fill(book, () =>
    revoke(ivy, { kind: 'issuer', key: ivy.key.publicKey, keep: [new Uint8Array(32).fill(++random)] }, 'left', start),
  )
  assert.equal(book.add(revoke(ivy, { kind: 'key', key: ivy.key.publicKey }, 'rekeyed', now).bytes, now), 'added')
  assert.throws(() => book.verify(ivy.key.publicKey, now), { code: 'ERR_REVOKED' })
})

test('an administrator that has shut out as many as it may shuts out more a year later: of whom nothing is left goes first', () => {
  const boss = (at: number): Person => hire(root, 5, trusted, at, 'boss')
  const book = roster(ann, ivy, max)
  const target = (): { kind: 'key'; key: Uint8Array } => ({ kind: 'key', key: invented(ann).key.publicKey })
  const first = revoke(boss(start), { kind: 'key', key: max.key.publicKey }, 'kicked', start)
  book.add(first.bytes, start)
  const { own } = limits.shares.orders
  for (let at = 1; at < own; at += 1) book.add(revoke(boss(start), target(), 'kicked', start + at).bytes, now)
  const settled = start + 432 * day
  for (const at of [now, settled - day]) {
    const { bytes } = revoke(boss(at), target(), 'kicked', at)
    full(() => book.add(bytes, at))
    assert.throws(() => book.checkKey(max.key.publicKey), { code: 'ERR_REVOKED' })
  }
  // What is older than all of them does not come in their place.
  const older = revoke(boss(start), target(), 'kicked', start - 60_000)
  full(() => book.add(older.bytes, settled))
  assert.equal(book.add(revoke(boss(settled), target(), 'kicked', settled).bytes, settled), 'added')
  book.checkKey(max.key.publicKey)
  assert.equal(book.revocationsBy(keyOf(5).publicKey).length, own)
  // Where there is a place nothing goes.
  const other = roster(ann)
  other.add(first.bytes, start)
  other.ids(settled + 1000 * day)
  assert.throws(() => other.checkKey(max.key.publicKey), { code: 'ERR_REVOKED' })
})

test('what the root has revoked never goes: it can be what keeps what a thief has revoked from counting', () => {
  const book = roster(ann, max)
  const shutOut = revoke(ann, { kind: 'key', key: max.key.publicKey }, 'kicked', start)
  book.add(shutOut.bytes, start)
  for (const { bytes } of kick(
    { roster: book, issuer: root, random: serial },
    ann.key.publicKey,
    { issued: true },
    now,
  ))
    book.add(bytes, now)
  book.checkKey(max.key.publicKey)
  const settled = start + 500 * day
  fill(book, () => revoke(root, { kind: 'key', key: invented(ann).key.publicKey }, 'kicked', start))
  for (const at of [settled, settled + 1])
    full(() => book.add(revoke(root, { kind: 'key', key: invented(ann).key.publicKey }, 'kicked', at).bytes, at))
  book.checkKey(max.key.publicKey)
})

test('however many administrators see that a key is over, that takes one place, the same in whatever order it is heard', () => {
  const far = hire(hire(ann, 62, trusted), 63, trusted)
  const bosses = [...[64, 65, 66].map((number) => hire(ann, number, trusted)), far]
  const target = { kind: 'key' as const, key: max.key.publicKey }
  const said = bosses.map((boss, at) => revoke(boss, target, 'rekeyed', start + at))
  const orders = said.map((_, at) => [...said.slice(at), ...said.slice(0, at)])
  const books = [...orders, ...orders.map((order) => order.toReversed())].map((order) => {
    const book = roster(ann, max)
    for (const { bytes } of order) book.add(bytes, now)
    assert.equal(book.size, 3)
    assert.throws(() => book.verify(max.key.publicKey, now), { code: 'ERR_REVOKED' })
    // Who is farther from the root is taken back more easily.
    assert.equal(book.revocationsBy(far.key.publicKey).length, 0)
    return book
  })
  for (const book of books) assert.deepEqual(book.digest(now), books[0]?.digest(now))
  // What people say is not put together with that, nor with what others say.
  const [book = roster()] = books
  for (const boss of bosses) assert.equal(book.add(revoke(boss, target, 'kicked', start).bytes, now), 'added')
})

test('what administrators say of keys that are over takes no place from kicking, however many they are', () => {
  const bosses = Array.from({ length: 9 }, (_, at) => hire(root, 60 + at, trusted))
  const book = roster(ann, max)
  const ended = bosses.map((boss) =>
    fill(book, () => revoke(boss, { kind: 'key', key: invented(ann).key.publicKey }, 'rekeyed', start)),
  )
  assert.equal(
    ended.reduce((sum, count) => sum + count, 0),
    limits.pools.ends,
  )
  for (const boss of bosses.slice(0, 4)) {
    const kicks = fill(book, () => revoke(boss, { kind: 'key', key: invented(ann).key.publicKey }, 'kicked', start))
    assert.equal(kicks, limits.shares.orders.own)
  }
})

test('what a thief says of a key that is over is taken back with it, and said again by whoever is left', () => {
  const [thief, boss] = [hire(root, 60, trusted), hire(root, 61, trusted)]
  const target = { kind: 'key' as const, key: max.key.publicKey }
  const honest = revoke(boss, target, 'rekeyed', start)
  // Until its id is the smaller one.
  let at = start
  let stolen = revoke(thief, target, 'rekeyed', at)
  while (Buffer.compare(stolen.id, honest.id) > 0) stolen = revoke(thief, target, 'rekeyed', ++at)
  const book = roster(ann, ivy, max, boss, thief)
  assert.equal(book.add(honest.bytes, now), 'added')
  assert.equal(book.add(stolen.bytes, now), 'added')
  assert.equal(book.add(honest.bytes, now), 'known')
  const cure = kick({ roster: book, issuer: root, random: serial }, thief.key.publicKey, { issued: true }, now)
  for (const { bytes } of cure) book.add(bytes, now)
  assert.equal(book.verify(max.key.publicKey, now).name, 'max')
  assert.equal(book.add(honest.bytes, now), 'added')
  assert.throws(() => book.verify(max.key.publicKey, now), { code: 'ERR_REVOKED' })
})
