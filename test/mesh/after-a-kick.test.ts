import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { keyCalled, kickMember, leaveMesh } from '../../src/mesh/administer.ts'
import { type Issuer, issueCertificate } from '../../src/mesh/certificate.ts'
import type { SigningKey } from '../../src/mesh/ed25519.ts'
import { meshIdOf, meshKeyOf } from '../../src/mesh/genesis.ts'
import { heirsOfKicked } from '../../src/mesh/heirs.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { Members, peerIdOf, serial, signingKeyOf } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { saveRoster } from '../../src/mesh/roster-file.ts'
import { hex } from '../../src/mesh/statement.ts'
import { type Follows, handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor, endBefore } from '../../src/mesh/successor.ts'
import { apart, meet, newKey } from './apart.ts'
import { ManualClock, temporaryDirectory } from './fixture.ts'
import { day, plain, trusted } from './office.ts'

const codeOf = (members: Members, { publicKey }: Pick<SigningKey, 'publicKey'>): string | undefined =>
  members.objectionTo(peerIdOf(publicKey))?.code

const knows = (members: Members): Uint8Array[] => members.roster.bytesOf(members.roster.ids(members.now))

/** Whoever has a key that may says something of another one. */
function certify(
  by: Issuer,
  subject: Uint8Array,
  follows: Follows | undefined,
  now: number,
  roles = plain,
): Uint8Array {
  return issueCertificate(by, { subject, name: 'x', roles, follows, serial: serial() }, now).bytes
}

const consent = ({ genesis }: Members, old: SigningKey, next: SigningKey): Follows =>
  handOver(meshKeyOf(genesis), old, next.publicKey)

/** A machine whose next key an administrator has certified, and which uses that. */
async function nextMachine(t: TestContext, by: Members, old: SigningKey) {
  const stateDir = await temporaryDirectory(t)
  const identity = await loadIdentity(stateDir)
  const key = signingKeyOf(identity)
  await certifySuccessor(by, key.publicKey, handOver(meshKeyOf(by.genesis), old, key.publicKey))
  await saveRoster(stateDir, by.roster, by.now)
  const needs = { clock: systemClock, log: silentLogger }
  const members = await Members.load(needs, stateDir, identity, meshIdOf(by.genesis))
  return { stateDir, key, members }
}

const namedBy = (members: Members): string[] =>
  heirsOfKicked(members)
    .map(({ peerId }) => peerId)
    .sort()

for (const order of ['the kick', 'the certificate'] as const) {
  test(`whom another administrator lets follow a kicked key, not knowing of that, is named by all administrators, ${order} first`, async (t) => {
    const { ann, bea, ivy, bob, follow } = await apart(t)
    await kickMember(ann, keyCalled(ann, 'bob'), false)
    const second = await follow(bea, bob.signer)
    await endBefore(bea, second.publicKey)
    // It was in use, too, and was followed itself.
    const third = await follow(bea, second)
    const parts = [knows(ann), knows(bea)]
    const heard = order === 'the kick' ? parts : parts.toReversed()
    for (const one of [ann, bea, ivy]) for (const statements of heard) one.take(statements)
    const both = [second, third].map(({ publicKey }) => peerIdOf(publicKey)).sort()
    for (const admin of [ann, bea]) assert.deepEqual(namedBy(admin), both)
    assert.deepEqual(namedBy(ivy), [])
    // With the id of a key go those that it has handed over to.
    await kickMember(ann, keyCalled(ann, peerIdOf(second.publicKey)), false)
    meet(ann, bea)
    for (const admin of [ann, bea]) {
      assert.deepEqual([codeOf(admin, second), codeOf(admin, third)], ['ERR_REVOKED', 'ERR_REVOKED'])
      assert.deepEqual(namedBy(admin), [])
    }
  })
}

test('who follows a kicked key and was let in otherwise by an administrator is not named', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const second = await follow(bea, bob.signer)
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  ann.take([certify(ann.issuer(), second.publicKey, undefined, ann.now)])
  meet(ann, bea)
  assert.deepEqual(namedBy(ann), [])
  assert.equal(codeOf(ann, second), undefined)
})

test('a stolen administrator’s key cannot have an honest key go with a kicked one, whoever renews that, or lets it be followed', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, bob, make, follow } = await apart(t, clock)
  const thief = await make({ roles: trusted, name: 'zed' })
  for (const admin of [ann, bea]) admin.take([thief.own().bytes])
  const mal = await newKey(t)
  thief.take([certify(thief.issuer(), mal.publicKey, undefined, thief.now)])
  const first = ann.roster.certificateOf(bob.key, ann.now)
  // Ann has let bob in, and says so once more than the root, whose word ends first.
  await ann.say([issueCertificate(ann.issuer(), { ...first.body, serial: serial(), invite: null }, ann.now)])
  clock.sleep(day)
  thief.take([certify(thief.issuer(), bob.key, consent(thief, mal, bob.signer), thief.now)])
  for (const admin of [ann, bea]) meet(admin, thief)
  meet(ann, bea)
  // At half-time both renew bob; none of them hands on what the thief says.
  clock.sleep(15 * day)
  for (const admin of [ann, bea]) {
    await admin.renewMember(bob.key, admin === ann ? 'bob1' : 'bob2')
    const said = admin.roster.certificatesOf(bob.key, admin.now).find(({ body }) => hex(body.issuer) === hex(admin.key))
    assert.equal(said?.body.follows, undefined)
  }
  meet(ann, bea)
  clock.sleep(15 * day)
  const second = await follow(ann, bob.signer)
  const { follows } = ann.roster.certificateOf(second.publicKey, ann.now).body
  assert.deepEqual(follows?.key, bob.key)
  // What ann has said of the second she says again, whatever the thief says.
  thief.take([certify(thief.issuer(), second.publicKey, consent(thief, mal, second), thief.now)])
  meet(ann, thief)
  clock.sleep(1000)
  await ann.renewMember(second.publicKey, 'bob3')
  assert.deepEqual(ann.roster.certificateOf(second.publicKey, ann.now).body.follows, follows)
  meet(ann, bea)
  await kickMember(ann, keyCalled(ann, peerIdOf(mal.publicKey)), false)
  meet(bea, ann)
  for (const admin of [ann, bea]) assert.deepEqual(namedBy(admin), [])
  for (const admin of [ann, bea])
    assert.deepEqual(
      [mal, bob.signer, second].map((key) => codeOf(admin, key)),
      ['ERR_REVOKED', undefined, undefined],
    )
})

test('a key that is over because another came after it is no kicked one, and can be kicked for safety', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const second = await follow(ann, bob.signer)
  await endBefore(ann, second.publicKey)
  assert.equal(codeOf(ann, second), undefined)
  const meant = keyCalled(ann, peerIdOf(bob.key))
  assert.deepEqual(meant.others, [])
  await kickMember(ann, meant, false)
  await kickMember(ann, keyCalled(ann, peerIdOf(bob.key)), true)
  meet(ann, bea)
  for (const admin of [ann, bea])
    assert.deepEqual([codeOf(admin, bob.signer), codeOf(admin, second)], ['ERR_REVOKED', undefined])
  assert.equal(ann.roster.revocationsBy(ann.key).filter(({ body }) => body.reason !== 'rekeyed').length, 2)
  for (const admin of [ann, bea]) assert.deepEqual(namedBy(admin), [])
  // Who means both says so; then nobody is left who would go with the first, and what comes after it goes.
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  assert.equal(codeOf(ann, second), 'ERR_REVOKED')
  await kickMember(ann, keyCalled(ann, peerIdOf(bob.key)), false)
  const other = await newKey(t)
  ann.take([certify(bea.issuer(), other.publicKey, consent(bea, bob.signer, other), bea.now)])
  assert.deepEqual(namedBy(ann), [peerIdOf(other.publicKey)])
})

test('what a key says of itself ends nothing but itself', async (t) => {
  const { ann, bob, follow } = await apart(t)
  const issuer = bob.issuer()
  const second = await follow(ann, bob.signer)
  ann.take([revoke(issuer, { kind: 'key', key: bob.key }, 'kicked', ann.now).bytes])
  assert.deepEqual(namedBy(ann), [])
  assert.deepEqual([codeOf(ann, bob.signer), codeOf(ann, second)], ['ERR_REVOKED', undefined])
})

test('on the machine that uses the next key, the one before is kicked alone; its name is this machine', async (t) => {
  const { ann, bea } = await apart(t)
  const { members: here, key: second } = await nextMachine(t, ann, ann.signer)
  const { name } = here.own().body
  const old = peerIdOf(ann.key)
  assert.throws(() => keyCalled(here, name), { code: 'ERR_USAGE' })
  assert.throws(() => keyCalled(here, peerIdOf(second.publicKey)), {
    code: 'ERR_USAGE',
    message: 'that is this machine',
  })
  const meant = keyCalled(here, old)
  assert.deepEqual([meant.peerId, meant.others], [old, []])
  await kickMember(here, meant, false)
  meet(here, bea)
  assert.deepEqual([...namedBy(here), ...namedBy(bea)], [])
  for (const one of [here, bea])
    assert.deepEqual([codeOf(one, ann.signer), codeOf(one, second)], ['ERR_REVOKED', undefined])
  await here.saved()
})

test('who was away when its certificate became void is let in with that, where another one speaks for it by now', async (t) => {
  const { ann, ivy } = await apart(t)
  const guests = await Promise.all(Array.from({ length: 14 }, () => newKey(t)))
  const shown = guests.map(({ publicKey }) => certify(ivy.issuer(), publicKey, undefined, ivy.now))
  ann.take(shown)
  assert.deepEqual(await kickMember(ann, keyCalled(ann, 'ivy'), false), [])
  // Or with one that nobody has seen yet.
  shown[0] = certify(ivy.issuer(), guests[0]?.publicKey ?? ann.key, undefined, ivy.now)
  const before = ann.roster.size
  for (const [at, { publicKey }] of guests.entries()) {
    ann.admit(shown[at] ?? new Uint8Array(), publicKey)
    assert.throws(() => ann.admit(shown[at] ?? new Uint8Array(), ann.key), { code: 'ERR_REPLAYED' })
  }
  assert.equal(ann.roster.size, before)
  const other = await newKey(t)
  const late = certify(ivy.issuer(), other.publicKey, undefined, ivy.now)
  assert.throws(() => ann.admit(late, other.publicKey), { code: 'ERR_REVOKED' })
})

test('who leaves while its next key waits leaves with both', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const next = await follow(ann, bob.signer)
  meet(ann, bob)
  await leaveMesh(bob, next)
  meet(ann, bob)
  meet(ann, bea)
  for (const admin of [ann, bea])
    assert.deepEqual([codeOf(admin, bob.signer), codeOf(admin, next)], ['ERR_REVOKED', 'ERR_REVOKED'])
  // One that nobody has certified says nothing.
  const { ann: alone } = await apart(t)
  await leaveMesh(alone, await newKey(t))
  assert.equal(alone.objectionToSelf()?.code, 'ERR_REVOKED')
})
