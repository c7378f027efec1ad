import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import type { SigningKey } from '../../src/mesh/ed25519.ts'
import { type Members, peerIdOf, serial } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { endBefore } from '../../src/mesh/successor.ts'
import { apart, meet, newKey } from './apart.ts'
import { ManualClock } from './fixture.ts'
import { rootOf } from './hiring.ts'
import { day, inviting, plain, trusted } from './office.ts'

const ends = (members: Members): number =>
  members.roster.revocationsBy(members.key).filter(({ body }) => body.reason === 'rekeyed').length

async function letIn(t: TestContext, by: Members, at: Members): Promise<SigningKey> {
  const guest = await newKey(t)
  const init = { subject: guest.publicKey, name: 'guest', roles: plain, serial: serial() }
  at.take([issueCertificate(by.issuer(), init, by.now).bytes])
  return guest
}

test('an inviter whose guests have their keys followed, all the time, leaves administrators the places for others', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, ivy, make, follow } = await apart(t, clock)
  const change = async (admin: Members, guest: SigningKey): Promise<number> => {
    try {
      await endBefore(admin, (await follow(admin, guest)).publicKey)
      return 1
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'ERR_LIMIT')
      return 0
    }
  }
  let count = 0
  // Some have new dates of an administrator's by then; and they ask whichever they like.
  const old = await Promise.all(Array.from({ length: 4 }, () => letIn(t, ivy, ann)))
  clock.sleep(16 * day)
  for (const { publicKey } of old) await ann.renewMember(publicKey, '')
  const guests = [...old, ...(await Promise.all(Array.from({ length: 8 }, () => letIn(t, ivy, ann))))]
  for (const [at, guest] of guests.entries()) {
    meet(ann, bea)
    count += await change(at % 2 === 0 ? ann : bea, guest)
  }
  assert.equal(count, 8)
  const ivan = await make({ roles: inviting, name: 'ivan' })
  ann.take([ivan.own().bytes])
  assert.equal(await change(ann, await letIn(t, ivan, ann)), 1)
  for (let month = 0; month < 4; month += 1) {
    clock.sleep(10 * day)
    await ann.renewMember(ivy.key, '').catch(() => undefined)
    clock.sleep(21 * day)
    meet(ann, ivy)
    for (let at = 0; at < 12; at += 1) count += await change(ann, await letIn(t, ivy, ann))
  }
  meet(ann, bea)
  assert.equal(count, 5 * 8)
  assert.equal(ends(ann) + ends(bea), count + 1)
  // Whom administrators have let in changes its key as before.
  const other = await letIn(t, ann, ann)
  assert.equal(await change(ann, other), 1)
})

test('guests that end their keys themselves, as they do, are not counted', async (t) => {
  const { ann, ivy, follow } = await apart(t)
  for (let at = 0; at < 20; at += 1) {
    const guest = await letIn(t, ivy, ann)
    const issuer = { genesis: ann.genesis, key: guest, certificate: ann.roster.certificateOf(guest.publicKey, ann.now) }
    await follow(ann, guest)
    ann.take([revoke(issuer, { kind: 'key', key: guest.publicKey }, 'rekeyed', ann.now).bytes])
  }
  assert.equal(ends(ann), 0)
})

test('a guest that never ends its keys takes few of the places of the others, and none of them once it is kicked', async (t) => {
  const { ann, bea, ivy, follow } = await apart(t)
  const change = async (guest: SigningKey): Promise<SigningKey> => {
    const next = await follow(ann, guest)
    await endBefore(ann, next.publicKey)
    return next
  }
  const limit = { code: 'ERR_LIMIT' }
  const mal = await letIn(t, ivy, ann)
  const last = await change(await change(mal))
  await assert.rejects(change(last), limit)
  // As many as there are for one inviter. Of one line a key was kicked, and another one is a member's.
  const [a = mal, b = mal, c = mal, d = mal, honest = mal] = await Promise.all(
    Array.from({ length: 5 }, () => letIn(t, ivy, ann)),
  )
  for (const other of [a, b]) await change(await change(other))
  await kickMember(ann, { key: (await follow(ann, c)).publicKey }, false)
  await change(d)
  await assert.rejects(change(honest), limit)
  // One that is out by its own word is counted all the same.
  const issuer = { genesis: ann.genesis, key: last, certificate: ann.roster.certificateOf(last.publicKey, ann.now) }
  ann.take([revoke(issuer, { kind: 'key', key: last.publicKey }, 'kicked', ann.now).bytes])
  await assert.rejects(change(honest), limit)
  await kickMember(ann, { key: last.publicKey }, false)
  const third = await change(await change(honest))
  await assert.rejects(change(third), limit)
  meet(ann, bea)
  assert.equal(bea.objectionTo(peerIdOf(third.publicKey)), undefined)
})

test('who has a copy of a guest’s key, and is kicked, does not keep the owner from the next one', async (t) => {
  const { ann, ivy, follow } = await apart(t)
  const guest = await letIn(t, ivy, ann)
  const stolen = await follow(ann, guest)
  await assert.rejects(follow(ann, guest), { code: 'ERR_LIMIT' })
  await kickMember(ann, { key: stolen.publicKey }, false)
  const second = await follow(ann, guest)
  await endBefore(ann, second.publicKey)
  await follow(ann, second)
})

test('a key that was given up stays over when the thief that said so beside others is shut out by the root, also where the next one has left', async (t) => {
  const { ann, bob, make, follow, membership } = await apart(t)
  const root = await make({ root: true, name: 'founder' })
  const thief = await make({ roles: trusted, name: 'zed' })
  root.take([ann, bob, thief].map((one) => one.own().bytes))
  const second = await follow(ann, bob.signer)
  await endBefore(ann, second.publicKey)
  thief.take(ann.roster.bytesOf(ann.roster.ids(ann.now)))
  // One word of it is kept, the one with the smaller id: until the thief's is.
  const target = { kind: 'key' as const, key: bob.key }
  for (let at = thief.now; ann.roster.revocationsBy(thief.key).length === 0; at -= 1)
    ann.take([thief.own().bytes, revoke(thief.issuer(), target, 'rekeyed', at).bytes])
  assert.equal(ends(ann), 0)
  const issuer = { genesis: ann.genesis, key: second, certificate: ann.roster.certificateOf(second.publicKey, ann.now) }
  ann.take([revoke(issuer, { kind: 'key', key: second.publicKey }, 'left', ann.now).bytes])
  meet(ann, root)
  await kickMember(root, { key: thief.key }, true)
  meet(ann, root)
  for (const one of [ann, root]) assert.equal(one.objectionTo(peerIdOf(bob.key))?.code, 'ERR_REVOKED')
  // Not by the root's own word, which nobody takes back.
  assert.ok(root.roster.revocationsBy(rootOf(membership).publicKey).every(({ body }) => body.reason === 'kicked'))
})

test('what a thief has made up goes with it: of whom no key has said that it is followed, nothing is said again', async (t) => {
  const { ann, bob, make } = await apart(t)
  const root = await make({ root: true, name: 'founder' })
  const thief = await make({ roles: trusted, name: 'zed' })
  root.take([ann, bob, thief].map((one) => one.own().bytes))
  root.take([revoke(thief.issuer(), { kind: 'key', key: bob.key }, 'rekeyed', thief.now).bytes])
  assert.equal(root.objectionTo(peerIdOf(bob.key))?.code, 'ERR_REVOKED')
  await kickMember(root, { key: thief.key }, true)
  assert.equal(root.objectionTo(peerIdOf(bob.key)), undefined)
})
