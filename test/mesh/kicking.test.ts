import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { kickMember, promote } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { serial, signingKeyOf } from '../../src/mesh/members.ts'
import { bothUp, connect, LogBook, makeMesh, peerEvent, type TestMesh, temporaryDirectory } from './fixture.ts'
import { createMembership, hire, rootOf } from './hiring.ts'

const sees = (node: TestMesh, other: TestMesh): boolean =>
  node.mesh.peers().some(({ peerId, connected }) => connected && peerId === other.mesh.peerId)

/** Whatever `b` has sent to `a` was read: statements of `a` that come behind it are here. */
async function peerAnswered(a: TestMesh, b: TestMesh): Promise<void> {
  const size = b.mesh.members.roster.size
  const subject = rootOf({ secret: new Uint8Array(32).fill(200) }).publicKey
  const init = { subject, name: 'guest', roles: ['member'] as const, serial: serial() }
  await delay(50)
  await a.mesh.members.say([issueCertificate(a.mesh.members.issuer(), init, Date.now())])
  while (b.mesh.members.roster.size === size) await delay(10)
}

/** More in a nightly run: `SHOAL_TRIALS`. */
const trials = Number(process.env.SHOAL_TRIALS ?? 3)

test('who is kicked loses its connections to all nine others at once, and gets in nowhere again', {
  timeout: 60_000 + trials * 5000,
}, async (t) => {
  const membership = createMembership({ name: 'office' })
  const nodes: TestMesh[] = []
  for (let number = 0; number < 9; number++) nodes.push(await makeMesh(t, { ...membership }))
  await connect(...nodes)
  const seeds = nodes.flatMap(({ mesh }) => mesh.addresses())
  const times: number[] = []
  for (let trial = 0; trial < trials; trial++) {
    const log = new LogBook()
    const kicked = await makeMesh(t, { ...membership, seeds }, {}, { log })
    const met = nodes.map((node) => bothUp(node.mesh, kicked.mesh))
    await kicked.mesh.start()
    await Promise.all(met)
    const boss = nodes[trial % nodes.length]
    assert.ok(boss)
    const from = performance.now()
    const downs = nodes.map(async (node) => {
      await peerEvent(node.mesh, kicked.mesh.peerId, false)
      times.push(performance.now() - from)
    })
    await kickMember(boss.mesh.members, kicked.mesh.members, false)
    await Promise.all(downs)
    // It dials them again, and is told why not.
    await log.code('ERR_REVOKED')
    // And it knows itself, so it lets in nobody else.
    while (kicked.mesh.members.objectionToSelf()?.code !== 'ERR_REVOKED') await delay(10)
    assert.ok(nodes.every((node) => !sees(node, kicked)))
    assert.ok(nodes.every((node) => nodes.every((other) => node === other || sees(node, other))))
    await kicked.mesh.stop()
  }
  const sorted = times.toSorted((a, b) => a - b)
  const p99 = sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.POSITIVE_INFINITY
  t.diagnostic(
    `${times.length} drops, half within ${sorted[sorted.length >> 1]?.toFixed(1)} ms, 99 % within ${p99.toFixed(1)} ms`,
  )
})

test('a node that was away hears of it from the first member that it meets, before anything else', {
  timeout: 60_000,
}, async (t) => {
  const membership = createMembership({ name: 'office' })
  const [boss, away, kicked] = [
    await makeMesh(t, { ...membership }),
    await makeMesh(t, { ...membership }),
    await makeMesh(t, { ...membership }),
  ]
  await connect(boss, away, kicked)
  await away.mesh.stop()
  await kickMember(boss.mesh.members, kicked.mesh.members, false)
  const { peerId } = kicked.mesh
  let knewAtOnce: boolean | undefined
  const back = await makeMesh(t, { ...membership, seeds: boss.mesh.addresses() }, { stateDir: away.stateDir })
  assert.equal(back.mesh.members.objectionTo(peerId), undefined)
  const met = new Promise<void>((resolve) => {
    back.mesh.onPeer((who, up) => {
      if (who !== boss.mesh.peerId || !up) return
      knewAtOnce = back.mesh.members.objectionTo(peerId)?.code === 'ERR_REVOKED'
      resolve()
    })
  })
  await back.mesh.start()
  await met
  assert.equal(knewAtOnce, true)
  assert.ok(!sees(back, kicked))
})

test('a member cannot let others in, and what a stolen inviter signs after kick --issued is void', {
  timeout: 60_000,
}, async (t) => {
  const membership = createMembership({ name: 'office' })
  const boss = await makeMesh(t, { ...membership })
  const inviterDir = await temporaryDirectory(t)
  await hire(inviterDir, membership, { roles: ['member', 'lender', 'inviter'], name: 'ivy' })
  const inviter = await makeMesh(t, { ...membership }, { stateDir: inviterDir })
  const memberDir = await temporaryDirectory(t)
  await hire(memberDir, membership, { roles: ['member', 'lender'], name: 'max' })
  const plain = await makeMesh(t, { ...membership }, { stateDir: memberDir })
  await connect(boss, inviter, plain)

  const guestDir = await temporaryDirectory(t)
  const subject = signingKeyOf(await loadIdentity(guestDir)).publicKey
  const init = { subject, name: 'guest', roles: ['member'] as const, serial: serial() }
  assert.throws(() => issueCertificate(plain.mesh.members.issuer(), init, Date.now()), { code: 'ERR_ROLE' })

  const thief = inviter.mesh.members.issuer()
  const issued = issueCertificate(thief, init, Date.now() - 1000)
  await kickMember(boss.mesh.members, inviter.mesh.members, true)
  const later = issueCertificate(thief, { ...init, serial: serial() }, Date.now() - 2000)
  for (const { bytes } of [issued, later]) {
    assert.throws(() => boss.mesh.members.admit(bytes, subject), { code: 'ERR_REVOKED' })
  }
})

test('certificates are renewed by whoever may, and a promotion is known everywhere', { timeout: 60_000 }, async (t) => {
  const membership = createMembership({ name: 'office' })
  const boss = await makeMesh(t, { ...membership })
  const oldDir = await temporaryDirectory(t)
  const days = 24 * 3_600_000
  const hiredAt = Date.now() - 20 * days
  await hire(oldDir, membership, { roles: ['member', 'lender'], name: 'old', now: hiredAt, lifetimeMs: 30 * days })
  const old = await makeMesh(t, { ...membership }, { stateDir: oldDir })
  const before = old.mesh.members.own().body.notAfter
  await connect(boss, old)
  while (old.mesh.members.own().body.notAfter <= before) await delay(10)
  assert.deepEqual(old.mesh.members.own().body.issuer, boss.mesh.members.key)

  await promote(boss.mesh.members, boss.mesh.members.member(old.mesh.peerId), 'inviter')
  while (!old.mesh.members.own().body.roles.includes('inviter')) await delay(10)
  assert.equal(old.mesh.askForName('gold'), true)
  while (old.mesh.members.own().body.name !== 'gold') await delay(10)
  assert.ok(old.mesh.members.own().body.roles.includes('inviter'))
  // Once a minute.
  old.mesh.askForName('lead')
  await peerAnswered(boss, old)
  assert.equal(old.mesh.members.own().body.name, 'gold')
})

test('rosters that differ become equal before peers are up, whoever has more', { timeout: 60_000 }, async (t) => {
  const membership = createMembership({ name: 'office' })
  const [a, b] = [await makeMesh(t, { ...membership }), await makeMesh(t, { ...membership })]
  const root = { genesis: a.mesh.members.genesis, key: rootOf(membership) }
  for (const [node, count] of [
    [a, 70],
    [b, 40],
  ] as const) {
    const guests = Array.from({ length: count }, (_, index) => {
      const subject = rootOf({ secret: new Uint8Array(32).fill(index + count) }).publicKey
      return issueCertificate(root, { subject, name: `g${index}`, roles: ['member'], serial: serial() }, Date.now())
    })
    await node.mesh.members.say(guests)
  }
  let digests: string[] = []
  const digestOf = ({ mesh }: TestMesh): string => Buffer.from(mesh.members.roster.digest(Date.now())).toString('hex')
  a.mesh.onPeer((_peer, up) => {
    if (up) digests = [digestOf(a), digestOf(b)]
  })
  b.membership.seeds = []
  await a.mesh.start()
  b.membership.seeds = a.mesh.addresses()
  const up = bothUp(a.mesh, b.mesh)
  await b.mesh.start()
  await up
  assert.equal(digestOf(a), digestOf(b))
  assert.equal(a.mesh.members.roster.size, 112)
  assert.equal(digests[0], digestOf(a))
})
