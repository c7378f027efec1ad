import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { guestsOf, keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate, type Role } from '../../src/mesh/certificate.ts'
import { type SigningKey, signingKey } from '../../src/mesh/ed25519.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { heirsOfKicked } from '../../src/mesh/heirs.ts'
import { type Members, peerIdOf, serial } from '../../src/mesh/members.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor } from '../../src/mesh/successor.ts'
import { apart, meet } from './apart.ts'
import { ManualClock } from './fixture.ts'
import { day, inviting, plain } from './office.ts'

const fresh = (): SigningKey => signingKey(new Uint8Array(randomBytes(32)))
const isOut = (members: Members, key: Uint8Array): boolean => members.objectionTo(peerIdOf(key)) !== undefined
const half = 15.5 * day

/** What somebody signs for a guest, and dates back. */
function letIn(by: Members, key: Uint8Array, roles: readonly Role[] = plain, invitedBy = by.key): Uint8Array {
  const init = { subject: key, name: 'guest', roles, invitedBy, serial: serial() }
  return issueCertificate(by.issuer(), init, by.now - half).bytes
}

test('whom a stolen inviter has let in goes with it, also with new dates, or another key, that an administrator has signed', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, ivy, bob } = await apart(t, clock)
  clock.sleep(16 * day)
  const [guest, other, next] = [fresh(), fresh(), fresh()]
  ann.take([letIn(ivy, guest.publicKey), letIn(ivy, other.publicKey)])
  await ann.renewMember(guest.publicKey, '')
  await certifySuccessor(ann, next.publicKey, handOver(meshKeyOf(ann.genesis), other, next.publicKey))
  // The word of a thief, or of another inviter, does not make a guest of whom an administrator has let in.
  ann.take([letIn(ivy, bob.key)])
  meet(ann, bea)
  await kickMember(bea, keyCalled(bea, 'ivy'), true)
  meet(ann, bea)
  for (const key of [ivy, guest, other, next].map((one) => ('publicKey' in one ? one.publicKey : one.key)))
    assert.equal(isOut(ann, key), true)
  assert.deepEqual(
    [bob, bea].map(({ key }) => isOut(ann, key)),
    [false, false],
  )
})

test('a guest goes with each key that it has by now; one that another administrator has certified and nobody here knows is named', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, ivy, follow } = await apart(t, clock)
  clock.sleep(16 * day)
  const unheard: SigningKey[] = []
  // Guests are kicked in the order of their keys: of some the first one comes first.
  for (let at = 0; at < 6; at += 1) {
    const guest = fresh()
    for (const one of [ann, bea]) one.take([letIn(one, guest.publicKey, plain, ivy.key)])
    await follow(ann, guest)
    unheard.push(await follow(bea, guest))
  }
  const guests = guestsOf(ann, ivy.key)
  assert.equal(guests.length, 12)
  await kickMember(ann, keyCalled(ann, 'ivy'), true)
  for (const { key } of guests) assert.throws(() => ann.roster.checkKey(key), { code: 'ERR_REVOKED' })
  meet(ann, bea)
  for (const one of [ann, bea]) {
    const named = heirsOfKicked(one).map(({ peerId }) => peerId)
    assert.deepEqual(named.sort(), unheard.map(({ publicKey }) => peerIdOf(publicKey)).sort())
  }
})

test('whom an administrator has let in, and who stands on it by now, go with it; who kicks does not', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, ivy } = await apart(t, clock)
  clock.sleep(16 * day)
  const [inviter, guest] = [fresh(), fresh()]
  ann.take([letIn(bea, inviter.publicKey, inviting)])
  await ann.renewMember(inviter.publicKey, '')
  const { genesis, now } = ann
  const certificate = ann.roster.certificateOf(inviter.publicKey, now)
  const init = { subject: guest.publicKey, name: 'guest', roles: plain, serial: serial() }
  ann.take([issueCertificate({ genesis, key: inviter, certificate }, init, now).bytes])
  assert.equal(isOut(ann, guest.publicKey), false)
  // Says of everybody that it has let them in.
  for (const key of [ann.key, ivy.key]) ann.take([letIn(bea, key)])
  await kickMember(ann, keyCalled(ann, peerIdOf(bea.key)), true)
  assert.deepEqual(
    [bea.key, inviter.publicKey, guest.publicKey].map((key) => isOut(ann, key)),
    [true, true, true],
  )
  assert.deepEqual(
    [ann.key, ivy.key].map((key) => isOut(ann, key)),
    [false, false],
  )
})

test('however many a thief has had signed for, places are left to kick others, and it is known who is left', async (t) => {
  const clock = new ManualClock()
  const { ann, ivy, bob } = await apart(t, clock)
  clock.sleep(16 * day)
  await ann.renewMember(ivy.key, '')
  const guests = Array.from({ length: 100 }, () => fresh().publicKey)
  for (const key of guests) ann.take([letIn(ivy, key), letIn(ann, key, plain, ivy.key)])
  await kickMember(ann, keyCalled(ann, 'ivy'), true)
  const left = guests.filter((key) => !isOut(ann, key))
  assert.equal(ann.roster.revocationsBy(ann.key).length, 128)
  assert.equal(left.length, 100 - 63)
  assert.equal(guestsOf(ann, ivy.key).length, left.length)
  await kickMember(ann, bob, false)
  assert.equal(isOut(ann, bob.key), true)
})
