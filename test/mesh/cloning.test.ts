import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { reportClone } from '../../src/mesh/clone.ts'
import { serial } from '../../src/mesh/members.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { bothUp, connect, dial, makeHost, makeMesh, peerEvent, type TestMesh, temporaryDirectory } from './fixture.ts'
import { createMembership, genesisOf, rootOf } from './hiring.ts'

const echo = '/shoal/ping/1.0.0'
const key = new Uint8Array(32).fill(7)

/** Settles once a node knows that a key is in use twice. */
function noticed({ mesh }: TestMesh, peerId: string): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (mesh.members.cloned().has(peerId)) resolve()
    }
    mesh.members.onChange(look)
    look()
  })
}

const offer = { case: 'offer', value: { total: 4, free: 4 } } as const

/** A member of the office, and a second machine with a copy of its disk; nothing of either runs. */
async function twins(t: TestContext, membership: ReturnType<typeof createMembership>, seeds: () => string[]) {
  const [one, two] = [await temporaryDirectory(t), await temporaryDirectory(t)]
  const make = (stateDir: string): Promise<TestMesh> =>
    makeMesh(
      t,
      { ...membership, seeds: seeds() },
      { stateDir },
      { lookup: async (keys) => keys.map((known) => ({ key: known, traces: [Uint8Array.of(1)] })) },
    )
  const first = await make(one)
  await cp(one, two, { recursive: true })
  return { first, second: () => make(two) }
}

test('a copied key is noticed, told to everybody and trusted with no work', { timeout: 60_000 }, async (t) => {
  const membership = createMembership({ name: 'office' })
  const [b, c] = [await makeMesh(t, { ...membership }), await makeMesh(t, { ...membership })]
  await connect(b, c)
  const { first, second } = await twins(t, membership, () => b.mesh.addresses())
  const { peerId } = first.mesh
  const up = bothUp(b.mesh, first.mesh)
  await first.mesh.start()
  await up
  const offers: string[] = []
  b.mesh.onFrame((from, { case: kind }) => offers.push(`${kind} ${from}`))
  const asked = async (): Promise<string[]> =>
    (await b.mesh.ask([key], { budgetMs: 1000 })).map((holding) => holding.peerId)
  first.mesh.send(b.mesh.peerId, offer)
  assert.deepEqual(await asked(), [peerId])
  assert.deepEqual(offers, [`offer ${peerId}`])

  const all = [b, c, first].map((node) => noticed(node, peerId))
  const copy = await second()
  assert.equal(copy.mesh.peerId, peerId)
  await copy.mesh.start()
  await Promise.all([...all, noticed(copy, peerId)])

  while (!b.mesh.peers().some((peer) => peer.connected && peer.peerId === peerId)) {
    await peerEvent(b.mesh, peerId, true)
  }
  for (const twin of [first, copy]) twin.mesh.send(b.mesh.peerId, offer)
  assert.deepEqual(await asked(), [])
  assert.deepEqual(offers, [`offer ${peerId}`])
})

test('a node that was started again is no copy, though its old connection still looks open', async (t) => {
  const membership = createMembership({ name: 'office' })
  const node = await makeMesh(t, { ...membership })
  await node.mesh.start()
  const stateDir = await temporaryDirectory(t)
  const copied = await temporaryDirectory(t)
  const before = await makeHost(t, membership, stateDir)
  await cp(stateDir, copied, { recursive: true })
  const old = await dial(before, node.mesh)
  // As after a loss of power: the connection is open at the other end, and nobody is behind it.
  await before.unhandle(echo)
  const closed = new Promise((resolve) => old.addEventListener('close', resolve))
  const again = await makeMesh(t, { ...membership, seeds: node.mesh.addresses() }, { stateDir: copied })
  assert.equal(again.mesh.peerId, before.peerId.toString())
  const up = peerEvent(node.mesh, again.mesh.peerId, true)
  await again.mesh.start()
  await Promise.all([up, closed])
  assert.equal(node.mesh.members.cloned().size, 0)
})

test('two connections of one node are no copies', async (t) => {
  const node = await makeMesh(t)
  await node.mesh.start()
  const other = await makeHost(t, node.membership)
  const first = await dial(other, node.mesh)
  const second = await other.dial(
    node.mesh.addresses().map((address) => multiaddr(address)),
    { force: true },
  )
  await other.services.ping.ping(
    node.mesh.peerId === second.remotePeer.toString() ? second.remotePeer : first.remotePeer,
  )
  assert.equal(other.getConnections().length, 2)
  assert.equal(node.mesh.members.cloned().size, 0)
})

test('what one who was shut out has said of others counts no more', { timeout: 30_000 }, async (t) => {
  const membership = createMembership({ name: 'office' })
  const nodes = [
    await makeMesh(t, { ...membership }),
    await makeMesh(t, { ...membership }),
    await makeMesh(t, { ...membership }),
  ]
  const [boss, liar, victim] = nodes
  assert.ok(boss && liar && victim)
  await connect(...nodes)
  const heard = noticed(boss, victim.mesh.peerId)
  await liar.mesh.members.reportClone(victim.mesh.peerId)
  await heard
  await kickMember(boss.mesh.members, liar.mesh.members, false)
  assert.equal(boss.mesh.members.cloned().size, 0)
})

test('a member says so of sixteen keys at most, and none of it for ever', () => {
  const membership = createMembership({ name: 'office' })
  const genesis = genesisOf(membership.secret, membership)
  const root = { genesis, key: rootOf(membership) }
  const member = rootOf({ secret: new Uint8Array(32).fill(1) })
  const now = Date.now()
  const init = { subject: member.publicKey, name: 'm', roles: ['member'] as const, serial: serial() }
  const certificate = issueCertificate(root, init, now)
  const roster = new Roster(genesis)
  roster.add(certificate.bytes, now)
  const subjectOf = (number: number): Uint8Array => rootOf({ secret: new Uint8Array(32).fill(100 + number) }).publicKey
  const say = (number: number): string =>
    roster.add(reportClone({ genesis, key: member, certificate }, subjectOf(number), now).bytes, now)
  for (let number = 0; number < 16; number++) assert.equal(say(number), 'added')
  assert.throws(() => say(16), { code: 'ERR_ROSTER_FULL' })
  assert.equal(roster.clones(now).length, 16)
  assert.equal(roster.clones(now + 63 * 24 * 3_600_000).length, 0)
})
