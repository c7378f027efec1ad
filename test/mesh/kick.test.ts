import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kickMember } from '../../src/mesh/administer.ts'
import type { Issuer } from '../../src/mesh/certificate.ts'
import { kick } from '../../src/mesh/kick.ts'
import type { Members } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { rosterLimits } from '../../src/mesh/roster-places.ts'
import { inviting, office, type Person, plain, serialOf, start, trusted } from './office.ts'

const { genesis, root, ann, ivy, hire, roster } = office()
let serial = 1000
const random = (): Uint8Array => serialOf(++serial)
const isOut = (book: Roster, { key }: Issuer): void =>
  assert.throws(() => book.verify(key.publicKey, start), { code: 'ERR_REVOKED' })

function carryOut(book: Roster, issuer: Issuer, kicked: Person): number {
  let renewed = 0
  for (const { bytes, type } of kick({ roster: book, issuer, random }, kicked.key.publicKey, {}, start)) {
    book.add(bytes, start)
    if (type === 'certificate') renewed += 1
  }
  return renewed
}

test('the one who kicks keeps what it stands on, however many others the kicked one has let in', () => {
  const boss = hire(ann, 5, trusted)
  const people = [ann, boss]
  for (let n = 0; n < 13; n++) {
    const inviter = hire(ann, 20 + n, inviting)
    people.push(inviter, hire(inviter, 40 + 2 * n, plain), hire(inviter, 41 + 2 * n, plain))
  }
  const book = roster(...people)
  carryOut(book, boss, ann)
  isOut(book, ann)
  assert.ok(book.verify(boss.key.publicKey, start))
})

test('an administrator below two others shuts out whom it cannot replace, with as many as fit on the list', () => {
  const second = hire(ann, 5, trusted)
  const third = hire(second, 6, trusted)
  const friends = Array.from({ length: 14 }, (_, n) => hire(ivy, 20 + n, plain))
  const book = roster(ann, second, third, ivy, ...friends)
  assert.equal(carryOut(book, third, ivy), 0)
  isOut(book, ivy)
  assert.equal(book.members(start).length, 3 + 12)
})

test('a kick comes through when there is no room for all the new certificates, and says who is out with it', async () => {
  const small = { ...rosterLimits, shares: { ...rosterLimits.shares, issued: { own: 40, below: 80 } } }
  const book = new Roster(genesis, small)
  const friends = Array.from({ length: 39 }, (_, n) => hire(ivy, 20 + n, plain))
  const others = Array.from({ length: 20 }, (_, n) => hire(ann, 60 + n, plain))
  for (const { certificate } of [ann, ivy, ...friends, ...others]) book.add(certificate.bytes, start)
  const told: string[] = []
  const say = async (statements: readonly { type: string; bytes: Uint8Array }[]): Promise<void> => {
    for (const { bytes } of statements) book.add(bytes, start)
    told.push(...statements.map(({ type }) => type))
  }
  const members = { roster: book, now: start, key: ann.key.publicKey, highestIssuer: () => ann, say }
  const lost = await kickMember(members as unknown as Members, { key: ivy.key.publicKey }, false)
  isOut(book, ivy)
  // Ann had signed for 20 besides ivy, whose place is free: 20 more fit, and 12 are kept.
  assert.equal(lost.length, 39 - 12 - 20)
  assert.equal(book.members(start).length, 1 + 20 + 12 + 20)
  assert.deepEqual([told.at(0), told.at(-1)], ['revocation', 'revocation'])
  assert.equal(told.length, 2 + 20)
})

test('who kicks twice says nothing twice', () => {
  const book = roster(ann, ivy)
  carryOut(book, ann, ivy)
  assert.deepEqual([...kick({ roster: book, issuer: ann, random }, ivy.key.publicKey, {}, start)], [])
  // The root says more than an administrator.
  assert.equal([...kick({ roster: book, issuer: root, random }, ivy.key.publicKey, {}, start)].length, 2)
})

test('whom a person kicks is out for good, also where its key was over before: that is taken back with a thief who says the same', () => {
  const [boss, thief] = [hire(root, 7, trusted), hire(root, 8, trusted)]
  const book = roster(ann, ivy, boss, thief)
  const target = { kind: 'key' as const, key: ivy.key.publicKey }
  const ended = revoke(boss, target, 'rekeyed', start)
  book.add(ended.bytes, start)
  carryOut(book, boss, ivy)
  let at = start
  let stolen = revoke(thief, target, 'rekeyed', at)
  while (Buffer.compare(stolen.id, ended.id) > 0) stolen = revoke(thief, target, 'rekeyed', ++at)
  assert.equal(book.add(stolen.bytes, at), 'added')
  for (const { bytes } of kick({ roster: book, issuer: root, random }, thief.key.publicKey, { issued: true }, at))
    book.add(bytes, at)
  isOut(book, ivy)
})
