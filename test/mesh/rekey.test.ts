import assert from 'node:assert/strict'
import { copyFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { type Issuer, issueCertificate, type Role } from '../../src/mesh/certificate.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { loadIdentity, loadNextIdentity, makeNextIdentity } from '../../src/mesh/identity.ts'
import { Members, peerIdOf, serial, signingKeyOf } from '../../src/mesh/members.ts'
import { checkSuccessor, finishRekey, proveSuccessor } from '../../src/mesh/rekey.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { loadRoster, saveRoster } from '../../src/mesh/roster-file.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { bothUp, certified, connect, makeMesh, temporaryDirectory } from './fixture.ts'
import { createMembership, hire, membersOf, rootOf } from './hiring.ts'

const finish = (stateDir: string): Promise<void> => finishRekey(stateDir, Date.now(), silentLogger)

async function office(t: TestContext) {
  const membership = createMembership({ name: 'office' })
  const boss = await makeMesh(t, { ...membership })
  const stateDir = await temporaryDirectory(t)
  await hire(stateDir, membership, { roles: ['member', 'lender', 'inviter'], name: 'ivy' })
  const ivy = await makeMesh(t, { ...membership }, { stateDir })
  return { membership, boss, ivy, stateDir }
}

test('a new key follows the old one, with its name and roles; the old one is out, whom it let in stays', {
  timeout: 60_000,
}, async (t) => {
  const { membership, boss, ivy, stateDir } = await office(t)
  const guest = rootOf({ secret: new Uint8Array(32).fill(9) }).publicKey
  const init = { subject: guest, name: 'guest', roles: ['member'] as const, serial: serial() }
  await ivy.mesh.members.say([issueCertificate(ivy.mesh.members.issuer(), init, Date.now())])
  await connect(boss, ivy)
  const before = ivy.mesh.peerId
  const thief = ivy.mesh.members.issuer()

  const next = await makeNextIdentity(stateDir)
  assert.equal((await makeNextIdentity(stateDir)).peerId, next.peerId)
  const known = certified(ivy, next.peerId)
  assert.equal(ivy.mesh.askToSucceed(signingKeyOf(next)), true)
  await known
  await ivy.mesh.members.saved()
  await ivy.mesh.stop()
  await finish(stateDir)
  assert.equal((await loadIdentity(stateDir)).peerId, next.peerId)
  assert.equal(await loadNextIdentity(stateDir), undefined)

  const again = await makeMesh(t, { ...membership, seeds: boss.mesh.addresses() }, { stateDir })
  const up = bothUp(boss.mesh, again.mesh)
  await again.mesh.start()
  await up
  const { members } = boss.mesh
  const view = members.member(next.peerId)
  assert.deepEqual([view.name, view.roles], ['ivy', ['member', 'lender', 'inviter']])
  assert.equal(members.objectionTo(before)?.code, 'ERR_REVOKED')
  assert.equal(members.objectionTo(peerIdOf(guest)), undefined)
  const stolen = issueCertificate(
    thief,
    { ...init, subject: rootOf({ secret: new Uint8Array(32).fill(8) }).publicKey },
    Date.now() - 1000,
  )
  assert.throws(() => members.admit(stolen.bytes, stolen.body.subject), { code: 'ERR_REVOKED' })
})

test('who goes on with the old key is shut out as soon as the new one is in use', { timeout: 60_000 }, async (t) => {
  const { membership, boss, ivy, stateDir } = await office(t)
  await connect(boss, ivy)
  const next = await makeNextIdentity(stateDir)
  const known = certified(ivy, next.peerId)
  ivy.mesh.askToSucceed(signingKeyOf(next))
  await known
  await ivy.mesh.members.saved()
  // Both keys are a member's until then: the node has to be started with the new one.
  assert.equal(boss.mesh.members.objectionTo(ivy.mesh.peerId), undefined)
  const elsewhere = await temporaryDirectory(t)
  await copyFile(join(stateDir, 'roster'), join(elsewhere, 'roster'))
  await copyFile(join(stateDir, 'identity.key.next'), join(elsewhere, 'identity.key'))
  const second = await makeMesh(t, { ...membership }, { stateDir: elsewhere })
  assert.equal(second.mesh.peerId, next.peerId)
  const out = new Promise<void>((resolve) => {
    const { members } = second.mesh
    members.onChange(() => {
      if (members.objectionTo(ivy.mesh.peerId)?.code === 'ERR_REVOKED') resolve()
    })
  })
  await connect(boss, second)
  await out
  assert.equal(boss.mesh.members.objectionTo(ivy.mesh.peerId)?.code, 'ERR_REVOKED')
  assert.equal(boss.mesh.members.objectionTo(next.peerId), undefined)
})

test('of two machines with one key the first gets another, and the second is told nothing', {
  timeout: 60_000,
}, async (t) => {
  const { boss, ivy, stateDir } = await office(t)
  await connect(boss, ivy)
  const first = await makeNextIdentity(stateDir)
  const second = await makeNextIdentity(await temporaryDirectory(t))
  const known = certified(boss, first.peerId)
  ivy.mesh.askToSucceed(signingKeyOf(first))
  ivy.mesh.askToSucceed(signingKeyOf(second))
  await known
  // What ivy sends is read in order: this comes after both.
  const guest = rootOf({ secret: new Uint8Array(32).fill(9) }).publicKey
  const heard = certified(boss, peerIdOf(guest))
  const init = { subject: guest, name: 'guest', roles: ['member'] as const, serial: serial() }
  await ivy.mesh.members.say([issueCertificate(ivy.mesh.members.issuer(), init, Date.now())])
  await heard
  assert.equal(boss.mesh.members.objectionTo(second.peerId)?.code, 'ERR_NOT_MEMBER')
})

test('whatever is interrupted, one of the two keys is always that of a member, and it ends with the new one', async (t) => {
  const membership = createMembership({ name: 'office' })
  const stateDir = await temporaryDirectory(t)
  const members = await membersOf(stateDir, membership)
  const old = await loadIdentity(stateDir)
  const isMember = async (): Promise<boolean> => {
    const roster = await loadRoster(stateDir, Date.now())
    const { peerId } = await loadIdentity(stateDir)
    return roster.members(Date.now()).some((member) => member.peerId === peerId)
  }
  // Asked, and never answered.
  const next = await makeNextIdentity(stateDir)
  await finish(stateDir)
  assert.equal((await loadIdentity(stateDir)).peerId, old.peerId)
  assert.ok(await isMember())
  // Certified, and stopped before anything else.
  const root = { genesis: members.genesis, key: rootOf(membership) }
  const init = { subject: signingKeyOf(next).publicKey, name: 'node', roles: ['member'] as const, serial: serial() }
  await members.say([issueCertificate(root, init, Date.now())])
  await finish(stateDir)
  assert.equal((await loadIdentity(stateDir)).peerId, next.peerId)
  assert.ok(await isMember())
  // Taken, and stopped before the draft was removed.
  await copyFile(join(stateDir, 'identity.key'), join(stateDir, 'identity.key.next'))
  await finish(stateDir)
  assert.equal((await loadIdentity(stateDir)).peerId, next.peerId)
  assert.ok(await isMember())
  assert.ok(!(await readdir(stateDir)).includes('identity.key.next'))
})

test('the old key is shut out although the node was stopped before it could say so itself', async (t) => {
  const membership = createMembership({ name: 'office' })
  const stateDir = await temporaryDirectory(t)
  const members = await membersOf(stateDir, membership)
  const old = await loadIdentity(stateDir)
  const next = await makeNextIdentity(stateDir)
  const root = { genesis: members.genesis, key: rootOf(membership) }
  const init = { subject: signingKeyOf(next).publicKey, name: 'node', roles: ['member'] as const, serial: serial() }
  await members.say([issueCertificate(root, init, Date.now())])
  for (let time = 0; time < 2; time++) await finish(stateDir)
  const needs = { clock: { now: () => 0, wall: Date.now, after: () => () => undefined }, log: silentLogger }
  const after = await Members.load(needs, stateDir, await loadIdentity(stateDir), membership.id)
  assert.equal(after.objectionTo(old.peerId)?.code, 'ERR_REVOKED')
  assert.equal(after.objectionToSelf(), undefined)
})

test('where there is no place for all that the old key says last, that is told; it is over, and the new key is taken', async (t) => {
  const membership = createMembership({ name: 'office' })
  const stateDir = await temporaryDirectory(t)
  await hire(stateDir, membership, { roles: ['member', 'lender', 'inviter'], name: 'ivy' })
  const now = Date.now()
  const roster = await loadRoster(stateDir, now)
  const key = signingKeyOf(await loadIdentity(stateDir))
  const issuer = { genesis: roster.genesis, key, certificate: roster.certificateOf(key.publicKey, now) }
  // Whoever has stolen the key fills all that it may say.
  for (let at = 0; at < 64; at += 1) {
    const invite = new Uint8Array(8).fill(at)
    roster.add(revoke(issuer, { kind: 'invite', invite }, 'kicked', now).bytes, now)
  }
  const next = await makeNextIdentity(stateDir)
  const subject = signingKeyOf(next).publicKey
  const root = { genesis: roster.genesis, key: rootOf(membership) }
  const init = { subject, name: 'ivy', roles: ['member', 'inviter'] as const, serial: serial() }
  const follows = handOver(meshKeyOf(roster.genesis), key, subject)
  roster.add(issueCertificate(root, { ...init, follows }, now).bytes, now)
  await saveRoster(stateDir, roster, now)
  const warned: unknown[] = []
  await finishRekey(stateDir, now, { ...silentLogger, warn: (_: string, fields) => void warned.push(fields?.code) })
  assert.deepEqual(warned, ['ERR_ROSTER_FULL'])
  const after = await loadRoster(stateDir, now)
  assert.throws(() => after.verify(key.publicKey, now), { code: 'ERR_REVOKED' })
  assert.equal((await loadIdentity(stateDir)).peerId, next.peerId)
})

test('whom an inviter has let in stays when it has a new key, also when another certificate of that one is void later', async (t) => {
  const membership = createMembership({ name: 'office' })
  const stateDir = await temporaryDirectory(t)
  await hire(stateDir, membership, { roles: ['member', 'lender', 'inviter'], name: 'ivy' })
  const now = Date.now()
  const roster = await loadRoster(stateDir, now)
  const root = { genesis: roster.genesis, key: rootOf(membership) }
  const sign = (by: Issuer, subject: Uint8Array, roles: readonly Role[], at = now) => {
    const certificate = issueCertificate(by, { subject, name: 'x', roles, serial: serial() }, at)
    roster.add(certificate.bytes, now)
    return certificate
  }
  const key = signingKeyOf(await loadIdentity(stateDir))
  const ivy = { genesis: roster.genesis, key, certificate: roster.certificateOf(key.publicKey, now) }
  const thief = rootOf({ secret: new Uint8Array(32).fill(9) })
  const certificate = sign(root, thief.publicKey, ['member', 'inviter', 'admin'])
  const guests = Array.from({ length: 14 }, (_, at) => rootOf({ secret: new Uint8Array(32).fill(10 + at) }).publicKey)
  for (const guest of guests) sign(ivy, guest, ['member'])
  // Newer: it speaks for them.
  for (const guest of guests) sign({ genesis: roster.genesis, key: thief, certificate }, guest, ['member'], now + 1)
  sign(root, signingKeyOf(await makeNextIdentity(stateDir)).publicKey, ['member', 'inviter'])
  await saveRoster(stateDir, roster, now)
  await finish(stateDir)

  const after = await loadRoster(stateDir, now)
  assert.throws(() => after.verify(key.publicKey, now), { code: 'ERR_REVOKED' })
  after.add(revoke(root, { kind: 'issuer', key: thief.publicKey, keep: [] }, 'kicked', now).bytes, now)
  const names = new Set(after.members(now).map((member) => member.peerId))
  assert.equal(guests.filter((guest) => names.has(peerIdOf(guest))).length, 12)
})

test('nobody has a key certified that is not his', () => {
  const [mesh, old] = [new Uint8Array(16).fill(1), new Uint8Array(32).fill(2)]
  const next = rootOf({ secret: new Uint8Array(32).fill(3) })
  const other = rootOf({ secret: new Uint8Array(32).fill(4) })
  checkSuccessor(mesh, old, next.publicKey, proveSuccessor(mesh, old, next))
  for (const proof of [
    new Uint8Array(64),
    proveSuccessor(mesh, other.publicKey, next),
    proveSuccessor(new Uint8Array(16), old, next),
    proveSuccessor(mesh, old, other),
  ]) {
    assert.throws(() => checkSuccessor(mesh, old, next.publicKey, proof), { code: 'ERR_SIGNATURE' })
  }
})
