import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { systemClock } from '../../src/base/clock.ts'
import { codeOf } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { type Grant, invite } from '../../src/mesh/administer.ts'
import { issueCertificate, type Role } from '../../src/mesh/certificate.ts'
import { boundEncryption, type Encrypter } from '../../src/mesh/encryption.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { encodeProof, type JoinProof, proveInvite } from '../../src/mesh/invite.ts'
import { decodeInviteLink, encodeInviteLink, type InviteLink } from '../../src/mesh/invite-link.ts'
import { joinMesh } from '../../src/mesh/join.ts'
import {
  decodeOffer,
  decodeWelcome,
  encodeAsk,
  encodeJoinProof,
  encodeOffer,
  maxAnswerBytes,
  type Offer,
} from '../../src/mesh/join-messages.ts'
import { joinPrologue, joinProtocol } from '../../src/mesh/join-protocol.ts'
import { serial, signingKeyOf } from '../../src/mesh/members.ts'
import { membershipOf } from '../../src/mesh/membership.ts'
import { saveRoster } from '../../src/mesh/roster-file.ts'
import { Talk } from '../../src/mesh/talk.ts'
import type { Joined } from '../../src/mesh/welcome.ts'
import {
  afterwards,
  bothUp,
  connect,
  ManualClock,
  makeHost,
  makeMesh,
  someBytes,
  type TestMesh,
  temporaryDirectory,
} from './fixture.ts'
import { createMembership, genesisOf, rootOf } from './hiring.ts'
import { day } from './office.ts'

async function linkOf(node: TestMesh, grant: Grant = 'member'): Promise<InviteLink> {
  return decodeInviteLink(await invite(node.mesh.members, grant, node.mesh.addresses()))
}

async function join(stateDir: string, link: InviteLink, name = 'newcomer'): Promise<Joined & { seeds: string[] }> {
  const identity = await loadIdentity(stateDir)
  return await joinMesh({ clock: systemClock, log: silentLogger, identity }, link, name)
}

/** A running mesh of one. */
async function founded(t: TestContext, ...more: Parameters<typeof makeMesh> extends [unknown, ...infer R] ? R : never) {
  const node = await makeMesh(t, ...more)
  await node.mesh.start()
  return node
}

test('a link is all that a newcomer needs: it gets secret, certificate and roster, and meets everybody', async (t) => {
  const membership = createMembership({ name: 'office' })
  const [a, b] = [await makeMesh(t, { ...membership }), await makeMesh(t, { ...membership })]
  await connect(a, b)
  const link = await linkOf(a)
  assert.ok(!encodeInviteLink(link).includes(Buffer.from(membership.secret).toString('hex')))
  const stateDir = await temporaryDirectory(t)
  const { genesis, secret, roster } = await join(stateDir, link, 'carla')
  assert.deepEqual(secret, membership.secret)
  assert.equal(roster.members(Date.now()).length, 3)
  // As `shoal join` does.
  await saveRoster(stateDir, roster, Date.now())
  const c = await makeMesh(t, membershipOf(genesis, secret, link.addresses), { stateDir })
  const met = Promise.all([bothUp(a.mesh, c.mesh), bothUp(b.mesh, c.mesh)])
  await c.mesh.start()
  await met
  const view = b.mesh.members.member(c.mesh.peerId)
  assert.deepEqual([view.name, view.roles, view.invitedBy], ['carla', ['member', 'lender'], a.mesh.members.key])
})

/** A link as it was before it said who has made it. */
function anybodys({ key: _, ...link }: InviteLink): InviteLink {
  return link
}

/** Two who may invite, and a link of the first that the other knows of. */
async function twoInviters(t: TestContext): Promise<{ a: TestMesh; b: TestMesh; link: InviteLink }> {
  const membership = createMembership({ name: 'office' })
  const [a, b] = [await makeMesh(t, { ...membership }), await makeMesh(t, { ...membership })]
  await connect(a, b)
  const known = new Promise<void>((resolve) => b.mesh.members.onChange(() => resolve()))
  const link = await linkOf(a)
  await known
  return { a, b, link }
}

test('a link is good at the one who made it, and at nobody else, who may invite as well', async (t) => {
  const { b, link } = await twoInviters(t)
  const elsewhere = { ...link, addresses: b.mesh.addresses() }
  const stateDir = await temporaryDirectory(t)
  // Whoever has been kicked answers like any other inviter, and a newcomer cannot know.
  await assert.rejects(join(stateDir, elsewhere), { code: 'ERR_PEER_LOST' })
  const both = [...elsewhere.addresses, ...link.addresses]
  const { seeds } = await join(stateDir, { ...elsewhere, addresses: both })
  assert.equal(seeds[0], link.addresses[0])
})

test('a link that does not say who has made it is good at whoever may invite', async (t) => {
  const { a, b, link } = await twoInviters(t)
  await a.mesh.stop()
  const { roster } = await join(await temporaryDirectory(t), { ...anybodys(link), addresses: b.mesh.addresses() })
  assert.equal(roster.members(Date.now()).length, 3)
})

test('an address at which somebody listens and says nothing keeps nobody from the next one', async (t) => {
  const node = await founded(t)
  const silent = createServer()
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const held: Socket[] = []
  afterwards(t, async () => {
    for (const socket of held) socket.destroy()
    silent.close()
  })
  silent.on('connection', (socket) => held.push(socket.on('error', () => undefined)))
  const { port } = silent.address() as AddressInfo
  const link = await linkOf(node)
  await join(await temporaryDirectory(t), { ...link, addresses: [`/ip4/127.0.0.1/tcp/${port}`, ...link.addresses] })
  assert.equal(held.length, 1)
  assert.ok(
    held.every(({ readableEnded, destroyed }) => !readableEnded && !destroyed),
    'it was not waited for',
  )
})

test('a link has the addresses in it that its maker is told to announce, and a name will do', async (t) => {
  const free = createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address() as AddressInfo
  await new Promise((resolve) => free.close(resolve))
  const name = `/dns4/localhost/tcp/${port}`
  const node = await founded(t, createMembership({ name: 'office' }), { port, announce: [name] })
  const link = await linkOf(node)
  assert.deepEqual(link.addresses, [name])
  const { seeds } = await join(await temporaryDirectory(t), link)
  assert.deepEqual(seeds, [name])
})

test('a link is good for one machine, also when two come at once, and after a restart', async (t) => {
  const node = await founded(t)
  const link = await linkOf(node)
  const both = await Promise.allSettled([
    join(await temporaryDirectory(t), link),
    join(await temporaryDirectory(t), link),
  ])
  assert.deepEqual(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
  const refused = both.find((outcome) => outcome.status === 'rejected')
  assert.equal(codeOf(refused?.reason), 'ERR_INVITE_USED')
  await node.mesh.stop()
  const again = await founded(t, node.membership, { stateDir: node.stateDir })
  const late = join(await temporaryDirectory(t), { ...link, addresses: again.mesh.addresses() })
  await assert.rejects(late, { code: 'ERR_INVITE_USED' })
})

test('links of no use: unknown, of another mesh, too old, or shown to a member that may not invite', async (t) => {
  const clock = new ManualClock()
  const node = await founded(t, createMembership({ name: 'office' }), {}, { clock })
  const link = await linkOf(node)
  const stateDir = await temporaryDirectory(t)
  await assert.rejects(join(stateDir, { ...link, invite: someBytes(8) }), { code: 'ERR_INVITE_UNKNOWN' })
  await assert.rejects(join(stateDir, { ...link, secret: someBytes(16) }), { code: 'ERR_INVITE_UNKNOWN' })
  await assert.rejects(join(stateDir, { ...link, mesh: someBytes(16) }), { code: 'ERR_OTHER_MESH' })
  await assert.rejects(join(stateDir, { ...link, addresses: ['/ip4/127.0.0.1/tcp/9'] }), { code: 'ERR_PEER_LOST' })
  clock.sleep(1.5 * day)
  await assert.rejects(join(stateDir, link), { code: 'ERR_EXPIRED' })
})

/** A newcomer that says what it likes. */
async function rawJoin<T>(
  address: string,
  stateDir: string,
  speak: (talk: Talk, ends: { inviter: Uint8Array; channel: Uint8Array }) => Promise<T>,
): Promise<T> {
  const { privateKey } = await loadIdentity(stateDir)
  let speaking: Promise<T> = Promise.reject(new Error('never spoken'))
  speaking.catch(() => undefined)
  const node = await createLibp2p({
    privateKey,
    addresses: { listen: [] },
    transports: [tcp()],
    connectionEncrypters: [
      (components) => ({
        protocol: joinProtocol,
        async secureOutbound(connection, options) {
          const { noise, channel } = boundEncryption(joinPrologue, components)
          const secured = await noise.secureOutbound(connection, { ...options, skipStreamMuxerNegotiation: true })
          const talk = new Talk(secured.connection, { clock: systemClock, deadlineMs: 3000 })
          const inviter = secured.remotePeer.publicKey?.raw ?? new Uint8Array()
          speaking = speak(talk, { inviter, channel: channel() })
          await speaking.catch(() => undefined)
          talk.end()
          throw new Error('spoken')
        },
        secureInbound: async () => {
          throw new Error('unused')
        },
      }),
    ],
    streamMuxers: [],
  })
  await assert.rejects(node.dial(multiaddr(address)))
  await node.stop()
  return await speaking
}

test('a proof is worth nothing on another connection, for another key, or changed; and bad ones cost the link nothing', async (t) => {
  const membership = createMembership({ name: 'office' })
  const [node, other] = [await makeMesh(t, { ...membership }), await makeMesh(t, { ...membership })]
  await connect(node, other)
  const link = await linkOf(node)
  const [address = ''] = node.mesh.addresses()
  const stateDir = await temporaryDirectory(t)
  const subject = signingKeyOf(await loadIdentity(stateDir)).publicKey
  const channels: Uint8Array[] = []
  const attempt = (
    change: (proof: JoinProof) => JoinProof,
    prove: Partial<{ channel: Uint8Array; subject: Uint8Array }> = {},
  ) =>
    rawJoin(address, stateDir, async (talk, { inviter, channel }) => {
      channels.push(channel)
      talk.send(encodeAsk({ mesh: link.mesh, invite: link.invite }))
      decodeOffer(await talk.receive(maxAnswerBytes))
      const proof = proveInvite({ secret: link.secret, mesh: link.mesh, subject, inviter, channel, ...prove })
      talk.send(encodeJoinProof({ proof: encodeProof(change(proof)), name: 'x' }))
      return decodeWelcome(await talk.receive(maxAnswerBytes))
    })
  await assert.rejects(
    attempt((proof) => proof, { channel: someBytes(32) }),
    { code: 'ERR_REPLAYED' },
  )
  await assert.rejects(
    attempt((proof) => proof, { channel: channels[0] ?? someBytes(32) }),
    { code: 'ERR_REPLAYED' },
  )
  await assert.rejects(
    attempt((proof) => proof, { subject: node.mesh.members.key }),
    { code: 'ERR_REPLAYED' },
  )
  assert.equal(new Set(channels.map((channel) => Buffer.from(channel).toString('hex'))).size, channels.length)

  const forged = (proof: JoinProof): JoinProof => ({ ...proof, sig: someBytes(64) })
  const { size } = other.mesh.members.roster
  for (let bad = 1; bad <= 6; bad++) await assert.rejects(attempt(forged), { code: 'ERR_SIGNATURE' })
  assert.equal(other.mesh.members.roster.size, size)
  const elsewhere = { ...anybodys(link), addresses: other.mesh.addresses() }
  assert.equal((await join(stateDir, elsewhere)).genesis.body.name, membership.name)
})

test('a newcomer shows its proof to nobody but a member of the mesh of the link that may invite', async (t) => {
  const membership = createMembership({ name: 'ours' })
  const node = await founded(t, { ...membership })
  const link = await linkOf(node)
  const theirs = createMembership({ name: 'theirs' })
  const evilDir = await temporaryDirectory(t)
  const evil = signingKeyOf(await loadIdentity(evilDir)).publicKey
  const certificateOf = (of: typeof theirs, subject: Uint8Array, roles: readonly Role[]): Uint8Array => {
    const issuer = { genesis: genesisOf(of.secret, of), key: rootOf(of) }
    return issueCertificate(issuer, { subject, name: 'evil', roles, serial: serial() }, Date.now()).bytes
  }
  const genesis = genesisOf(membership.secret, membership).bytes
  const inviter: Role[] = ['member', 'inviter']
  const offers: [string, Offer][] = [
    [
      'ERR_OTHER_MESH',
      { genesis: genesisOf(theirs.secret, theirs).bytes, certificate: certificateOf(theirs, evil, inviter) },
    ],
    ['ERR_OTHER_MESH', { genesis, certificate: certificateOf(theirs, evil, inviter) }],
    ['ERR_REPLAYED', { genesis, certificate: node.mesh.members.own().bytes }],
    ['ERR_ROLE', { genesis, certificate: certificateOf(membership, evil, ['member']) }],
  ]
  for (const [code, offer] of offers) {
    const heard: Uint8Array[] = []
    const door: Encrypter = (components) => ({
      protocol: joinProtocol,
      async secureInbound(connection, options) {
        const { noise } = boundEncryption(joinPrologue, components)
        const secured = await noise.secureInbound(connection, { ...options, skipStreamMuxerNegotiation: true })
        const talk = new Talk(secured.connection, { clock: systemClock, deadlineMs: 3000 })
        heard.push(await talk.receive(maxAnswerBytes))
        talk.send(encodeOffer(offer))
        heard.push(await talk.receive(maxAnswerBytes))
        throw new Error('it has told us')
      },
      secureOutbound: async () => {
        throw new Error('unused')
      },
    })
    const host = await makeHost(t, theirs, evilDir, [door])
    const addresses = host.getMultiaddrs().map(String)
    await assert.rejects(join(await temporaryDirectory(t), { ...anybodys(link), addresses }), { code })
    assert.equal(heard.length, 1, 'only which invitation it has')
    await host.end(2000)
  }
  assert.equal((await join(await temporaryDirectory(t), link)).roster.members(Date.now()).length, 2)
})

test('a connection for joining never becomes one of libp2p, and those who say nothing keep nobody out', async (t) => {
  const node = await founded(t)
  const ups: string[] = []
  node.mesh.onPeer((peer) => ups.push(peer))
  const [address = ''] = node.mesh.addresses()
  const stateDir = await temporaryDirectory(t)
  let arrived = 0
  const waiting = Array.from({ length: 40 }, () =>
    rawJoin(address, stateDir, async (talk) => {
      arrived += 1
      await talk.receive(maxAnswerBytes)
    }).catch((error: unknown) => codeOf(error)),
  )
  while (arrived < 16) await new Promise((resolve) => setImmediate(resolve))
  const from = performance.now()
  await join(await temporaryDirectory(t), await linkOf(node))
  assert.ok(performance.now() - from < 2000)
  await Promise.all(waiting)
  assert.deepEqual([ups, node.mesh.peers()], [[], []])
})
