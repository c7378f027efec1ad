import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { multiaddr } from '@multiformats/multiaddr'
import { systemClock } from '../../src/base/clock.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { type Encrypter, encryption } from '../../src/mesh/encryption.ts'
import type { Host } from '../../src/mesh/host.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { memberEncrypter, memberProtocol, type Refusal } from '../../src/mesh/member-encrypter.ts'
import { type Members, serial, signingKeyOf } from '../../src/mesh/members.ts'
import { type Membership, prologueOf } from '../../src/mesh/membership.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { afterwards, ManualClock, makeHost, someBytes, temporaryDirectory } from './fixture.ts'
import { createMembership, genesisOf, hire, membersOf, rootOf } from './hiring.ts'
import { day } from './office.ts'

/** A host that counts the handlers which run, and remembers whom it refused. */
interface Guarded {
  host: Host
  members: Members
  refusals: Refusal[]
  handlers: number
}

async function guarded(t: TestContext, membership: Membership, clock = systemClock): Promise<Guarded> {
  const stateDir = await temporaryDirectory(t)
  const members = await membersOf(stateDir, membership)
  const refusals: Refusal[] = []
  const door = memberEncrypter({
    clock,
    prologue: prologueOf(membership.secret),
    boot: someBytes(16),
    certificate: () => members.own().bytes,
    admit: (certificate, remote) => members.admit(certificate, remote),
    onRefused: (refusal) => refusals.push(refusal),
  })
  const guard = { host: await makeHost(t, membership, stateDir, [door]), members, refusals, handlers: 0 }
  afterwards(t, () => members.saved())
  for (const protocol of guard.host.getProtocols()) {
    await guard.host.unhandle(protocol)
    await guard.host.handle(protocol, (stream) => {
      guard.handlers += 1
      stream.abort(new Error('counted'))
    })
  }
  return guard
}

/** A host that knows the secret and shows whatever certificate it is given. */
async function pretender(
  t: TestContext,
  membership: Membership,
  certificate: (stateDir: string) => Promise<Uint8Array>,
): Promise<{ host: Host; refusals: Refusal[] }> {
  const stateDir = await temporaryDirectory(t)
  await hire(stateDir, membership)
  const bytes = await certificate(stateDir)
  const refusals: Refusal[] = []
  const door = memberEncrypter({
    clock: systemClock,
    prologue: prologueOf(membership.secret),
    boot: someBytes(16),
    certificate: () => bytes,
    admit: () => ({ key: someBytes(32), peerId: '', name: '', roles: [], invitedBy: someBytes(32), notAfter: 0 }),
    onRefused: (refusal) => refusals.push(refusal),
  })
  return { host: await makeHost(t, membership, stateDir, [door]), refusals }
}

const ours = createMembership({ name: 'ours' })
const theirs = createMembership({ name: 'theirs' })

/** A certificate for the node of a state directory. */
async function certificate(
  stateDir: string,
  how: { of?: Membership; now?: number; key?: Uint8Array } = {},
): Promise<Uint8Array> {
  const { of = ours, now = Date.now() } = how
  const subject = how.key ?? signingKeyOf(await loadIdentity(stateDir)).publicKey
  const issuer = { genesis: genesisOf(of.secret, of), key: rootOf(of) }
  return issueCertificate(issuer, { subject, name: 'node', roles: ['member'], serial: serial() }, now).bytes
}

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes)
  // Within the signature, which is the last but one field.
  const at = Buffer.from(copy).indexOf(Buffer.from('csig')) + 20
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

const cases: { what: string; code: string; make: (stateDir: string) => Promise<Uint8Array> }[] = [
  { what: 'no certificate', code: 'ERR_NOT_CANONICAL', make: async () => new Uint8Array() },
  { what: 'an expired one', code: 'ERR_EXPIRED', make: (dir) => certificate(dir, { now: Date.now() - 32 * day }) },
  {
    what: 'one of next week',
    code: 'ERR_NOT_YET_VALID',
    make: (dir) => certificate(dir, { now: Date.now() + 7 * day }),
  },
  { what: 'one of another mesh', code: 'ERR_OTHER_MESH', make: (dir) => certificate(dir, { of: theirs }) },
  {
    what: "another member's",
    code: 'ERR_REPLAYED',
    make: (dir) => certificate(dir, { key: rootOf(theirs).publicKey }),
  },
  { what: 'a forged one', code: 'ERR_SIGNATURE', make: async (dir) => flipped(await certificate(dir)) },
  {
    what: 'one with a byte behind it',
    code: 'ERR_NOT_CANONICAL',
    make: async (dir) => Buffer.concat([await certificate(dir), new Uint8Array(1)]),
  },
]

for (const { what, code, make } of cases) {
  test(`who knows the secret and shows ${what} is refused with ${code} before any handler`, async (t) => {
    const node = await guarded(t, ours)
    const { host, refusals } = await pretender(t, ours, make)
    // Not for being late, which is refused with a code of its own.
    await assert.rejects(host.dial(node.host.getMultiaddrs()), { name: 'EncryptionFailedError' })
    // Whoever is refused may hear so before whoever refuses has noted it.
    while (node.refusals.length === 0) await delay(5)
    assert.deepEqual(
      [node.refusals, refusals].map((list) => list.map(({ by, error }) => [by, error.code])),
      [[['here', code]], [['there', code]]],
    )
    assert.equal(node.handlers, 0)
    assert.deepEqual([...node.host.getConnections(), ...host.getConnections()], [])
  })
}

test('a revoked key is refused with ERR_REVOKED, whatever certificate it shows, also when it is dialled', async (t) => {
  const node = await guarded(t, ours)
  const { host, refusals } = await pretender(t, ours, (dir) => certificate(dir))
  const key = host.peerId.publicKey?.raw
  assert.ok(key)
  const root = { genesis: node.members.genesis, key: rootOf(ours) }
  await node.members.say([revoke(root, { kind: 'key', key }, 'kicked', Date.now())])
  await assert.rejects(host.dial(node.host.getMultiaddrs()))
  await assert.rejects(node.host.dial(host.getMultiaddrs()))
  assert.deepEqual(
    node.refusals.map(({ direction, error }) => [direction, error.code]),
    [
      ['inbound', 'ERR_REVOKED'],
      ['outbound', 'ERR_REVOKED'],
    ],
  )
  assert.deepEqual(
    refusals.map(({ by }) => by),
    ['there', 'there'],
  )
  assert.equal(node.handlers, 0)
})

test('who says nothing after the handshake is cut off with ERR_DEADLINE', async (t) => {
  const clock = new ManualClock()
  const node = await guarded(t, ours, clock)
  const mute: Encrypter = (components) => {
    const noise = encryption(prologueOf(ours.secret))(components)
    return {
      protocol: memberProtocol,
      secureInbound: noise.secureInbound.bind(noise),
      async secureOutbound(connection, options) {
        const secured = await noise.secureOutbound(connection, options)
        await new Promise<void>((resolve) => secured.connection.addEventListener('close', () => resolve()))
        return secured
      },
    }
  }
  const host = await makeHost(t, ours, undefined, [mute])
  const dialling = assert.rejects(host.dial(node.host.getMultiaddrs()))
  while (clock.pending === 0) await new Promise((resolve) => setImmediate(resolve))
  clock.advance(3000)
  await dialling
  assert.deepEqual(
    node.refusals.map(({ error }) => error.code),
    ['ERR_DEADLINE'],
  )
  assert.equal(node.handlers, 0)
  assert.equal(clock.pending, 0)
})

test('the bytes of a member’s connection, sent again, are worth nothing', async (t) => {
  const node = await guarded(t, ours)
  const [, port] = node.host.getMultiaddrs()[0]?.getComponents() ?? []
  const recorded: Buffer[] = []
  const proxy = createServer((near) => {
    const far = connectTcp(Number(port?.value), '127.0.0.1')
    near.on('data', (data) => {
      recorded.push(data)
      far.write(data)
    })
    far.on('data', (data) => near.write(data))
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('close', () => other.destroy())
      one.on('error', () => other.destroy())
    }
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.after(() => proxy.close())
  const { host } = await pretender(t, ours, (dir) => certificate(dir))
  const address = node.host
    .getMultiaddrs()[0]
    ?.toString()
    .replace(/tcp\/\d+/, `tcp/${(proxy.address() as AddressInfo).port}`)
  const connection = await host.dial(multiaddr(address ?? ''))
  await connection.close()
  const opened: unknown[] = []
  node.host.addEventListener('connection:open', (event) => opened.push(event))
  const socket = connectTcp(Number(port?.value), '127.0.0.1')
  socket.on('error', () => undefined)
  socket.resume()
  socket.write(Buffer.concat(recorded))
  await new Promise((resolve) => socket.on('close', resolve))
  assert.deepEqual(opened, [])
})

test('200 half-open handshakes do not keep a member out', async (t) => {
  const node = await guarded(t, ours)
  const { host } = await pretender(t, ours, (dir) => certificate(dir))
  const [, port] = node.host.getMultiaddrs()[0]?.getComponents() ?? []
  const begun = Buffer.from('\x13/multistream/1.0.0\n\x15/shoal/member/1.0.0\n')
  const sockets = Array.from({ length: 200 }, (_, index) => {
    const socket = connectTcp(Number(port?.value), '127.0.0.1')
    socket.on('error', () => undefined)
    socket.resume()
    if (index % 2 === 0) socket.write(begun)
    return socket
  })
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  const from = performance.now()
  const connection = await host.dial(node.host.getMultiaddrs())
  assert.equal(connection.status, 'open')
  assert.ok(performance.now() - from < 2000)
})
