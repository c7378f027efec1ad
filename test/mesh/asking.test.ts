import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { systemClock } from '../../src/base/clock.ts'
import { codeOf } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { grants, invite, promote } from '../../src/mesh/administer.ts'
import { askToJoin, enterMesh, type HeardMesh } from '../../src/mesh/ask.ts'
import {
  decodeNonceReply,
  decodeSign,
  decodeState,
  encodeNonce,
  encodeRequest,
  maxReplyBytes,
} from '../../src/mesh/ask-messages.ts'
import { addressesIn, beaconService } from '../../src/mesh/beacon.ts'
import { issueCertificate, type Role } from '../../src/mesh/certificate.ts'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { askPrologue, askProtocol } from '../../src/mesh/join-protocol.ts'
import { serial, signingKeyOf } from '../../src/mesh/members.ts'
import { converse } from '../../src/mesh/newcomer.ts'
import { PendingJoins } from '../../src/mesh/pending-joins.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { saveRoster } from '../../src/mesh/roster-file.ts'
import { commitmentTo, shortCode } from '../../src/mesh/short-code.ts'
import type { Joined } from '../../src/mesh/welcome.ts'
import { connect, ManualClock, makeMesh, someBytes, type TestMesh, temporaryDirectory } from './fixture.ts'
import { createMembership, hire } from './hiring.ts'

const door = { protocol: askProtocol, prologue: askPrologue }

async function needs(t: TestContext) {
  return { clock: systemClock, log: silentLogger, identity: await loadIdentity(await temporaryDirectory(t)) }
}

/** What a newcomer hears of a mesh. */
function heard({ mesh }: TestMesh): HeardMesh {
  const { name, open } = mesh.members.genesis.body
  return { mesh: meshKeyOf(mesh.members.genesis), name, open, addresses: mesh.addresses().map(plain) }
}

const plain = (address: string): Multiaddr => multiaddr(address).decapsulate('/p2p')

async function running(t: TestContext, ...more: Parameters<typeof makeMesh> extends [unknown, ...infer R] ? R : never) {
  const node = await makeMesh(t, ...more)
  await node.mesh.start()
  return node
}

/** A newcomer that has got as far as showing its code. */
async function asking(
  t: TestContext,
  mesh: HeardMesh,
  name = 'carla',
): Promise<{ code: string; joined: Promise<Joined> }> {
  const shown = Promise.withResolvers<string>()
  const joined = askToJoin(await needs(t), mesh, name, shown.resolve)
  joined.catch(shown.reject)
  return { code: await shown.promise, joined }
}

test('whoever asks is let in once somebody has typed the code that it shows, and not before', async (t) => {
  const node = await running(t, createMembership({ name: 'office' }))
  const { code, joined } = await asking(t, heard(node))
  assert.match(code, /^\d{6}$/)
  const [waiting, ...more] = await node.mesh.pendingJoins()
  assert.deepEqual([waiting?.name, waiting?.address, waiting?.nameTaken, more.length], ['carla', '127.0.0.1', false, 0])
  assert.ok(!JSON.stringify(waiting).includes(code), 'the list must not show what has to be said aloud')
  const wrong = code === '000000' ? '000001' : '000000'
  await assert.rejects(node.mesh.approve(wrong), { code: 'ERR_USAGE' })
  assert.equal(node.mesh.members.roster.members(Date.now()).length, 1)
  assert.deepEqual((await node.mesh.approve(code)).name, 'carla')
  const { secret, roster } = await joined
  assert.deepEqual(secret, node.membership.secret)
  assert.deepEqual(
    roster
      .members(Date.now())
      .map(({ name, roles }) => [name, roles.length])
      .toSorted(),
    [
      ['carla', 2],
      ['node', 4],
    ],
  )
  assert.deepEqual(await node.mesh.pendingJoins(), [])
  await assert.rejects(node.mesh.approve(code), { code: 'ERR_USAGE' })
})

test('an inviter elsewhere in the mesh sees who waits and can say yes; who may not invite can do neither', async (t) => {
  const membership = createMembership({ name: 'office' })
  const [asked, inviter, plainDir] = [
    await makeMesh(t, { ...membership }),
    await makeMesh(t, { ...membership }),
    await temporaryDirectory(t),
  ]
  await hire(plainDir, membership, { roles: ['member', 'lender'] })
  const member = await makeMesh(t, { ...membership }, { stateDir: plainDir })
  await connect(asked, inviter, member)
  const { code, joined } = await asking(t, heard(asked))
  assert.deepEqual(
    (await inviter.mesh.pendingJoins()).map(({ name }) => name),
    ['carla'],
  )
  await assert.rejects(member.mesh.pendingJoins(), { code: 'ERR_ROLE' })
  await assert.rejects(member.mesh.approve(code), { code: 'ERR_ROLE' })
  // Its own command refuses; so does the other end, whatever is sent.
  member.mesh.send(asked.mesh.peerId, { case: 'approvalRequest', value: { id: 1n, code } })
  assert.deepEqual((await inviter.mesh.approve(code)).name, 'carla')
  const { roster } = await joined
  const carla = roster.members(Date.now()).find(({ name }) => name === 'carla')
  assert.deepEqual(carla?.invitedBy, inviter.mesh.members.key)
})

test('an inviter that can issue nothing, being the third in a row, is asked by nobody', async (t) => {
  const membership = createMembership({ name: 'office' })
  const founder = await makeMesh(t, membership)
  const { members } = founder.mesh
  const second = { genesis: members.genesis, key: signingKey(someBytes(32)) }
  const roles = grants.admin
  const admin = issueCertificate(members.issuer(), certified(second.key.publicKey, roles), members.now)
  const stateDir = await temporaryDirectory(t)
  const { publicKey } = signingKeyOf(await loadIdentity(stateDir))
  const third = issueCertificate({ ...second, certificate: admin }, certified(publicKey, grants.inviter), members.now)
  const roster = new Roster(members.genesis)
  roster.add(third.bytes, members.now)
  await saveRoster(stateDir, roster, members.now)
  const node = await running(t, { ...membership }, { stateDir })
  assert.ok(node.mesh.members.own().body.roles.includes('inviter'))
  await assert.rejects(asking(t, heard(node)), { code: 'ERR_PEER_LOST' })
})

const certified = (subject: Uint8Array, roles: readonly Role[]) => ({ subject, name: 'n', roles, serial: serial() })

test('a member that may not invite tells newcomers nothing; once it may, it does', async (t) => {
  const membership = createMembership({ name: 'office' })
  const founder = await makeMesh(t, { ...membership })
  const stateDir = await temporaryDirectory(t)
  await hire(stateDir, membership, { roles: ['member', 'lender'] })
  const member = await makeMesh(t, { ...membership }, { stateDir })
  await connect(founder, member)
  const look = async (node: TestMesh) =>
    await converse(await needs(t), plain(node.mesh.addresses()[0] ?? ''), door, async (talk) => {
      talk.send(encodeRequest({ ask: 'look' }))
      return decodeSign(await talk.receive(maxReplyBytes))
    })
  assert.equal((await look(founder)).name, 'office')
  await assert.rejects(look(member), { code: 'ERR_PEER_LOST' })
  const told = new Promise<void>((resolve) => member.mesh.members.onChange(() => resolve()))
  await promote(founder.mesh.members, founder.mesh.members.member(member.mesh.peerId), 'inviter')
  await told
  assert.equal((await look(member)).name, 'office')
})

test('nobody may ask where that is switched off, or from another network', async (t) => {
  const closed = await running(t, createMembership({ name: 'office' }), { joinByApproval: false })
  await assert.rejects(asking(t, heard(closed)), { code: 'ERR_PEER_LOST' })
  const elsewhere = () => ({ eth0: [{ address: '10.1.2.3', cidr: '10.1.2.3/24' }] })
  const far = await running(t, createMembership({ name: 'office' }), {}, { interfaces: elsewhere })
  await assert.rejects(asking(t, heard(far)), { code: 'ERR_PEER_LOST' })
})

test('three attempts in ten minutes, whether or not they come to an end', async (t) => {
  const node = await running(t, createMembership({ name: 'office' }))
  const [address] = heard(node).addresses
  assert.ok(address)
  for (let attempt = 0; attempt < 3; attempt++) {
    const seen: Promise<Uint8Array> = converse(await needs(t), address, door, async (talk) => {
      talk.send(encodeRequest({ ask: 'code', commitment: someBytes(32), name: 'x' }))
      // From here on it would know the code.
      return decodeNonceReply(await talk.receive(maxReplyBytes))
    })
    assert.equal((await seen).length, 16)
  }
  await assert.rejects(asking(t, heard(node)), { code: 'ERR_LIMIT' })
})

test('those who connect and say nothing keep nobody out', async (t) => {
  const node = await running(t, createMembership({ name: 'office' }))
  const [address] = heard(node).addresses
  assert.ok(address)
  let arrived = 0
  const waiting = Array.from({ length: 40 }, async () =>
    converse(await needs(t), address, door, async (talk) => {
      arrived += 1
      await talk.receive(maxReplyBytes)
    }).catch((error: unknown) => codeOf(error)),
  )
  while (arrived < 16) await new Promise((resolve) => setImmediate(resolve))
  const { code, joined } = await asking(t, heard(node))
  await node.mesh.approve(code)
  await joined
  await Promise.all(waiting)
  assert.deepEqual(node.mesh.peers(), [])
})

test('who shows another nonce than it had promised has no code', async (t) => {
  const node = await running(t, createMembership({ name: 'office' }))
  const [address] = heard(node).addresses
  assert.ok(address)
  const identity = await needs(t)
  const key = signingKeyOf(identity.identity).publicKey
  const cheat = converse(identity, address, door, async (talk) => {
    talk.send(encodeRequest({ ask: 'code', commitment: commitmentTo(someBytes(16), key), name: 'x' }))
    await talk.receive(maxReplyBytes)
    talk.send(encodeNonce(someBytes(16)))
    return decodeState(await talk.receive(maxReplyBytes))
  })
  await assert.rejects(cheat, { code: 'ERR_SIGNATURE' })
  assert.deepEqual(await node.mesh.pendingJoins(), [])
})

test('whoever sits in between has other codes at its two ends, and cannot show the genesis', async (t) => {
  const [node, evil] = [
    await running(t, createMembership({ name: 'office' })),
    await running(t, createMembership({ name: 'office' })),
  ]
  // To the newcomer it looks like the mesh: name and id are no secret. To the mesh it looks like the newcomer.
  const identity = await needs(t)
  const shown = Promise.withResolvers<string>()
  const joined = askToJoin(identity, { ...heard(evil), mesh: heard(node).mesh }, 'carla', shown.resolve)
  joined.catch(() => undefined)
  const code = await shown.promise
  const own = await asking(t, heard(node), 'carla')
  assert.notEqual(own.code, code)
  await assert.rejects(node.mesh.approve(code), { code: 'ERR_USAGE' })
  const { members } = evil.mesh
  const init = {
    subject: signingKeyOf(identity.identity).publicKey,
    name: 'carla',
    roles: grants.member,
    serial: serial(),
  }
  await members.say([issueCertificate(members.issuer(), init, members.now)])
  await assert.rejects(joined, { code: 'ERR_OTHER_MESH' })
  await node.mesh.approve(own.code)
  await own.joined
})

test('the code follows from both keys, both nonces, the mesh and the connection', () => {
  const init = {
    mesh: someBytes(16),
    newcomer: someBytes(32),
    member: someBytes(32),
    newcomerNonce: someBytes(16),
    memberNonce: someBytes(16),
    channel: someBytes(32),
  }
  const codes = Object.keys(init).map((name) => shortCode({ ...init, [name]: someBytes(name === 'mesh' ? 16 : 32) }))
  assert.equal(shortCode({ ...init }), shortCode(init))
  assert.equal(new Set([shortCode(init), ...codes]).size, 7)
})

test('an open mesh lets in whoever finds it, and no other mesh does', async (t) => {
  const open = await running(t, createMembership({ name: 'hall', open: true }))
  const { roster, genesis } = await enterMesh(await needs(t), heard(open), 'carla')
  assert.equal(genesis.body.open, true)
  assert.equal(roster.members(Date.now()).length, 2)
  const far = await running(t, createMembership({ name: 'hall', open: true }), {}, { interfaces: () => ({}) })
  await assert.rejects(enterMesh(await needs(t), heard(far), 'carla'), { code: 'ERR_PEER_LOST' })
  const closed = await running(t, createMembership({ name: 'office' }))
  await assert.rejects(enterMesh(await needs(t), heard(closed), 'carla'), { code: 'ERR_ROLE' })
  // One that says it is open and is not has something to hide.
  const liar = { ...heard(open), name: 'another' }
  await assert.rejects(enterMesh(await needs(t), liar, 'carla'), { code: 'ERR_OTHER_MESH' })
})

test('who waits is forgotten after five minutes, or a quarter of one in silence; no more than eight wait', async () => {
  const clock = new ManualClock()
  const pending = new PendingJoins(clock)
  const come = (number: number, address = `10.0.0.${number}`): Uint8Array => {
    const key = new Uint8Array(32).fill(number)
    pending.attempt(key, address)
    pending.add({ key, name: `n${number}`, address }, String(number).padStart(6, '0'))
    return key
  }
  const first = come(1)
  clock.advance(16_000)
  assert.deepEqual(pending.list(), [])
  await assert.rejects(pending.decided(first, 1000), { code: 'ERR_EXPIRED' })
  const heardFrom = come(2)
  for (let seconds = 0; seconds < 300; seconds += 10) {
    assert.equal(pending.list().length, 1)
    const waiting = pending.decided(heardFrom, 2000)
    clock.advance(10_000)
    await waiting
  }
  assert.deepEqual(pending.list(), [])
  for (let number = 11; number < 19; number++) come(number)
  assert.throws(() => come(19), { code: 'ERR_LIMIT' })
  come(18)
  assert.equal(pending.withCode('000011')?.name, 'n11')
  pending.add({ key: new Uint8Array(32).fill(12), name: 'n12', address: '10.0.0.12' }, '000011')
  assert.equal(pending.withCode('000011'), undefined, 'it is not clear who is meant')
})

test('whoever makes up keys and addresses gets no more than 24 attempts in ten minutes', () => {
  const clock = new ManualClock()
  const pending = new PendingJoins(clock)
  let attempts = 0
  for (let number = 0; number < 200; number++) {
    try {
      pending.attempt(someBytes(32), `10.0.1.${number}`)
      attempts += 1
    } catch (error) {
      assert.equal(codeOf(error), 'ERR_LIMIT')
    }
  }
  assert.equal(attempts, 24)
  clock.advance(600_001)
  pending.attempt(someBytes(32), '10.0.1.1')
})

test('who has all addresses of a network of IPv6 leaves some attempts to others, and one machine with several addresses many to its neighbours', () => {
  const pending = new PendingJoins(new ManualClock())
  const attempt = (address: string): number => {
    try {
      pending.attempt(someBytes(32), address)
      return 1
    } catch (error) {
      assert.equal(codeOf(error), 'ERR_LIMIT')
      return 0
    }
  }
  // One address gets three, however it is written.
  const one = ['fe80::1%eth0', 'fe80::1%eth0', 'fe80::1%eth0', 'fe80::1%eth0'].map(attempt)
  assert.deepEqual(one, [1, 1, 1, 0])
  const four = Array.from({ length: 12 }, (_, at) => attempt(`fe80::1:${1 + (at % 3)}%eth0`))
  assert.equal(four.filter((count) => count === 1).length, 9)
  assert.equal(attempt('fe80::aaaa%eth0'), 1)
  const all = Array.from({ length: 100 }, (_, at) => attempt(`fe80::2:${at.toString(16)}%eth0`))
  assert.equal(all.filter((count) => count === 1).length, 18 - 13)
  assert.deepEqual(['192.168.1.1', '192.168.1.2', 'fd00:1::1'].map(attempt), [1, 1, 1])
})

test('what multicast DNS brings has any shape, and nothing but addresses that can be dialled comes out', () => {
  const peer = '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq'
  const say = (...data: unknown[]) => ({ type: 'TXT', name: beaconService, data })
  const good = `dnsaddr=/ip4/10.0.0.1/tcp/4001/p2p/${peer}`
  const found = addressesIn(
    {
      answers: [say(Buffer.from(good)), { ...say(good), name: 'other' }],
      additionals: [say(good)],
    },
    beaconService,
  )
  assert.deepEqual([...found.keys()], [peer])
  assert.equal(found.get(peer)?.length, 2)
  const many = { answers: Array.from({ length: 1000 }, () => say(good)) }
  assert.equal(addressesIn(many, beaconService).get(peer)?.length, 8)
  const bad = [
    undefined,
    7,
    { answers: 7, additionals: [null, 7, say(7), say(null), say('dnsaddr='), say(`dnsaddr=/ip4/10.0.0.1/tcp/1`)] },
    { answers: [say(`dnsaddr=/ip4/10.0.0.1/udp/1/p2p/${peer}`), say(`dnsaddr=${'/'.repeat(300)}`), say('x')] },
  ]
  for (const packet of bad) assert.equal(addressesIn(packet, beaconService).size, 0)
})

test('what a member may not do is refused in words, with what to do about it', async (t) => {
  const membership = createMembership({ name: 'office' })
  const stateDir = await temporaryDirectory(t)
  await hire(stateDir, membership, { roles: ['member', 'lender'] })
  const { mesh } = await running(t, membership, { stateDir })
  const hint = /Let an administrator do it/
  await assert.rejects(invite(mesh.members, 'member', []), {
    code: 'ERR_ROLE',
    message: /is member and may not invite a member/,
    hint,
  })
  const self = mesh.members.member(mesh.peerId)
  await assert.rejects(promote(mesh.members, self, 'admin'), {
    code: 'ERR_ROLE',
    message: /may not make node admin/,
    hint,
  })
})

test('a newcomer outlives that the member goes away for a moment, and learns when it is forgotten', async (t) => {
  const node = await running(t, createMembership({ name: 'office' }))
  const port = Number(/tcp\/(\d+)/.exec(node.mesh.addresses()[0] ?? '')?.[1])
  const { joined } = await asking(t, heard(node))
  const refused = assert.rejects(joined, { code: 'ERR_EXPIRED', hint: /Run `shoal join` again/ })
  await node.mesh.stop()
  // Who waits is kept in memory alone.
  await running(t, node.membership, { stateDir: node.stateDir, port })
  await refused
})
