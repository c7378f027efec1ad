import assert from 'node:assert/strict'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { loadIdentity, makeNextIdentity } from '../../src/mesh/identity.ts'
import { Members, peerIdOf, serial, signingKeyOf } from '../../src/mesh/members.ts'
import { peopleBehind, provenInviter } from '../../src/mesh/people.ts'
import { Renewal } from '../../src/mesh/renewal.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { type Follows, handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor, endBefore } from '../../src/mesh/successor.ts'
import { afterwards, certified, connect, LogBook, ManualClock, makeMesh, temporaryDirectory } from './fixture.ts'
import { createMembership, type Hire, hire } from './hiring.ts'
import { day, inviting, plain } from './office.ts'

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

/** Two administrators that do not hear each other, and the machine of ivy. */
async function apart(t: TestContext, clock: Clock = systemClock) {
  const membership = createMembership({ name: 'office' })
  const make = async (how: Hire = {}): Promise<Members> => {
    const dir = await temporaryDirectory(t)
    const identity = await hire(dir, membership, how)
    const members = await Members.load({ clock, log: silentLogger }, dir, identity, membership.id)
    afterwards(t, () => members.saved())
    return members
  }
  const [ann, bea, ivy] = [await make(), await make(), await make({ roles: inviting, name: 'ivy' })]
  const bob = await make({ roles: plain, name: 'bob' })
  for (const admin of [ann, bea]) admin.take([ann, bea, ivy, bob].map((one) => one.own().bytes))
  /** Has a key that nobody has seen follow one. */
  const follow = async (by: Members, old: Members['signer']) => {
    const next = signingKeyOf(await loadIdentity(await temporaryDirectory(t)))
    const consent = handOver(meshKeyOf(by.genesis), old, next.publicKey)
    await certifySuccessor(by, next.publicKey, consent)
    return next
  }
  return { ann, bea, ivy, bob, follow }
}

const meet = (a: Members, b: Members): void => {
  a.take(b.roster.bytesOf(b.roster.ids(b.now)))
  b.take(a.roster.bytesOf(a.roster.ids(a.now)))
}

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
  const renewal = (peers: readonly Uint8Array[]): Renewal => {
    const needs = { clock, random: () => 0, log: silentLogger, members: ann, send: () => false }
    return new Renewal({ ...needs, peers: () => peers.map(peerIdOf) })
  }
  return { ...made, clock, last, letIn, renewal }
}

test('a key that was given up is shut out when an administrator is asked for new dates, and nobody is an inviter’s guest by it', async (t) => {
  const { ann, ivy, bob, clock, last, letIn, renewal } = await longAfter(t, 1)
  await letIn()
  meet(ann, ivy)
  const before = provenInviter(ann.roster, last.publicKey, ann.now)
  assert.equal(ann.objectionTo(peerIdOf(bob.key)), undefined)
  await assert.rejects(ann.renewMember(bob.key, 'robert'), { code: 'ERR_LIMIT' })
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

test('a first key that is let in again makes no rival of the third, and is shut out as soon as that is heard', async (t) => {
  const { ann, bea, ivy, bob, last, letIn, renewal, follow } = await longAfter(t, 2)
  const watching = renewal([last.publicKey])
  watching.start()
  await letIn()
  meet(bea, ivy)
  // Whoever can shut nobody out sees no rivals either.
  assert.equal(bea.objectionTo(peerIdOf(bob.key)), undefined)
  assert.deepEqual([bea.rivals().size, ivy.rivals().size], [0, 0])
  ann.take(ivy.roster.bytesOf(ivy.roster.ids(ivy.now)))
  assert.equal(ann.objectionTo(peerIdOf(bob.key))?.code, 'ERR_REVOKED')
  watching.stop()
  await ann.saved()
  // Nor does it keep the third from being followed where nobody has shut it out.
  const fourth = await follow(bea, last)
  assert.equal(bea.objectionTo(peerIdOf(bob.key))?.code, 'ERR_REVOKED')
  assert.equal(bea.isDoubtful(peerIdOf(fourth.publicKey)), false)
})

test('who has a new key waiting for its next start does not ask for new dates of the old one, and says so', async (t) => {
  const clock = new ManualClock()
  const { ann, bob, follow } = await apart(t, clock)
  bob.take([ann.own().bytes])
  const asked: string[] = []
  const log = new LogBook()
  const needs = { clock, random: () => 0, log, members: bob, peers: () => [peerIdOf(ann.key)] }
  const renewal = new Renewal({ ...needs, send: (peerId) => asked.push(peerId) > 0 })
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
  assert.equal(log.entries.filter(({ fields }) => fields.code === 'ERR_LIMIT').length, 1)
})

test('a key that somebody has given up does not become another member’s: that would make one person of two', async (t) => {
  const { ann, ivy, bob, follow } = await longAfter(t, 2)
  const consent = handOver(meshKeyOf(ann.genesis), ivy.signer, bob.key)
  await assert.rejects(certifySuccessor(ann, bob.key, consent), { code: 'ERR_LIMIT' })
  assert.equal(ann.isDoubtful(peerIdOf((await follow(ann, ivy.signer)).publicKey)), false)
})

test('of more keys in a row than a member can have had, none is believed', async (t) => {
  const { ann } = await apart(t)
  const make = async () => signingKeyOf(await loadIdentity(await temporaryDirectory(t)))
  const first = await make()
  let last = await make()
  const consent = handOver(meshKeyOf(ann.genesis), first, last.publicKey)
  const say = async (subject: Uint8Array, follows: Follows): Promise<void> => {
    const init = { subject, name: 'cy', roles: plain, invitedBy: ann.key, follows, serial: serial() }
    await ann.say([issueCertificate(ann.issuer(), init, ann.now)])
  }
  await say(last.publicKey, consent)
  for (let count = 2; count <= 16; count++) {
    const next = await make()
    await say(next.publicKey, { key: first.publicKey, via: last.publicKey })
    last = next
  }
  assert.equal(ann.rivals().size, 0)
  await say((await make()).publicKey, { key: first.publicKey, via: last.publicKey })
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
