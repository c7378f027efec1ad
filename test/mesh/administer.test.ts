import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { keyCalled, kickMember, memberCalled } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { type Identity, loadIdentity } from '../../src/mesh/identity.ts'
import { Members, peerIdOf, serial, signingKeyOf } from '../../src/mesh/members.ts'
import type { Membership } from '../../src/mesh/membership.ts'
import { leave } from '../../src/mesh/revocation.ts'
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

async function newKey(t: TestContext): Promise<Uint8Array> {
  return signingKeyOf(await loadIdentity(await temporaryDirectory(t))).publicKey
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
