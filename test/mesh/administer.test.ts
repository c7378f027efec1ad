import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { keyCalled, kickMember, memberCalled, promote } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { type Identity, loadIdentity } from '../../src/mesh/identity.ts'
import { Members, peerIdOf, serial, signingKeyOf } from '../../src/mesh/members.ts'
import type { Membership } from '../../src/mesh/membership.ts'
import { leave } from '../../src/mesh/revocation.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor, endBefore } from '../../src/mesh/successor.ts'
import { afterwards, ManualClock, temporaryDirectory } from './fixture.ts'
import { createMembership, type Hire, hire } from './hiring.ts'

const days = 24 * 3_600_000
const inviting = ['member', 'lender', 'inviter'] as const

interface Node {
  members: Members
  identity: Identity
}

async function node(t: TestContext, clock: ManualClock, membership: Membership, how: Hire = {}): Promise<Node> {
  const dir = await temporaryDirectory(t)
  const identity = await hire(dir, membership, { now: clock.wall(), ...how })
  const members = await Members.load({ clock, log: silentLogger }, dir, identity, membership.id)
  afterwards(t, () => members.saved())
  return { members, identity }
}

/** An administrator, and an inviter that it knows. */
async function office(t: TestContext) {
  const clock = new ManualClock()
  const membership = createMembership({ name: 'office' })
  const { members: boss } = await node(t, clock, membership)
  const ivy = await node(t, clock, membership, { roles: inviting, name: 'ivy', lifetimeMs: 30 * days })
  boss.take(ivy.members.roster.bytesOf(ivy.members.roster.ids(clock.wall())))
  return { clock, boss, ivy }
}

const newSigner = async (t: TestContext) => signingKeyOf(await loadIdentity(await temporaryDirectory(t)))

async function newKey(t: TestContext): Promise<Uint8Array> {
  return (await newSigner(t)).publicKey
}

test('an inviter whose certificate has run out can be kicked, because its key still lets others in', async (t) => {
  const { clock, boss, ivy } = await office(t)
  const thief = ivy.members.issuer()
  clock.sleep(40 * days)
  const subject = await newKey(t)
  const init = { subject, name: 'x', roles: ['member'] as const, serial: serial() }
  const { bytes } = issueCertificate(thief, init, thief.certificate.body.notAfter)
  assert.equal(boss.admit(bytes, subject).name, 'x')
  assert.throws(() => memberCalled(boss, ivy.identity.peerId), { code: 'ERR_USAGE' })
  await kickMember(boss, keyCalled(boss, ivy.identity.peerId), true)
  assert.equal(boss.objectionTo(peerIdOf(subject))?.code, 'ERR_REVOKED')
})

test('who has left or was kicked before can be kicked by its name, with what it has issued', async (t) => {
  const { clock, boss, ivy } = await office(t)
  const subject = await newKey(t)
  const init = { subject, name: 'guest', roles: ['member'] as const, serial: serial() }
  boss.take([issueCertificate(ivy.members.issuer(), init, clock.wall()).bytes])
  boss.take([leave(ivy.members.issuer(), clock.wall()).bytes])
  await kickMember(boss, keyCalled(boss, 'ivy'), false)
  assert.equal(boss.objectionTo(peerIdOf(subject)), undefined)
  await kickMember(boss, keyCalled(boss, 'ivy'), true)
  assert.equal(boss.objectionTo(peerIdOf(subject))?.code, 'ERR_REVOKED')
  const { size } = boss.roster
  await kickMember(boss, keyCalled(boss, 'ivy'), true)
  assert.equal(boss.roster.size, size)
})

test('a key of which nothing is known can be kicked by its peerId, and what is no peerId cannot', async (t) => {
  const { clock, boss, ivy } = await office(t)
  const subject = await newKey(t)
  await kickMember(boss, keyCalled(boss, peerIdOf(subject)), false)
  const init = { subject, name: 'guest', roles: ['member'] as const, serial: serial() }
  const { bytes } = issueCertificate(ivy.members.issuer(), init, clock.wall())
  assert.throws(() => boss.admit(bytes, subject), { code: 'ERR_REVOKED' })
  for (const text of ['nobody', '12D3KooW', '']) assert.throws(() => keyCalled(boss, text), { code: 'ERR_USAGE' })
})

test('a peerId means its member, whatever others call themselves', async (t) => {
  const { clock, boss } = await office(t)
  const keys = [await newKey(t), await newKey(t)] as const
  const ids = [peerIdOf(keys[0]), peerIdOf(keys[1])] as const
  for (const [at, subject] of keys.entries()) {
    const init = { subject, name: ids[1 - at] ?? '', roles: ['member'] as const, serial: serial() }
    boss.take([issueCertificate(boss.issuer(), init, clock.wall()).bytes])
  }
  for (const id of ids) {
    assert.equal(memberCalled(boss, id).peerId, id)
    assert.equal(keyCalled(boss, id).peerId, id)
    assert.throws(() => memberCalled(boss, 'node2'), { code: 'ERR_USAGE' })
  }
})

test('who is kicked is out before anybody gets a new certificate for it', async (t) => {
  const { clock, boss, ivy } = await office(t)
  for (let number = 0; number < 50; number++) {
    const init = { subject: await newKey(t), name: `n${number}`, roles: ['member'] as const, serial: serial() }
    boss.take([issueCertificate(ivy.members.issuer(), init, clock.wall()).bytes])
  }
  const told: string[][] = []
  boss.onChange((added) => {
    told.push(added.map(() => boss.objectionTo(ivy.identity.peerId)?.code ?? 'none'))
  })
  assert.deepEqual(await kickMember(boss, ivy.members, false), [])
  assert.deepEqual(told[0], ['ERR_REVOKED'])
  // 38 in two parts, then that it may let in nobody any more.
  assert.deepEqual(
    told.map(({ length }) => length),
    [1, 32, 6, 1],
  )
  assert.equal(boss.roster.members(clock.wall()).length, 51)
})

/** Ivy, with a next key that waits for the next start of its machine. */
async function waiting(t: TestContext) {
  const made = await office(t)
  const { boss, ivy } = made
  const next = await newSigner(t)
  await certifySuccessor(boss, next.publicKey, handOver(meshKeyOf(boss.genesis), ivy.members.signer, next.publicKey))
  const out = (key: Uint8Array): boolean => boss.objectionTo(peerIdOf(key))?.code === 'ERR_REVOKED'
  return { ...made, next, out }
}

test('who is kicked by name is out with all keys, also one that waits for its machine’s next start', async (t) => {
  for (const how of ['ivy', 'id', 'end of the id']) {
    const { boss, ivy, next, out } = await waiting(t)
    const id = ivy.identity.peerId
    const text = { ivy: 'ivy', id, 'end of the id': id.slice(-8) }[how] ?? ''
    const meant = keyCalled(boss, text)
    assert.equal(meant.peerId, id)
    assert.deepEqual(
      meant.others.map(({ peerId }) => peerId),
      [peerIdOf(next.publicKey)],
    )
    await kickMember(boss, meant, false)
    assert.deepEqual([out(ivy.members.key), out(next.publicKey)], [true, true])
  }
})

test('a next key is kicked alone by its id: the one that it was stolen from goes on', async (t) => {
  const { boss, ivy, next, out } = await waiting(t)
  await kickMember(boss, keyCalled(boss, peerIdOf(next.publicKey)), false)
  assert.deepEqual([out(ivy.members.key), out(next.publicKey)], [false, true])
})

test('a name means the key that is in use, once the one before is over', async (t) => {
  const { boss, ivy, next, out } = await waiting(t)
  // Promoted it would be nothing that lasts: its machine has to be started with the next key.
  await assert.rejects(promote(boss, memberCalled(boss, 'ivy'), 'admin'), { code: 'ERR_FOLLOWED' })
  await endBefore(boss, next.publicKey)
  assert.equal(memberCalled(boss, 'ivy').peerId, peerIdOf(next.publicKey))
  await promote(boss, memberCalled(boss, 'ivy'), 'admin')
  // What is over is not what somebody means who says the name.
  const meant = keyCalled(boss, 'ivy')
  assert.deepEqual([meant.peerId, meant.others], [peerIdOf(next.publicKey), []])
  // Kicked once more, the key that was given up takes nobody with it.
  await kickMember(boss, keyCalled(boss, ivy.identity.peerId), false)
  assert.equal(out(next.publicKey), false)
})

test('who is a member without following anybody is not kicked with a thief that says so', async (t) => {
  const { clock, boss, ivy } = await office(t)
  const [mal, max] = [await newMember(t, boss), await newMember(t, boss)]
  const follows = handOver(meshKeyOf(boss.genesis), mal, max.publicKey)
  const init = { subject: max.publicKey, name: 'mal', roles: inviting, follows, serial: serial() }
  await boss.say([issueCertificate(boss.issuer(), init, clock.wall() + 1)])
  await kickMember(boss, keyCalled(boss, peerIdOf(mal.publicKey)), false)
  assert.equal(boss.objectionTo(peerIdOf(max.publicKey)), undefined)
  assert.equal(boss.objectionTo(ivy.identity.peerId), undefined)
})

async function newMember(t: TestContext, by: Members) {
  const signer = await newSigner(t)
  const init = { subject: signer.publicKey, name: 'max', roles: ['member'] as const, serial: serial() }
  await by.say([issueCertificate(by.issuer(), init, by.now)])
  return signer
}

test('to kick who has let somebody in leaves that one a member until its next key is in use, for as long as it would have been', async (t) => {
  const { clock, boss, ivy } = await office(t)
  // More than fit on the list of what is kept, which is filled in the order of keys.
  const made = await Promise.all(Array.from({ length: 20 }, () => newSigner(t)))
  const guests = made.toSorted((a, b) => Buffer.compare(a.publicKey, b.publicKey))
  const changing = guests.slice(12)
  for (const guest of guests) {
    const init = { subject: guest.publicKey, name: 'guest', roles: ['member'] as const, serial: serial() }
    boss.take([issueCertificate(ivy.members.issuer(), init, clock.wall()).bytes])
  }
  clock.sleep(days)
  for (const guest of changing) {
    const { publicKey } = await newSigner(t)
    await certifySuccessor(boss, publicKey, handOver(meshKeyOf(boss.genesis), guest, publicKey))
  }
  assert.deepEqual(await kickMember(boss, ivy.members, false), [])
  const ends = changing.map(({ publicKey }) => boss.roster.certificateOf(publicKey, clock.wall()).body.notAfter)
  assert.ok(ends.every((end) => end <= clock.wall() + 29 * days))
})
