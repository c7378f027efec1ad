import assert from 'node:assert/strict'
import { rename, rm, writeFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import type { Clock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { kickMember } from '../../src/mesh/administer.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { Members, signingKeyOf } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { saveRootKey } from '../../src/mesh/root-key.ts'
import { connect, ManualClock, makeMesh, peerEvent, temporaryDirectory } from './fixture.ts'
import { createMembership, hire, rootOf } from './hiring.ts'
import { day } from './office.ts'

/** A member whose clock can be wrong by some days. */
async function member(t: TestContext) {
  const membership = createMembership({ name: 'office' })
  const right = new ManualClock()
  const wrong = { days: 0 }
  const clock: Clock = {
    now: () => right.now(),
    wall: () => right.wall() + wrong.days * day,
    after: (ms, run) => right.after(ms, run),
  }
  const dir = await temporaryDirectory(t)
  const identity = await hire(dir, membership, { now: right.wall() })
  const load = (): Promise<Members> => Members.load({ clock, log: silentLogger }, dir, identity, membership.id)
  /** Something to be written about. */
  const news = async () => {
    const { publicKey: key } = signingKeyOf(await loadIdentity(await temporaryDirectory(t)))
    const root = { genesis: (await load()).genesis, key: rootOf(membership) }
    return revoke(root, { kind: 'key', key }, 'kicked', right.wall())
  }
  return { membership, dir, wrong, load, news }
}

test('a revocation is heard by everybody and acted on at once, also when it cannot be written', async (t) => {
  const membership = createMembership({ name: 'office' })
  const [boss, other, bad] = [
    await makeMesh(t, { ...membership }),
    await makeMesh(t, { ...membership }),
    await makeMesh(t, { ...membership }),
  ]
  await connect(boss, other, bad)
  const gone = Promise.all([boss, other].map(({ mesh }) => peerEvent(mesh, bad.mesh.peerId, false)))
  // The directory takes no more files.
  await rename(boss.stateDir, `${boss.stateDir}-away`)
  await writeFile(boss.stateDir, '')
  try {
    await assert.rejects(kickMember(boss.mesh.members, bad.mesh.members, false))
    await gone
    assert.equal(other.mesh.members.objectionTo(bad.mesh.peerId)?.code, 'ERR_REVOKED')
  } finally {
    await rm(boss.stateDir)
    await rename(`${boss.stateDir}-away`, boss.stateDir)
  }
})

test('a node that was started with a clock far behind is a member as soon as that is put right', async (t) => {
  const { wrong, load } = await member(t)
  wrong.days = -400
  const members = await load()
  assert.equal(members.objectionToSelf()?.code, 'ERR_NOT_YET_VALID')
  wrong.days = 0
  assert.equal(members.objectionToSelf(), undefined)
})

test('a clock that was far ahead for a moment costs nobody its membership, in memory or on disk', async (t) => {
  const { wrong, load, news } = await member(t)
  const members = await load()
  wrong.days = 500
  members.take([(await news()).bytes])
  await members.saved()
  assert.notEqual(members.objectionToSelf(), undefined)
  wrong.days = 0
  assert.equal(members.objectionToSelf(), undefined)
  assert.equal((await load()).objectionToSelf(), undefined)
})

test('where the root key is, a certificate that has run out is made anew', async (t) => {
  const { membership, dir, wrong, load } = await member(t)
  wrong.days = 450
  const alone = await load()
  await alone.renewSelf()
  assert.equal(alone.objectionToSelf()?.code, 'ERR_NOT_MEMBER')
  await saveRootKey(dir, membership.secret)
  const members = await load()
  await members.renewSelf()
  assert.equal(members.objectionToSelf(), undefined)
  assert.deepEqual(members.own().body.roles, ['member', 'lender', 'inviter', 'admin'])
})
