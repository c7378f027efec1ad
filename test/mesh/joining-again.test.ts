import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { invite } from '../../src/mesh/administer.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { decodeInviteLink, type InviteLink } from '../../src/mesh/invite-link.ts'
import { joinMesh } from '../../src/mesh/join.ts'
import { joinProtocol } from '../../src/mesh/join-protocol.ts'
import { signingKeyOf } from '../../src/mesh/members.ts'
import { makeHost, makeMesh, type TestMesh, temporaryDirectory } from './fixture.ts'
import { createMembership } from './hiring.ts'

async function linkOf(node: TestMesh): Promise<InviteLink> {
  return decodeInviteLink(await invite(node.mesh.members, 'member', node.mesh.addresses()))
}

async function join(stateDir: string, link: InviteLink) {
  const identity = await loadIdentity(stateDir)
  return await joinMesh({ clock: systemClock, log: silentLogger, identity }, link, 'newcomer')
}

test('who has lost what it was told gets it again for the same link, and nobody else does', async (t) => {
  const node = await makeMesh(t, createMembership({ name: 'office' }))
  await node.mesh.start()
  const [link, other] = [await linkOf(node), await linkOf(node)]
  const stateDir = await temporaryDirectory(t)
  const first = await join(stateDir, link)
  const size = node.mesh.members.roster.size
  const second = await join(stateDir, link)
  const { publicKey } = signingKeyOf(await loadIdentity(stateDir))
  const idOf = ({ roster }: typeof first): Uint8Array => roster.certificateOf(publicKey, Date.now()).id
  assert.deepEqual(idOf(second), idOf(first))
  assert.deepEqual(second.secret, first.secret)
  assert.equal(node.mesh.members.roster.size, size)
  await assert.rejects(join(await temporaryDirectory(t), link), { code: 'ERR_INVITE_USED' })
  // With the secret of another invitation it does not even get its own certificate.
  await assert.rejects(join(stateDir, { ...link, secret: other.secret }), { code: 'ERR_REPLAYED' })
})

test('strangers who open the door for newcomers and say nothing keep nobody out', async (t) => {
  const node = await makeMesh(t, createMembership({ name: 'office' }))
  await node.mesh.start()
  const link = await linkOf(node)
  const port = Number(node.mesh.addresses()[0]?.split('/')[4])
  const opening = `\x13/multistream/1.0.0\n${String.fromCharCode(joinProtocol.length + 1)}${joinProtocol}\n`
  const silent: Socket[] = []
  t.after(() => {
    for (const socket of silent) socket.destroy()
  })
  const more = async (): Promise<void> => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' })
    silent.push(socket.on('error', () => undefined).resume())
    socket.write(opening)
    await once(socket, 'data')
  }
  // More than there are places for newcomers.
  await Promise.all(Array.from({ length: 40 }, more))
  const joining = join(await temporaryDirectory(t), link)
  await Promise.all(Array.from({ length: 40 }, more))
  assert.equal((await joining).roster.members(Date.now()).length, 2)
})

test('a member has a few connections, however many it opens', async (t) => {
  const membership = createMembership({ name: 'office' })
  const node = await makeMesh(t, { ...membership })
  await node.mesh.start()
  const greedy = await makeHost(t, { ...membership })
  const addresses = node.mesh.addresses().map((address) => multiaddr(address))
  for (let n = 0; n < 12; n++) await greedy.dial(addresses, { force: true }).catch(() => undefined)
  // The last one works, so all that was to be closed was closed before.
  const [last] = greedy.getConnections(peerIdFromString(node.mesh.peerId)).slice(-1)
  assert.ok(last)
  await greedy.services.ping.ping(last.remotePeer)
  const open = greedy.getConnections().filter(({ status }) => status === 'open')
  assert.ok(open.length <= 5, `${open.length} connections`)
})
