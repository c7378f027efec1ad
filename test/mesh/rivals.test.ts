import assert from 'node:assert/strict'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { kickMember } from '../../src/mesh/administer.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { loadIdentity, makeNextIdentity } from '../../src/mesh/identity.ts'
import { type Members, peerIdOf, signingKeyOf } from '../../src/mesh/members.ts'
import { peopleBehind } from '../../src/mesh/people.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor } from '../../src/mesh/successor.ts'
import { afterwards, connect, LogBook, makeMesh, type TestMesh, temporaryDirectory } from './fixture.ts'
import { createMembership, hire, membersOf } from './hiring.ts'

/** Settles once a node takes a key for one of a member. */
function certified({ mesh }: TestMesh, peerId: string): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (mesh.members.objectionTo(peerId) === undefined) resolve()
    }
    mesh.members.onChange(look)
    look()
  })
}

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
async function apart(t: TestContext) {
  const membership = createMembership({ name: 'office' })
  const dirs = [await temporaryDirectory(t), await temporaryDirectory(t), await temporaryDirectory(t)] as const
  await hire(dirs[2], membership, { roles: ['member', 'lender', 'inviter'], name: 'ivy' })
  const [ann, bea, ivy] = await Promise.all(dirs.map((dir) => membersOf(dir, membership)))
  assert.ok(ann && bea && ivy)
  for (const admin of [ann, bea]) admin.take([ann, bea, ivy].map((one) => one.own().bytes))
  afterwards(t, async () => {
    await Promise.all([ann.saved(), bea.saved(), ivy.saved()])
  })
  /** Has a key that nobody has seen follow one. */
  const follow = async (by: Members, old: Members['signer']) => {
    const next = signingKeyOf(await loadIdentity(await temporaryDirectory(t)))
    const consent = handOver(meshKeyOf(by.genesis), old, next.publicKey)
    await certifySuccessor(by, next.publicKey, consent)
    return next
  }
  return { ann, bea, ivy, follow }
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
