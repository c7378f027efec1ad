import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { maxAnswerBytes } from '../../src/mesh/join-messages.ts'
import { restorePrologue, restoreProtocol } from '../../src/mesh/join-protocol.ts'
import { serial, signingKeyOf } from '../../src/mesh/members.ts'
import { converse } from '../../src/mesh/newcomer.ts'
import { restoreMesh } from '../../src/mesh/restore.ts'
import { decodeRestored, encodeClaim, proveRoot } from '../../src/mesh/restore-messages.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { saveRoster } from '../../src/mesh/roster-file.ts'
import { bothUp, makeMesh, someBytes, type TestMesh, temporaryDirectory } from './fixture.ts'
import { createMembership, type Hire, hire, rootOf } from './hiring.ts'

const door = { protocol: restoreProtocol, prologue: restorePrologue }
const plainRoles = { roles: ['member', 'lender'] } as const satisfies Hire
const addressesOf = (...nodes: TestMesh[]): Multiaddr[] => nodes.map(({ mesh }) => multiaddr(mesh.addresses()[0]))

async function needs(t: TestContext) {
  return { clock: systemClock, log: silentLogger, identity: await loadIdentity(await temporaryDirectory(t)) }
}

/** A member that may let in nobody. */
async function member(t: TestContext, membership: ReturnType<typeof createMembership>, how: Hire = plainRoles) {
  const stateDir = await temporaryDirectory(t)
  await hire(stateDir, membership, how)
  const node = await makeMesh(t, membership, { stateDir })
  await node.mesh.start()
  return node
}

test('with the root key and a member that may let in nobody, a new machine administers the mesh; the others take its word', async (t) => {
  const membership = createMembership({ name: 'office' })
  const left = await member(t, membership)
  const stateDir = await temporaryDirectory(t)
  const identity = await loadIdentity(stateDir)
  const before = { clock: systemClock, log: silentLogger, identity }
  const found = await restoreMesh(before, rootOf(membership), addressesOf(left), 'eva')
  assert.deepEqual([found.secret, found.heard], [membership.secret, 1])
  assert.deepEqual(found.genesis.bytes, left.mesh.members.genesis.bytes)
  await saveRoster(stateDir, found.roster, Date.now())
  const back = await makeMesh(t, { ...membership, seeds: found.seeds }, { stateDir })
  const up = bothUp(back.mesh, left.mesh)
  await back.mesh.start()
  await up
  const { name, roles } = left.mesh.members.member(identity.peerId)
  assert.deepEqual([name, roles], ['eva', ['member', 'lender', 'inviter', 'admin']])
})

test('a member whose certificate has run out still says what the mesh is', async (t) => {
  const membership = createMembership({ name: 'office' })
  const now = Date.now() - 40 * 86_400_000
  const left = await member(t, membership, { ...plainRoles, now })
  const { genesis } = await restoreMesh(await needs(t), rootOf(membership), addressesOf(left), 'eva')
  assert.equal(genesis.body.name, 'office')
})

test('who has another key, or shows what was made for another connection, is told nothing', async (t) => {
  const membership = createMembership({ name: 'office' })
  const node = await member(t, membership)
  const [address] = addressesOf(node)
  assert.ok(address)
  await assert.rejects(restoreMesh(await needs(t), signingKey(someBytes(32)), [address], 'x'), {
    code: 'ERR_OTHER_MESH',
  })
  const root = rootOf(membership)
  const who = await needs(t)
  const claimant = signingKeyOf(who.identity).publicKey
  const say = (claim: (to: Uint8Array, channel: Uint8Array) => Uint8Array) =>
    converse(who, address, door, async (talk, { key, channel }) => {
      talk.send(claim(key, channel))
      return decodeRestored(await talk.receive(maxAnswerBytes))
    })
  const wrong = { code: 'ERR_SIGNATURE' }
  const other = someBytes(32)
  await assert.rejects(
    say((to) => encodeClaim(proveRoot(root, { claimant, member: to, channel: other }))),
    wrong,
  )
  await assert.rejects(
    say((_, channel) => encodeClaim(proveRoot(root, { claimant, member: other, channel }))),
    wrong,
  )
  await assert.rejects(
    say((to, channel) => encodeClaim(proveRoot(root, { claimant: other, member: to, channel }))),
    wrong,
  )
  const thief = signingKey(someBytes(32))
  const forged = (to: Uint8Array, channel: Uint8Array) => ({
    ...proveRoot(thief, { claimant, member: to, channel }),
    root: root.publicKey,
  })
  await assert.rejects(
    say((to, channel) => encodeClaim(forged(to, channel))),
    wrong,
  )
  const told = await say((to, channel) => encodeClaim(proveRoot(root, { claimant, member: to, channel })))
  assert.deepEqual(told.secret, membership.secret)
})

test('what one who was shut out says of the secret does not count, and what others know of the shut out does', async (t) => {
  const membership = createMembership({ name: 'office' })
  const [honest, liarDir] = [await member(t, membership), await temporaryDirectory(t)]
  const liarKey = signingKeyOf(await hire(liarDir, membership, plainRoles)).publicKey
  const { members } = honest.mesh
  const root = { genesis: members.genesis, key: rootOf(membership) }
  const init = { subject: liarKey, name: 'liar', roles: plainRoles.roles, serial: serial() }
  const kicked = revoke(root, { kind: 'key', key: liarKey }, 'kicked', Date.now())
  members.take([issueCertificate(root, init, Date.now()).bytes, kicked.bytes])
  const liar = await makeMesh(t, { ...membership, secret: someBytes(32) }, { stateDir: liarDir })
  await liar.mesh.start()
  const found = await restoreMesh(await needs(t), root.key, addressesOf(liar, honest), 'eva')
  assert.deepEqual([found.secret, found.heard], [membership.secret, 2])
  assert.throws(() => found.roster.verify(liarKey, Date.now()), { code: 'ERR_REVOKED' })
})

test('a key that was shut out is not made an administrator; where nobody answers nothing is made up', async (t) => {
  const membership = createMembership({ name: 'office' })
  const node = await member(t, membership)
  const who = await needs(t)
  const root = rootOf(membership)
  const { publicKey: key } = signingKeyOf(who.identity)
  const kicked = revoke({ genesis: node.mesh.members.genesis, key: root }, { kind: 'key', key }, 'kicked', Date.now())
  node.mesh.members.take([kicked.bytes])
  await assert.rejects(restoreMesh(who, root, addressesOf(node), 'eva'), { code: 'ERR_REVOKED' })
  const nowhere = [multiaddr('/ip4/127.0.0.1/tcp/1')]
  await assert.rejects(restoreMesh(await needs(t), root, nowhere, 'eva'), { code: 'ERR_PEER_LOST', hint: /--member/ })
})
