import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { membershipCommands } from '../../src/daemon/membership-commands.ts'
import { nextKeyAlarm } from '../../src/daemon/next-key-alarm.ts'
import { kickMember } from '../../src/mesh/administer.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { loadNextIdentity, makeNextIdentity } from '../../src/mesh/identity.ts'
import type { Members } from '../../src/mesh/members.ts'
import { peerIdOf, signingKeyOf } from '../../src/mesh/members.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor, endBefore } from '../../src/mesh/successor.ts'
import { Health, type Problem } from '../../src/watch/health.ts'
import { meet } from '../mesh/apart.ts'
import { makeMesh, temporaryDirectory } from '../mesh/fixture.ts'
import { createMembership, hire, membersOf } from '../mesh/hiring.ts'

/** A member's node, what it complains of, and an administrator. */
async function machine(t: TestContext) {
  const membership = createMembership({ name: 'office' })
  const boss = await membersOf(await temporaryDirectory(t), membership)
  const stateDir = await temporaryDirectory(t)
  await hire(stateDir, membership, { roles: ['member', 'lender'], name: 'bob' })
  const { mesh } = await makeMesh(t, { ...membership }, { stateDir })
  meet(boss, mesh.members)
  const health = new Health(systemClock)
  const heard = Promise.withResolvers<void>()
  const spy = {
    raise: (...args: Parameters<Health['raise']>) => {
      health.raise(...args)
      heard.resolve()
    },
    clear: (code: Parameters<Health['clear']>[0]) => health.clear(code),
  }
  t.after(nextKeyAlarm({ members: mesh.members, health: spy, log: silentLogger, stateDir }))
  /** Has the boss certify a key, as when the answer came after the one who asked had gone. */
  const certify = async (key: Uint8Array): Promise<void> => {
    const consent = handOver(meshKeyOf(boss.genesis), mesh.members.signer, key)
    await certifySuccessor(boss, key, consent)
    meet(boss, mesh.members)
  }
  return { boss, mesh, stateDir, health, heard: heard.promise, certify, tell: () => meet(boss, mesh.members) }
}

const problems = (health: Health): Problem[] => health.problems()

test('a certificate that comes after rekey has given up shows in status with what to do, and rekey goes on with it', async (t) => {
  const { boss, mesh, stateDir, health, heard, certify, tell } = await machine(t)
  const commands = membershipCommands({ mesh, stateDir })
  // Nobody is connected who could certify it.
  await assert.rejects(commands.rekey(), { code: 'ERR_PEER_LOST' })
  const next = await loadNextIdentity(stateDir)
  assert.ok(next !== undefined)
  assert.deepEqual(problems(health), [])
  await certify(signingKeyOf(next).publicKey)
  await heard
  const [problem, ...more] = problems(health)
  assert.deepEqual(more, [])
  assert.equal(problem?.code, 'ERR_FOLLOWED')
  assert.match(problem?.text ?? '', /next key of this machine is certified/)
  assert.match(problem?.hint ?? '', /`shoal rekey`/)
  await assert.rejects(commands.rename('robert'), { code: 'ERR_FOLLOWED' })
  assert.deepEqual(await commands.rekey(), { peerId: next.peerId })
  // Also when the old key is over by then: an administrator has seen the next one in use elsewhere, or was asked.
  await endBefore(boss, signingKeyOf(next).publicKey)
  tell()
  assert.equal(mesh.members.objectionToSelf()?.code, 'ERR_REVOKED')
  assert.equal(problems(health)[0]?.code, 'ERR_FOLLOWED')
  assert.deepEqual(await commands.rekey(), { peerId: next.peerId })
  await saved(boss, mesh.members)
})

test('that another machine was certified in place of this one shows with who can end that, and is over with it', async (t) => {
  const { boss, mesh, health, heard, certify, tell } = await machine(t)
  const thief = await makeNextIdentity(await temporaryDirectory(t))
  const { publicKey } = signingKeyOf(thief)
  await certify(publicKey)
  await heard
  const [problem] = problems(health)
  assert.equal(problem?.code, 'ERR_FOLLOWED')
  assert.match(problem?.text ?? '', new RegExp(`another machine .* ${peerIdOf(publicKey)}`))
  assert.match(problem?.hint ?? '', /`shoal kick ID`/)
  await kickMember(boss, { key: publicKey }, false)
  tell()
  assert.deepEqual(problems(health), [])
  await saved(boss, mesh.members)
})

async function saved(...all: Members[]): Promise<void> {
  for (const members of all) await members.saved()
}
