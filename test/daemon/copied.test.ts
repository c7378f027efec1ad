import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ownKey } from '../../src/daemon/adopt.ts'
import { membershipCommands } from '../../src/daemon/membership-commands.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { peerIdOf } from '../../src/mesh/members.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor } from '../../src/mesh/successor.ts'
import { apart, meet } from '../mesh/apart.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { createMembership, membersOf } from '../mesh/hiring.ts'

test('who has a key that another machine has too waits until an administrator talks to it, and is re-keyed', async (t) => {
  const { ann, bob } = await apart(t)
  const peerId = peerIdOf(bob.key)
  let tries = 0
  const mesh: Pick<Mesh, 'members' | 'peerId' | 'askToSucceed'> = {
    members: bob,
    peerId,
    askToSucceed(next) {
      tries += 1
      if (tries < 4) return false
      const consent = handOver(meshKeyOf(bob.genesis), bob.signer, next.publicKey)
      void certifySuccessor(ann, next.publicKey, consent).then(() => meet(ann, bob))
      return true
    },
  }
  const { rekey } = membershipCommands({ mesh: mesh as Mesh, stateDir: await temporaryDirectory(t) })
  await assert.rejects(rekey(), { code: 'ERR_PEER_LOST' })
  assert.equal(tries, 1)
  await ann.reportClone(peerId)
  meet(ann, bob)
  const next = await rekey()
  assert.equal(tries, 4)
  assert.notEqual(next.peerId, peerId)
  await Promise.all([ann, bob].map((one) => one.saved()))
})

test('who joins anew with a key that is in use twice gets one of its own, and nobody else does', async (t) => {
  const dir = await temporaryDirectory(t)
  const alone = await loadIdentity(dir)
  let made = 0
  const own = async (): Promise<string> => (await ownKey(dir, await loadIdentity(dir), () => (made += 1))).peerId
  assert.equal(await own(), alone.peerId)
  const members = await membersOf(dir, createMembership({ name: 'office' }))
  assert.equal(await own(), alone.peerId)
  await members.reportClone(alone.peerId)
  assert.notEqual(await own(), alone.peerId)
  await own()
  assert.equal(made, 1)
})
