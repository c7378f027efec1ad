import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { type SigningKey, signingKey } from '../../src/mesh/ed25519.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { type Members, peerIdOf, serial } from '../../src/mesh/members.ts'
import { type Follows, handOver } from '../../src/mesh/succession.ts'
import { endBefore } from '../../src/mesh/successor.ts'
import { apart, meet } from './apart.ts'
import { ManualClock } from './fixture.ts'
import { plain, trusted } from './office.ts'

const fresh = (): SigningKey => signingKey(new Uint8Array(randomBytes(32)))
const isOut = (members: Members, key: Uint8Array): boolean => members.objectionTo(peerIdOf(key)) !== undefined

/** Whoever has an administrator's key lets in a key, or says of a member after whom it comes. */
function certify(by: Members, subject: Uint8Array, name: string, follows?: Follows, roles = plain): void {
  const init = { subject, name, roles, follows, serial: serial() }
  by.take([issueCertificate(by.issuer(), init, by.now).bytes])
}

test('however many keys a stolen one says come after it, it is kicked, at once, and takes no more places than one', async (t) => {
  const { ann, bea: stolen } = await apart(t)
  const mesh = meshKeyOf(ann.genesis)
  const next = Array.from({ length: 140 }, fresh)
  for (const { publicKey } of next)
    certify(stolen, publicKey, stolen.name, handOver(mesh, stolen.signer, publicKey), trusted)
  meet(ann, stolen)
  const told: boolean[] = []
  ann.onChange(() => void told.push(isOut(ann, stolen.key)))
  assert.deepEqual(await kickMember(ann, keyCalled(ann, peerIdOf(stolen.key)), false), [])
  assert.equal(told[0], true)
  // What it has let in of them went with it; nobody has signed for them again.
  assert.ok(next.every(({ publicKey }) => isOut(ann, publicKey)))
  assert.equal(ann.roster.revocationsBy(ann.key).length, 2)
})

test('of the keys of one member the one that is in use is out first, whatever the others have let in', async (t) => {
  const { ann, bea, ivy, follow } = await apart(t)
  await follow(ann, ivy.signer)
  meet(ann, bea)
  const told: boolean[] = []
  ann.onChange(() => void told.push(isOut(ann, ivy.key)))
  await kickMember(ann, keyCalled(ann, 'ivy'), false)
  assert.equal(told[0], true)
})

test('who has another key by now is not kicked with a thief after whom it is said to come', async (t) => {
  const { ann, bea: stolen, bob, follow } = await apart(t)
  const second = await follow(ann, bob.signer)
  await endBefore(ann, second.publicKey)
  meet(ann, stolen)
  const thief = fresh()
  certify(stolen, thief.publicKey, 'thief')
  certify(stolen, second.publicKey, 'bob', handOver(meshKeyOf(ann.genesis), thief, second.publicKey))
  meet(ann, stolen)
  const meant = keyCalled(ann, peerIdOf(thief.publicKey))
  assert.deepEqual(meant.others, [])
  await kickMember(ann, meant, false)
  assert.deepEqual([isOut(ann, thief.publicKey), isOut(ann, second.publicKey)], [true, false])
})

test('a name that a thief gives to somebody else, too, does not make that one its own next key', async (t) => {
  const clock = new ManualClock()
  const { ann, bea: stolen, bob } = await apart(t, clock)
  const thief = fresh()
  certify(stolen, thief.publicKey, 'thief')
  clock.sleep(1000)
  certify(stolen, bob.key, 'thief', handOver(meshKeyOf(ann.genesis), thief, bob.key))
  meet(ann, stolen)
  assert.throws(() => keyCalled(ann, 'thief'), { code: 'ERR_USAGE' })
  assert.deepEqual(keyCalled(ann, peerIdOf(thief.publicKey)).others, [])
})

test('what somebody was called by one who is out is no name', async (t) => {
  const clock = new ManualClock()
  const { ann, bea: stolen, bob } = await apart(t, clock)
  clock.sleep(1000)
  certify(stolen, bob.key, 'thief')
  meet(ann, stolen)
  await kickMember(ann, { key: stolen.key }, true)
  assert.equal(ann.member(peerIdOf(bob.key)).name, 'bob')
  assert.throws(() => keyCalled(ann, 'thief'), { code: 'ERR_USAGE' })
})
