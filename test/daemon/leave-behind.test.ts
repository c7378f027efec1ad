import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Word } from '../../src/daemon/join-network.ts'
import { agreeToLeave } from '../../src/daemon/leave-behind.ts'
import { issueCertificate, type Role } from '../../src/mesh/certificate.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { serial } from '../../src/mesh/members.ts'
import { saveMembership } from '../../src/mesh/membership.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { newKey } from '../mesh/apart.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { createMembership, membersOf, rootOf } from '../mesh/hiring.ts'
import { plain, trusted } from '../mesh/office.ts'

test('the only administrator of others is asked before it goes into another mesh, and nobody else is', async (t) => {
  const asked: Word[] = []
  const person = { tell: () => undefined, agrees: async (word: Word) => asked.push(word) < 0 }
  const dir = await temporaryDirectory(t)
  await agreeToLeave(dir, undefined, person)
  const membership = createMembership({ name: 'office' })
  await saveMembership(dir, membership)
  const members = await membersOf(dir, membership)
  const { genesis } = members
  const letIn = async (roles: readonly Role[]): Promise<void> => {
    const init = { subject: (await newKey(t)).publicKey, name: 'x', roles, serial: serial() }
    await members.say([issueCertificate({ genesis, key: rootOf(membership) }, init, Date.now())])
  }
  await agreeToLeave(dir, undefined, person)
  assert.deepEqual(asked, [])
  await letIn(plain)
  await assert.rejects(agreeToLeave(dir, undefined, person), { code: 'ERR_USAGE' })
  await assert.rejects(agreeToLeave(dir, new Uint8Array(16), person), { code: 'ERR_USAGE' })
  // Its own next key is nobody else.
  const next = await newKey(t)
  const follows = handOver(meshKeyOf(genesis), members.signer, next.publicKey)
  const init = { subject: next.publicKey, name: 'x', roles: trusted, serial: serial(), follows }
  await members.say([issueCertificate(members.issuer(), init, Date.now())])
  await assert.rejects(agreeToLeave(dir, undefined, person), { code: 'ERR_USAGE' })
  assert.deepEqual(asked.pop(), { word: 'leaves', mesh: 'office', members: 1 })
  assert.deepEqual(asked[0], { word: 'leaves', mesh: 'office', members: 1 })
  // A new link of its own mesh.
  await agreeToLeave(dir, meshKeyOf(genesis), person)
  await letIn(trusted)
  await agreeToLeave(dir, undefined, person)
  assert.equal(asked.length, 2)
})
