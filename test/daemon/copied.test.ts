import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { test } from 'node:test'
import { type ErrorCode, ShoalError } from '../../src/base/errors.ts'
import { become, isUsedTwice } from '../../src/daemon/adopt.ts'
import { membershipCommands } from '../../src/daemon/membership-commands.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { type Identity, loadIdentity } from '../../src/mesh/identity.ts'
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

test('of two that begin to change the key at once both get the same new one', async (t) => {
  const { ann, bob } = await apart(t)
  const asked = new Set<string>()
  const mesh: Pick<Mesh, 'members' | 'peerId' | 'askToSucceed'> = {
    members: bob,
    peerId: peerIdOf(bob.key),
    askToSucceed(next) {
      asked.add(peerIdOf(next.publicKey))
      const consent = handOver(meshKeyOf(bob.genesis), bob.signer, next.publicKey)
      void certifySuccessor(ann, next.publicKey, consent).then(() => meet(ann, bob))
      return true
    },
  }
  const { rekey } = membershipCommands({ mesh: mesh as Mesh, stateDir: await temporaryDirectory(t) })
  const [one, other] = await Promise.all([rekey(), rekey()])
  assert.deepEqual([...asked], [one.peerId])
  assert.equal(other.peerId, one.peerId)
  await Promise.all([ann, bob].map((each) => each.saved()))
})

test('a key that is known to be in use twice is one that another takes the place of, and no other is', async (t) => {
  const dir = await temporaryDirectory(t)
  const identity = await loadIdentity(dir)
  const isTwice = async (): Promise<boolean> => await isUsedTwice(dir, await loadIdentity(dir))
  assert.equal(await isTwice(), false)
  const members = await membersOf(dir, createMembership({ name: 'office' }))
  assert.equal(await isTwice(), false)
  await members.reportClone(identity.peerId)
  assert.equal(await isTwice(), true)
})

test('who becomes a member by a new key keeps the old one until that is done, and shows the same new one each time', async (t) => {
  const dir = await temporaryDirectory(t)
  const before = await loadIdentity(dir)
  const shown: string[] = []
  let made = 0
  const attempt = async (outcome: (as: string) => void, label?: string): Promise<void> => {
    const joinIn = async ({ peerId }: Identity): Promise<void> => {
      shown.push(peerId)
      outcome(peerId)
    }
    const keep = async (): Promise<void> => assert.equal((await loadIdentity(dir)).peerId, before.peerId)
    await become(dir, before, { join: joinIn, keep, onNewKey: () => (made += 1), label })
  }
  const fails = (code: ErrorCode) => () => {
    throw new ShoalError(code, 'no')
  }
  // A link that was revoked says nothing of the key.
  await assert.rejects(attempt(fails('ERR_REVOKED')), { code: 'ERR_REVOKED', message: /but the link/ })
  await assert.rejects(attempt(fails('ERR_INVITE_USED')), { code: 'ERR_INVITE_USED' })
  await assert.rejects(attempt(fails('ERR_PEER_LOST'), 'copied'), { code: 'ERR_PEER_LOST' })
  assert.equal((await loadIdentity(dir)).peerId, before.peerId)
  assert.equal(made, 0)
  await attempt((as) => as === before.peerId && fails('ERR_REVOKED')())
  const [own, useless, again, ...next] = shown
  assert.deepEqual([own, again, next[1]], Array(3).fill(before.peerId))
  assert.equal(next[0], next[2])
  assert.ok(useless !== before.peerId && useless !== next[0])
  assert.deepEqual([(await loadIdentity(dir)).peerId, made], [next[0], 1])
  const kept = (await readdir(dir)).toSorted()
  assert.equal(kept.length, 2)
  assert.match(kept[1] ?? '', /^identity\.key\.revoked-/)
})
