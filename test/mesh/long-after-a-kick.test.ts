import assert from 'node:assert/strict'
import { test } from 'node:test'
import { guestsOf, keyCalled, kickHeirs, kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import type { SigningKey } from '../../src/mesh/ed25519.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { createInvite, proveInvite } from '../../src/mesh/invite.ts'
import { type Members, peerIdOf, serial } from '../../src/mesh/members.ts'
import { redeem } from '../../src/mesh/redeem.ts'
import { revoke, withGuests } from '../../src/mesh/revocation.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { endBefore } from '../../src/mesh/successor.ts'
import { apart, meet, newKey } from './apart.ts'
import { ManualClock } from './fixture.ts'
import { day, inviting, plain, trusted } from './office.ts'

const codeOf = (members: Members, key: Uint8Array): string | undefined => members.objectionTo(peerIdOf(key))?.code

const letIn = (by: Members, key: Uint8Array, invitedBy = by.key, roles = plain): Uint8Array =>
  issueCertificate(by.issuer(), { subject: key, name: 'guest', roles, invitedBy, serial: serial() }, by.now).bytes

/** Lets somebody in who shows a link of another one. */
async function redeemLink(by: Members, link: Members, guest: SigningKey): Promise<void> {
  const secret = Uint8Array.from(guest.publicKey.subarray(0, 16))
  by.take([createInvite(link.issuer(), { secret, roles: plain }, link.now).bytes])
  const channel = new Uint8Array(32)
  const subject = guest.publicKey
  const proof = proveInvite({ secret, mesh: meshKeyOf(by.genesis), subject, inviter: by.key, channel })
  const shown = { proof, remote: subject, channel, name: 'guest', serial: serial() }
  const made = redeem({ book: by.roster, issuer: by.issuer() }, shown, by.now)
  await by.say([made.certificate, made.redemption])
}

for (const apartFor of [1, 30, 61]) {
  test(`what comes next after a kicked key is out for good, whatever passes away, where those meet who have not for ${apartFor} days`, async (t) => {
    const clock = new ManualClock()
    const { ann, bea, bob, follow } = await apart(t, clock)
    const first = await follow(bea, bob.signer)
    await endBefore(bea, first.publicKey)
    meet(ann, bea)
    await kickMember(ann, keyCalled(ann, 'bob'), false)
    const second = await follow(bea, first)
    let rest = apartFor
    for (; rest > 15; rest -= 15) {
      clock.sleep(15.2 * day)
      await bea.renewMember(second.publicKey, '')
    }
    clock.sleep(Math.min(rest, 15) * day)
    assert.equal(codeOf(bea, second.publicKey), undefined)
    meet(ann, bea)
    await kickHeirs(ann)
    meet(ann, bea)
    const late = new Roster(ann.genesis)
    for (let after = 0; after < 40; after += 1) {
      for (const admin of [ann, bea]) {
        assert.notEqual(codeOf(admin, second.publicKey), undefined)
        await assert.rejects(admin.renewMember(second.publicKey, ''))
      }
      // Who hears of everything only now takes all of it in.
      for (const bytes of ann.roster.bytesOf(ann.roster.ids(ann.now))) late.add(bytes, ann.now)
      assert.deepEqual(late.digest(ann.now), ann.roster.digest(ann.now))
      clock.sleep(day)
      meet(ann, bea)
    }
    assert.throws(() => late.verify(second.publicKey, ann.now))
  })
}

test('what is kept for what it says of others makes nobody a member: it has run out', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, bob, follow } = await apart(t, clock)
  const next = await follow(ann, bob.signer)
  const shown = ann.roster.certificateOf(next.publicKey, ann.now).bytes
  clock.sleep(32 * day)
  for (const one of [ann, bea]) assert.throws(() => one.admit(shown, next.publicKey), { code: 'ERR_EXPIRED' })
  assert.equal(codeOf(ann, next.publicKey), 'ERR_EXPIRED')
  clock.sleep(62 * day)
  assert.equal(codeOf(ann, next.publicKey), 'ERR_NOT_MEMBER')
})

test('a key that has ended itself takes no place of an administrator when its good-bye is gone', async (t) => {
  const clock = new ManualClock()
  const { ann, bob, follow } = await apart(t, clock)
  const next = await follow(ann, bob.signer)
  await endBefore(ann, next.publicKey)
  const last = await follow(ann, next)
  const certificate = ann.roster.certificateOf(next.publicKey, ann.now)
  const issuer = { genesis: ann.genesis, key: next, certificate }
  ann.take([revoke(issuer, { kind: 'key', key: next.publicKey }, 'rekeyed', ann.now).bytes])
  const ended = ann.roster.revocationsBy(ann.key).length
  for (let half = 0; half < 5; half += 1) {
    clock.sleep(15.5 * day)
    await ann.renewMember(last.publicKey, '')
    await endBefore(ann, last.publicKey)
  }
  assert.equal(codeOf(ann, next.publicKey), 'ERR_EXPIRED')
  assert.equal(ann.roster.revocationsBy(ann.key).length, ended)
})

for (const order of ['before', 'after'] as const) {
  test(`kick --issued takes the guests whom an administrator has renewed ${order} that was known there`, async (t) => {
    const clock = new ManualClock()
    const { ann, bea, ivy } = await apart(t, clock)
    const guest = await newKey(t)
    const stays = await newKey(t)
    const certificates = [guest, stays].map(({ publicKey }) => letIn(ivy, publicKey))
    bea.take(certificates)
    // Of this one an administrator says something else.
    bea.take([letIn(bea, stays.publicKey)])
    if (order === 'after') await kickMember(ann, keyCalled(ann, 'ivy'), true)
    clock.sleep(16 * day)
    await bea.renewMember(guest.publicKey, '')
    if (order === 'before') await kickMember(ann, keyCalled(ann, 'ivy'), true)
    const parts = [ann, bea].map(({ roster, now }) => roster.bytesOf(roster.ids(now)))
    meet(ann, bea)
    for (const statements of [parts.flat(), parts.toReversed().flat()]) {
      const roster = new Roster(ann.genesis)
      for (const bytes of statements) {
        roster.add(bytes, ann.now)
        roster.members(ann.now)
      }
      assert.throws(() => roster.verify(guest.publicKey, ann.now), { code: 'ERR_REVOKED' })
      assert.equal(roster.verify(stays.publicKey, ann.now).name, 'guest')
    }
    for (const admin of [ann, bea]) {
      assert.equal(codeOf(admin, guest.publicKey), 'ERR_REVOKED')
      await assert.rejects(admin.renewMember(guest.publicKey, ''), { code: 'ERR_REVOKED' })
      assert.equal(codeOf(admin, stays.publicKey), undefined)
    }
  })
}

for (const roles of [inviting, trusted]) {
  test(`kick --issued takes whoever came by such a link at ${roles.at(-1)}s, before and after they hear of it`, async (t) => {
    const { ann, ivy, make } = await apart(t)
    const ivan = await make({ roles, name: 'ivan' })
    for (const one of [ann, ivan]) one.take([ann, ivy, ivan].map((other) => other.own().bytes))
    const [early, late] = [await newKey(t), await newKey(t)]
    await redeemLink(ivan, ivy, early)
    meet(ann, ivan)
    assert.equal(codeOf(ann, early.publicKey), undefined)
    await kickMember(ann, keyCalled(ann, 'ivy'), true)
    assert.equal(codeOf(ann, early.publicKey), 'ERR_REVOKED')
    assert.deepEqual(guestsOf(ann, ivy.key), [])
    await redeemLink(ivan, ivy, late)
    meet(ann, ivan)
    for (const one of [ann, ivan])
      for (const { publicKey } of [early, late]) assert.equal(codeOf(one, publicKey), 'ERR_REVOKED')
    assert.equal(codeOf(ann, ivan.key), undefined)
  })
}

test('the guests of who has changed its key say that its first one has invited them, and go too', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, ivy, follow } = await apart(t, clock)
  const second = await follow(ann, ivy.signer)
  await endBefore(ann, second.publicKey)
  meet(ann, bea)
  const guest = await newKey(t)
  const certificate = ann.roster.certificateOf(second.publicKey, ann.now)
  const issuer = { genesis: ann.genesis, key: second, certificate }
  bea.take([
    issueCertificate(issuer, { subject: guest.publicKey, name: 'guest', roles: plain, serial: serial() }, bea.now)
      .bytes,
  ])
  await kickMember(ann, keyCalled(ann, peerIdOf(second.publicKey)), true)
  clock.sleep(16 * day)
  await bea.renewMember(guest.publicKey, '')
  meet(ann, bea)
  for (const admin of [ann, bea]) assert.equal(codeOf(admin, guest.publicKey), 'ERR_REVOKED')
})

test('who kicks whom it was invited by, as others say, stays, also with new dates; a kick without --issued leaves guests', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, ivy, make } = await apart(t, clock)
  const carl = await make({ roles: trusted, name: 'carl', lifetimeMs: 10 * day })
  const guest = await newKey(t)
  for (const one of [ann, bea, carl]) one.take([carl.own().bytes, letIn(ann, guest.publicKey, ivy.key)])
  for (const one of [ann, bea, carl]) one.take([letIn(ann, carl.key, bea.key, trusted)])
  await kickMember(carl, bea, true)
  await kickMember(ann, keyCalled(ann, 'ivy'), false)
  for (const one of [ann, carl]) meet(one, bea)
  meet(ann, carl)
  for (const one of [ann, carl])
    assert.deepEqual(
      [carl.key, bea.key, ivy.key, guest.publicKey].map((key) => codeOf(one, key)),
      [undefined, 'ERR_REVOKED', 'ERR_REVOKED', undefined],
    )
  clock.sleep(16 * day)
  // What speaks for them now is what others say again.
  for (const key of [carl.key, guest.publicKey]) {
    await ann.renewMember(key, '')
    assert.equal(codeOf(ann, key), undefined)
  }
  clock.sleep(16 * day)
  for (const key of [carl.key, guest.publicKey]) assert.equal(codeOf(ann, key), undefined)
})

test('a stolen inviter cannot have its guests go with it, and what a stolen administrator says the root takes back', async (t) => {
  const { ann, bea, ivy, make } = await apart(t)
  const root = await make({ root: true, name: 'founder' })
  const guest = await newKey(t)
  for (const one of [ann, root]) one.take([bea.own().bytes, ivy.own().bytes, root.own().bytes])
  for (const one of [ann, bea, ivy, root]) one.take([letIn(ann, guest.publicKey, ivy.key)])
  const all = { kind: 'issuer', key: ivy.key, keep: [withGuests] } as const
  ann.take([revoke(ivy.issuer(), { ...all, keep: [...all.keep] }, 'kicked', ann.now).bytes])
  assert.equal(codeOf(ann, guest.publicKey), undefined)
  ann.take([revoke(bea.issuer(), { ...all, keep: [...all.keep] }, 'kicked', ann.now).bytes])
  assert.equal(codeOf(ann, guest.publicKey), 'ERR_REVOKED')
  meet(ann, root)
  await kickMember(root, bea, true)
  meet(ann, root)
  assert.equal(codeOf(ann, guest.publicKey), undefined)
})
