import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import {
  type Certificate,
  type Issuer,
  issueCertificate,
  lifetimeMs,
  needsRenewal,
  renew,
} from '../../src/mesh/certificate.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { createInvite } from '../../src/mesh/invite.ts'
import { Members, peerIdOf, serial, signingKeyOf } from '../../src/mesh/members.ts'
import { Renewal } from '../../src/mesh/renewal.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { saveRoster } from '../../src/mesh/roster-file.ts'
import { afterwards, LogBook, ManualClock, temporaryDirectory } from './fixture.ts'
import { createMembership, genesisOf, rootOf } from './hiring.ts'
import { day, hour, inviting, office, plain, serialOf, start, trusted } from './office.ts'

test('an inviter whose certificate a farther administrator renewed is an inviter still', () => {
  const o = office()
  const second = o.hire(o.ann, 5, trusted)
  const book = o.roster(o.ann, second, o.ivy)
  const now = start + 16 * day
  const { publicKey } = o.ivy.key
  book.add(renew(book.certificateOf(publicKey, now), second, now, serialOf(1)).bytes, now)
  const issuer = { genesis: o.genesis, key: o.ivy.key, certificate: book.certificateOf(publicKey, now) }
  assert.ok(createInvite(issuer, { secret: serialOf(2), roles: plain }, now))
  // When the better one is over, the other speaks: a member, that can let in nobody.
  const late = start + lifetimeMs + 2 * day
  const { chain, body } = book.certificateOf(publicKey, late)
  assert.deepEqual({ length: chain.length, roles: body.roles }, { length: 2, roles: inviting })
})

test('who gets another name far from the root keeps its place close to it', () => {
  const o = office()
  const boss = o.hire(o.root, 5, trusted, start, 'boss')
  const book = o.roster(o.ann, boss)
  const { key: subject, roles } = book.verify(boss.key.publicKey, start)
  const named = issueCertificate(o.ann, { subject, name: 'chief', roles, serial: serialOf(3) }, start + 1)
  book.add(named.bytes, start + 1)
  assert.equal(book.verify(subject, start + 1).name, 'chief')
  assert.equal(book.certificateOf(subject, start + 1).chain.length, 0)
  assert.ok(book.members(start + 1).some(({ name }) => name === 'chief'))
  // Who may grant less than it is cannot name it.
  const fake = issueCertificate(o.ivy, { subject, name: 'fake', roles: plain, serial: serialOf(4) }, start + 2)
  book.add(fake.bytes, start + 2)
  assert.equal(book.verify(subject, start + 2).name, 'chief')
})

/** A mesh in which nodes are made by hand, with a clock that stands. */
async function mesh() {
  const clock = new ManualClock()
  const membership = createMembership({ name: 'office' })
  const root: Issuer = { genesis: genesisOf(membership.secret, membership), key: rootOf(membership) }
  const node = async (t: TestContext, by: Issuer, roles = trusted, withRoot = false) => {
    const dir = await temporaryDirectory(t)
    const identity = await loadIdentity(dir)
    const key = signingKeyOf(identity)
    const init = { subject: key.publicKey, name: 'node', roles, serial: serial() }
    const certificate = issueCertificate(by, init, clock.wall())
    const roster = new Roster(root.genesis)
    roster.add(certificate.bytes, clock.wall())
    await saveRoster(dir, roster, clock.wall())
    const seed = Buffer.from(membership.secret).toString('base64')
    if (withRoot) await writeFile(join(dir, 'root.key'), `${seed}\n`, { mode: 0o600 })
    const members = await Members.load({ clock, log: silentLogger }, dir, identity, membership.id)
    afterwards(t, () => members.saved())
    return members
  }
  return { clock, root, node }
}

function meet(...all: Members[]): void {
  for (const one of all) for (const other of all) other.take(one.roster.bytesOf(one.roster.ids(one.now)))
}

test('the root signs for who may let others in, where it is kept', async (t) => {
  const { clock, root, node } = await mesh()
  const founder = await node(t, root, trusted, true)
  const boss = await node(t, founder.issuer())
  const ivy = await node(t, boss.issuer(), inviting)
  const max = await node(t, founder.issuer(), plain)
  meet(founder, boss, ivy, max)
  assert.deepEqual(
    [boss, ivy].map((who) => who.own().chain.length),
    [1, 2],
  )
  for (const { key } of [boss, ivy]) await founder.renewMember(key, '')
  const depths = [boss, ivy].map(({ key }) => founder.roster.certificateOf(key, founder.now).chain.length)
  assert.deepEqual(depths, [0, 0])
  await assert.rejects(founder.renewMember(boss.key, ''), { code: 'ERR_LIMIT' })
  await assert.rejects(founder.renewMember(max.key, ''), { code: 'ERR_LIMIT' })
  clock.sleep(16 * day)
  await founder.renewMember(max.key, '')
  assert.deepEqual(founder.roster.certificateOf(max.key, founder.now).body.issuer, founder.key)
})

test('administrators with certificates of the root keep a mesh alive for a year without the machine that founded it', () => {
  const o = office()
  const admins = [o.hire(o.root, 5, trusted), o.hire(o.root, 6, trusted), o.hire(o.root, 7, trusted)]
  const others = [o.hire(o.ann, 8, plain), o.ivy]
  const book = o.roster(...admins, ...others)
  const people = [...admins, ...others].map(({ key }) => key.publicKey)
  const rights = (certificate: Certificate): number => certificate.body.roles.length
  for (let now = start; now < start + 390 * day; now += 12 * hour) {
    for (const key of people) {
      const all = book.certificatesOf(key, now)
      if (all.some((one) => rights(one) === rights(all[0]) && !needsRenewal(one, now))) continue
      const by = admins.find((admin) => Buffer.compare(admin.key.publicKey, key) !== 0)
      assert.ok(by)
      const certificate = book.certificateOf(by.key.publicKey, now)
      book.add(renew(all[0], { genesis: o.genesis, key: by.key, certificate }, now, serial()).bytes, now)
    }
    assert.equal(book.members(now).length, 5)
  }
})

test('a node asks those from whom it gets a certificate with which it can go on', async (t) => {
  const { clock, root, node } = await mesh()
  const founder = await node(t, root)
  const first = await node(t, root)
  const second = await node(t, first.issuer())
  const ivy = await node(t, first.issuer(), inviting)
  meet(founder, first, second, ivy)
  const asked: string[] = []
  let peers: Members[] = []
  const renewal = new Renewal({
    clock,
    random: () => 0,
    log: silentLogger,
    members: ivy,
    peers: () => peers.map(({ key }) => peerIdOf(key)),
    send: (peerId) => asked.push(peerId) > 0,
  })
  const ask = async (...who: Members[]): Promise<string[]> => {
    peers = who
    asked.length = 0
    renewal.start()
    await new Promise((resolve) => setImmediate(resolve))
    renewal.stop()
    return asked
  }
  assert.deepEqual(await ask(founder), [])
  clock.sleep(16 * day)
  assert.deepEqual(await ask(second), [])
  assert.deepEqual(await ask(second, first), [peerIdOf(first.key)])
  // With the certificate of a farther one it would let in nobody, but better that than out.
  clock.sleep(10 * day)
  assert.deepEqual(await ask(second), [peerIdOf(second.key)])
  assert.deepEqual(await ask(second, first), [peerIdOf(first.key)])
})

test('it is said when no administrator has a certificate of the root', async (t) => {
  const { clock, root, node } = await mesh()
  const founder = await node(t, root)
  const second = await node(t, founder.issuer())
  const log = new LogBook()
  const needs = { clock, random: () => 0, log, peers: () => [], send: () => false }
  const said = (members: Members): number => {
    log.entries.length = 0
    const renewal = new Renewal({ ...needs, members })
    renewal.start()
    renewal.stop()
    return log.entries.filter(({ fields }) => fields.code === 'ERR_CHAIN_LENGTH').length
  }
  assert.equal(said(founder), 0)
  assert.equal(said(second), 1)
  clock.sleep(371 * day)
  assert.equal(said(founder), 1)
})

test('a member gets ten other names a day, once a minute', async (t) => {
  const { clock, root, node } = await mesh()
  const boss = await node(t, root)
  const max = await node(t, boss.issuer(), plain)
  meet(boss, max)
  const needs = { clock, random: () => 0, log: silentLogger, peers: () => [], send: () => false }
  const renewal = new Renewal({ ...needs, members: boss })
  const names = new Set<string>()
  const ask = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) {
      clock.advance(60_000)
      renewal.onRequest(peerIdOf(max.key), `max ${clock.now()}`)
      await new Promise((resolve) => setImmediate(resolve))
      names.add(boss.member(peerIdOf(max.key)).name)
    }
  }
  await ask(30)
  assert.equal(names.size, 10)
  assert.equal(boss.roster.size, 3)
  clock.advance(day)
  await ask(1)
  assert.equal(names.size, 11)
})

test('whom an inviter has let in that is never there again gets new dates from an administrator, and stays its guest', async (t) => {
  const { clock, root, node } = await mesh()
  const boss = await node(t, root)
  const [ivy, other] = [await node(t, boss.issuer(), inviting), await node(t, boss.issuer(), inviting)]
  const max = await node(t, ivy.issuer(), plain)
  meet(boss, ivy, other, max)
  const asked: string[] = []
  const of = (members: Members, peers: Members[], to?: Renewal): Renewal =>
    new Renewal({
      clock,
      random: () => 0,
      log: silentLogger,
      members,
      peers: () => peers.map(({ key }) => peerIdOf(key)),
      send: (peerId) => {
        asked.push(peerId)
        to?.onRequest(peerIdOf(members.key), '')
        return true
      },
    })
  for (let half = 0; half < 5; half += 1) {
    clock.sleep(15 * day + hour)
    // Other inviters are not asked in vain.
    const alone = of(max, [other])
    alone.start()
    alone.stop()
    assert.deepEqual(asked, [])
    const renewed = new Promise((resolve) => boss.onChange(resolve))
    const renewal = of(max, [other, boss], of(boss, []))
    // Those who are asked are members all the while.
    boss.take([
      issueCertificate(root, { subject: boss.key, name: 'node', roles: trusted, serial: serial() }, boss.now).bytes,
    ])
    max.take(boss.roster.bytesOf(boss.roster.ids(boss.now)))
    renewal.start()
    renewal.stop()
    await renewed
    await boss.saved()
    max.take(boss.roster.bytesOf(boss.roster.ids(boss.now)))
    assert.deepEqual(asked.splice(0), [peerIdOf(boss.key)])
    assert.deepEqual(max.own().body.invitedBy, ivy.key)
    assert.equal(max.isDue(true), false)
  }
  assert.throws(() => max.roster.verify(ivy.key, max.now))
})
