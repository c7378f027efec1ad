import assert from 'node:assert/strict'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { makeNextIdentity } from '../../src/mesh/identity.ts'
import { type Members, peerIdOf, serial, signingKeyOf } from '../../src/mesh/members.ts'
import { peopleBehind, provenInviter } from '../../src/mesh/people.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { type Follows, handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor, endBefore } from '../../src/mesh/successor.ts'
import { apart, meet, newKey, renewalOf } from './apart.ts'
import { certified, connect, LogBook, ManualClock, makeMesh, temporaryDirectory } from './fixture.ts'
import { createMembership, hire } from './hiring.ts'
import { day, plain } from './office.ts'

/** What the copy of a machine's state directory is: its key, and what it knows. */
async function copied(t: TestContext, stateDir: string): Promise<string> {
  const copy = await temporaryDirectory(t)
  for (const file of ['identity.key', 'roster']) await copyFile(join(stateDir, file), join(copy, file))
  return copy
}

test('a thief who is the first to have a key followed holds its place only until an administrator shuts that one out', {
  timeout: 60_000,
}, async (t) => {
  const membership = createMembership({ name: 'office' })
  const bossDir = await temporaryDirectory(t)
  const boss = await makeMesh(t, { ...membership }, { stateDir: bossDir })
  const stateDir = await temporaryDirectory(t)
  await hire(stateDir, membership, { roles: ['member', 'lender', 'inviter'], name: 'ivy' })
  const thief = await makeMesh(t, { ...membership }, { stateDir: await copied(t, stateDir) })
  await connect(boss, thief)
  const stolen = await makeNextIdentity(await temporaryDirectory(t))
  const told = certified(thief, stolen.peerId)
  assert.ok(thief.mesh.askToSucceed(signingKeyOf(stolen)))
  await told
  await thief.mesh.stop()
  await boss.mesh.members.saved()
  await boss.mesh.stop()

  // Also after the administrator was started again: what it has certified is in the roster.
  const log = new LogBook()
  const again = await makeMesh(t, { ...membership }, { stateDir: bossDir }, { log })
  const ivy = await makeMesh(t, { ...membership }, { stateDir })
  await connect(again, ivy)
  const before = ivy.mesh.peerId
  const own = await makeNextIdentity(stateDir)
  assert.ok(ivy.mesh.askToSucceed(signingKeyOf(own)))
  await log.code('ERR_LIMIT')
  assert.equal(again.mesh.members.objectionTo(own.peerId)?.code, 'ERR_NOT_MEMBER')

  await kickMember(again.mesh.members, again.mesh.members.member(stolen.peerId), false)
  const mine = certified(ivy, own.peerId)
  assert.ok(ivy.mesh.askToSucceed(signingKeyOf(own)))
  await mine
  const { roster, now } = again.mesh.members
  const { key } = again.mesh.members.member(own.peerId)
  assert.deepEqual(peopleBehind(roster, key, now), peopleBehind(roster, again.mesh.members.member(before).key, now))
  assert.equal(again.mesh.members.isDoubtful(own.peerId), false)
})

test('two keys that two administrators have let follow one: neither counts until one is shut out, then the other is the member', async (t) => {
  const { ann, bea, ivy, follow } = await apart(t)
  const stolen = await follow(ann, ivy.signer)
  const own = await follow(bea, ivy.signer)
  assert.equal(bea.rivals().size, 0)
  meet(ann, bea)
  const ids = [stolen, own].map(({ publicKey }) => peerIdOf(publicKey))
  for (const admin of [ann, bea]) {
    assert.deepEqual([...admin.rivals()].toSorted(), ids.toSorted())
    assert.ok(ids.every((peerId) => admin.isDoubtful(peerId)))
    const [people] = ids.map((_, at) => peopleBehind(admin.roster, [stolen, own][at]?.publicKey ?? ann.key, admin.now))
    assert.deepEqual(people, peopleBehind(admin.roster, own.publicKey, admin.now))
  }
  // Neither gets away from it with a third key, nor does who has the first one.
  for (const key of [stolen, own, ivy.signer]) await assert.rejects(follow(ann, key), { code: 'ERR_LIMIT' })
  await kickMember(ann, { key: stolen.publicKey }, false)
  meet(ann, bea)
  assert.equal(bea.rivals().size, 0)
  assert.equal(bea.objectionTo(ids[1] ?? ''), undefined)
  assert.equal(bea.objectionTo(ids[0] ?? '')?.code, 'ERR_REVOKED')
  // The line goes on.
  const third = await follow(bea, own)
  assert.equal(bea.isDoubtful(peerIdOf(third.publicKey)), false)
})

const areTwo = ({ roster, now }: Members, a: Uint8Array, b: Uint8Array): boolean => {
  const others = peopleBehind(roster, b, now)
  return [...peopleBehind(roster, a, now)].every((one) => !others.has(one))
}

test('rivals stay rivals for as long as both are members, whoever is asked for new dates', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, ivy, bob, follow } = await apart(t, clock)
  const stolen = await follow(ann, bob.signer)
  const own = await follow(bea, bob.signer)
  meet(ann, bea)
  meet(ann, ivy)
  for (let half = 1; half <= 6; half += 1) {
    clock.sleep(15.25 * day)
    // The one that is stolen asks an inviter only, as long as it has a certificate.
    await assert.rejects(ivy.renewMember(stolen.publicKey, ''), { code: half <= 2 ? 'ERR_ROLE' : 'ERR_NOT_MEMBER' })
    for (const key of [ivy.key, own.publicKey]) await ann.renewMember(key, '')
    meet(ann, ivy)
    const isMember = ann.objectionTo(peerIdOf(stolen.publicKey)) === undefined
    assert.equal(ann.rivals().size, isMember ? 2 : 0)
    if (isMember) assert.equal(areTwo(ann, stolen.publicKey, own.publicKey), false)
    assert.equal(ann.objectionTo(peerIdOf(own.publicKey)), undefined)
  }
})

/** So long after bob has changed its key that often that nothing is left of the first; all others have new dates. */
async function longAfter(t: TestContext, changes: number) {
  const clock = new ManualClock()
  const made = await apart(t, clock)
  const { ann, ivy, bob, follow } = made
  let last = bob.signer
  for (let at = 0; at < changes; at += 1) {
    const certificate = ann.roster.certificateOf(last.publicKey, ann.now)
    const issuer = { genesis: ann.genesis, key: last, certificate }
    const next = await follow(ann, last)
    await ann.say([revoke(issuer, { kind: 'key', key: last.publicKey }, 'rekeyed', ann.now)])
    last = next
  }
  for (let half = 0; half < 4; half += 1) {
    clock.sleep(15.5 * day)
    for (const key of [ivy.key, last.publicKey]) await ann.renewMember(key, '')
  }
  meet(ann, ivy)
  assert.equal(ann.objectionTo(peerIdOf(bob.key))?.code, 'ERR_NOT_MEMBER')
  const letIn = async (): Promise<void> => {
    const init = { subject: bob.key, name: 'rob', roles: plain, serial: serial() }
    await ivy.say([issueCertificate(ivy.issuer(), init, ivy.now)])
  }
  const renewal = (peers: readonly Uint8Array[]) => renewalOf(ann, clock, peers)
  return { ...made, clock, last, letIn, renewal }
}

test('a key that was given up is shut out when an administrator is asked for new dates, and nobody is an inviter’s guest by it', async (t) => {
  const { ann, ivy, bob, clock, last, letIn, renewal } = await longAfter(t, 1)
  await letIn()
  meet(ann, ivy)
  const before = provenInviter(ann.roster, last.publicKey, ann.now)
  assert.equal(ann.objectionTo(peerIdOf(bob.key)), undefined)
  await assert.rejects(ann.renewMember(bob.key, 'robert'), { code: 'ERR_FOLLOWED' })
  clock.sleep(16 * day)
  await ann.renewMember(ivy.key, '')
  renewal([]).onRequest(peerIdOf(bob.key), '')
  await ann.saved()
  assert.equal(ann.objectionTo(peerIdOf(bob.key))?.code, 'ERR_REVOKED')
  assert.deepEqual(ann.roster.latestOf(bob.key)?.body.issuer, ivy.key)
  await ann.renewMember(last.publicKey, '')
  assert.deepEqual(provenInviter(ann.roster, last.publicKey, ann.now), before)
  assert.ok(areTwo(ann, last.publicKey, ivy.key))
})

test('a first key that is let in again makes no rival of the third; that it came before is only said of it, so nobody ends it by himself', async (t) => {
  const { ann, bea, ivy, bob, last, letIn, renewal, follow } = await longAfter(t, 2)
  const watching = renewal([last.publicKey])
  watching.start()
  await letIn()
  for (const admin of [ann, bea]) meet(admin, ivy)
  watching.stop()
  await ann.saved()
  for (const one of [ann, bea, ivy]) {
    assert.equal(one.objectionTo(peerIdOf(bob.key)), undefined)
    assert.equal(one.rivals().size, 0)
    assert.equal(areTwo(one, bob.key, last.publicKey), false)
  }
  // Nor does it keep the third from being followed, and it is no other person than that one.
  const fourth = await follow(bea, last)
  assert.equal(bea.isDoubtful(peerIdOf(fourth.publicKey)), false)
  assert.equal(areTwo(bea, bob.key, fourth.publicKey), false)
  // An administrator shuts it out, and nobody else with it.
  await kickMember(bea, keyCalled(bea, peerIdOf(bob.key)), false)
  assert.equal(bea.objectionTo(peerIdOf(bob.key))?.code, 'ERR_REVOKED')
  for (const { publicKey } of [last, fourth]) assert.equal(bea.objectionTo(peerIdOf(publicKey)), undefined)
})

test('who has a new key waiting for its next start does not ask for new dates of the old one, and says so', async (t) => {
  const clock = new ManualClock()
  const { ann, bob, follow } = await apart(t, clock)
  bob.take([ann.own().bytes])
  const asked: string[] = []
  const log = new LogBook()
  const renewal = renewalOf(bob, clock, [ann.key], { log, send: () => asked.push('') > 0 })
  const ask = async (): Promise<number> => {
    clock.sleep(60_000)
    renewal.start()
    await new Promise((resolve) => setImmediate(resolve))
    renewal.stop()
    return asked.length
  }
  const next = await follow(ann, bob.signer)
  clock.sleep(16 * day)
  assert.equal(await ask(), 1)
  bob.take([ann.roster.certificateOf(next.publicKey, ann.now).bytes])
  assert.equal(await ask(), 1)
  // Once, however often it is looked.
  assert.equal(await ask(), 1)
  assert.equal(log.entries.filter(({ fields }) => fields.code === 'ERR_FOLLOWED').length, 1)
})

test('a key that somebody has given up does not become another member’s: that would make one person of two', async (t) => {
  const { ann, ivy, bob, follow } = await longAfter(t, 2)
  const consent = handOver(meshKeyOf(ann.genesis), ivy.signer, bob.key)
  await assert.rejects(certifySuccessor(ann, bob.key, consent), { code: 'ERR_LIMIT' })
  assert.equal(ann.isDoubtful(peerIdOf((await follow(ann, ivy.signer)).publicKey)), false)
})

test('of more keys in a row than a member can have had, none is believed', async (t) => {
  const { ann } = await apart(t)
  const first = await newKey(t)
  let last = await newKey(t)
  const consent = handOver(meshKeyOf(ann.genesis), first, last.publicKey)
  const say = async (subject: Uint8Array, follows: Follows): Promise<void> => {
    const init = { subject, name: 'cy', roles: plain, invitedBy: ann.key, follows, serial: serial() }
    await ann.say([issueCertificate(ann.issuer(), init, ann.now)])
  }
  await say(last.publicKey, consent)
  for (let count = 2; count <= 16; count++) {
    const next = await newKey(t)
    await say(next.publicKey, { key: first.publicKey, via: last.publicKey })
    last = next
  }
  assert.equal(ann.rivals().size, 0)
  await say((await newKey(t)).publicKey, { key: first.publicKey, via: last.publicKey })
  assert.equal(ann.rivals().size, 17)
})

test('what members do with their keys leaves an administrator the places to kick them', async (t) => {
  const { ann, ivy, bob, follow } = await apart(t)
  const next = await follow(ann, ivy.signer)
  const others = Array.from({ length: 128 }, (_, at) => ({ kind: 'key' as const, key: Buffer.alloc(32, at + 1) }))
  await ann.say(others.slice(1).map((target) => revoke(ann.issuer(), target, 'rekeyed', ann.now)))
  const last = await follow(ann, bob.signer)
  await endBefore(ann, last.publicKey)
  await assert.rejects(endBefore(ann, next.publicKey), { code: 'ERR_LIMIT' })
  assert.equal(ann.objectionTo(peerIdOf(ivy.key)), undefined)
  await kickMember(ann, ann.member(peerIdOf(ivy.key)), false)
  assert.equal(ann.objectionTo(peerIdOf(ivy.key))?.code, 'ERR_REVOKED')
})
