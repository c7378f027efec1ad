import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { type Issuer, issueCertificate } from '../../src/mesh/certificate.ts'
import type { SigningKey } from '../../src/mesh/ed25519.ts'
import { meshIdOf, meshKeyOf } from '../../src/mesh/genesis.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { Members, peerIdOf, serial, signingKeyOf } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { saveRoster } from '../../src/mesh/roster-file.ts'
import { rosterLimits } from '../../src/mesh/roster-places.ts'
import { hex } from '../../src/mesh/statement.ts'
import { type Follows, handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor, endBefore } from '../../src/mesh/successor.ts'
import { apart, meet, newKey } from './apart.ts'
import { connect, ManualClock, makeMesh, peerEvent, temporaryDirectory } from './fixture.ts'
import { createMembership, membersOf } from './hiring.ts'
import { day, plain, trusted } from './office.ts'

const codeOf = (members: Members, { publicKey }: Pick<SigningKey, 'publicKey'>): string | undefined =>
  members.objectionTo(peerIdOf(publicKey))?.code

const knows = (members: Members): Uint8Array[] => members.roster.bytesOf(members.roster.ids(members.now))

/** Whoever has a key that may says something of another one. */
function certify(
  by: Issuer,
  subject: Uint8Array,
  follows: Follows | undefined,
  now: number,
  roles = plain,
): Uint8Array {
  return issueCertificate(by, { subject, name: 'x', roles, follows, serial: serial() }, now).bytes
}

const consent = ({ genesis }: Members, old: SigningKey, next: SigningKey): Follows =>
  handOver(meshKeyOf(genesis), old, next.publicKey)

/** A machine whose next key an administrator has certified, and which uses that. */
async function nextMachine(t: TestContext, by: Members, old: SigningKey) {
  const stateDir = await temporaryDirectory(t)
  const identity = await loadIdentity(stateDir)
  const key = signingKeyOf(identity)
  await certifySuccessor(by, key.publicKey, handOver(meshKeyOf(by.genesis), old, key.publicKey))
  await saveRoster(stateDir, by.roster, by.now)
  const needs = { clock: systemClock, log: silentLogger }
  const members = await Members.load(needs, stateDir, identity, meshIdOf(by.genesis))
  return { stateDir, key, members }
}

/** A roster that has heard these one after the other, and was asked in between. */
function stepByStep({ genesis, now }: Members, statements: readonly Uint8Array[]): Roster {
  const roster = new Roster(genesis)
  for (const bytes of statements) {
    roster.add(bytes, now)
    roster.members(now)
  }
  return roster
}

for (const order of ['the kick', 'the certificate'] as const) {
  test(`whom another administrator lets follow a kicked key, not knowing of that, is out as soon as both are known, ${order} first`, async (t) => {
    const { ann, bea, bob, follow } = await apart(t)
    await kickMember(ann, keyCalled(ann, 'bob'), false)
    const second = await follow(bea, bob.signer)
    // It was in use, too, and has ended the first as far as bea knows; then it was followed itself.
    await endBefore(bea, second.publicKey)
    const third = await follow(bea, second)
    assert.deepEqual([codeOf(bea, second), codeOf(bea, third)], [undefined, undefined])
    const parts = [knows(ann), knows(bea)]
    const heard = order === 'the kick' ? parts : parts.toReversed()
    for (const admin of [ann, bea]) for (const statements of heard) admin.take(statements)
    for (const admin of [ann, bea])
      assert.deepEqual([codeOf(admin, second), codeOf(admin, third)], ['ERR_REVOKED', 'ERR_REVOKED'])
    assert.deepEqual(ann.roster.digest(ann.now), bea.roster.digest(bea.now))
    // Who comes to be told one statement at a time, in either direction.
    for (const statements of [heard.flat(), heard.flat().toReversed()]) {
      assert.throws(() => stepByStep(ann, statements).verify(third.publicKey, ann.now), { code: 'ERR_REVOKED' })
    }
    // Of the keys in between nothing is left after a month: the first one is named.
    const later = new Roster(ann.genesis)
    const kicks = ann.roster.revocationsBy(ann.key)
    for (const { bytes } of [...kicks, bea.roster.latestOf(third.publicKey)].flatMap((one) => one ?? []))
      later.add(bytes, ann.now)
    assert.throws(() => later.verify(third.publicKey, ann.now), { code: 'ERR_REVOKED' })
    assert.deepEqual(
      ann.roster.fallen(ann.now).map(({ view, after }) => [view.name, after]),
      [
        ['bob', [hex(bob.key)]],
        ['bob', [hex(bob.key)]],
      ],
    )
    // Nobody renews them or lets them be followed.
    await assert.rejects(bea.renewMember(third.publicKey, 'robert'), { code: 'ERR_REVOKED' })
    await assert.rejects(follow(bea, third), { code: 'ERR_REVOKED' })
  })
}

test('a kick of any key in a row takes those after it, and leaves those before it', async (t) => {
  for (let kicked = 0; kicked < 5; kicked += 1) {
    const { ann, bea, bob, follow } = await apart(t)
    const keys = [bob.signer]
    for (let at = 0; at < 4; at += 1) keys.push(await follow(bea, keys.at(-1) ?? bob.signer))
    // Ann knows of none of them, and shuts one out because of what she was told.
    await kickMember(ann, keyCalled(ann, peerIdOf(keys[kicked]?.publicKey ?? ann.key)), false)
    const said = knows(ann)
    meet(ann, bea)
    for (const statements of [[...said, ...knows(bea)], knows(bea).toReversed()]) {
      const roster = stepByStep(ann, statements)
      for (const { publicKey } of keys.slice(kicked))
        assert.throws(() => roster.verify(publicKey, ann.now), { code: 'ERR_REVOKED' })
    }
    for (const admin of [ann, bea]) {
      for (const key of keys.slice(kicked)) assert.equal(codeOf(admin, key), 'ERR_REVOKED')
      // To certify the fifth has ended the first three: that is no kick. The fourth waits for it.
      const fourth = keys[3]
      if (fourth !== undefined && kicked === 4) assert.equal(codeOf(admin, fourth), undefined)
    }
  }
})

test('it stays so after a restart, and connections are dropped at once', { timeout: 60_000 }, async (t) => {
  const membership = createMembership({ name: 'office' })
  const ann = await membersOf(await temporaryDirectory(t), membership)
  const [bea, bob] = [await makeMesh(t, { ...membership }), await makeMesh(t, { ...membership })]
  bea.mesh.members.take([ann.own().bytes, bob.mesh.members.own().bytes])
  const machine = await nextMachine(t, bea.mesh.members, bob.mesh.members.signer)
  const second = await makeMesh(t, { ...membership }, { stateDir: machine.stateDir })
  await connect(bea, second)
  ann.take([bob.mesh.members.own().bytes])
  await kickMember(ann, bob.mesh.members, false)
  const down = peerEvent(bea.mesh, second.mesh.peerId, false)
  bea.mesh.members.take(knows(ann))
  await down
  assert.equal(codeOf(bea.mesh.members, machine.key), 'ERR_REVOKED')
  // Nor does it get in where nothing of it was known.
  const shown = machine.members.own().bytes
  assert.throws(() => ann.admit(shown, machine.key.publicKey), { code: 'ERR_REVOKED' })
  await bea.mesh.stop()
  const again = await makeMesh(t, { ...membership }, { stateDir: bea.stateDir })
  assert.equal(codeOf(again.mesh.members, machine.key), 'ERR_REVOKED')
  assert.equal(again.mesh.members.roster.fallen(Date.now()).length, 1)
  await ann.saved()
})

test('what others say of the same key counts: it is the certificate that is void', async (t) => {
  const { ann, bea, ivy, bob, follow } = await apart(t)
  const second = await follow(bea, bob.signer)
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  meet(ann, bea)
  assert.equal(codeOf(ann, second), 'ERR_REVOKED')
  // Somebody gives this machine a link.
  ann.take([certify(ivy.issuer(), second.publicKey, undefined, ann.now)])
  assert.equal(codeOf(ann, second), undefined)
  assert.deepEqual(ann.roster.fallen(ann.now), [])
  assert.deepEqual(ann.roster.certificateOf(second.publicKey, ann.now).body.issuer, ivy.key)
})

test('a stolen administrator’s key cannot have an honest key go with a kicked one, whoever renews that, or lets it be followed', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, bob, make, follow } = await apart(t, clock)
  const thief = await make({ roles: trusted, name: 'zed' })
  for (const admin of [ann, bea]) admin.take([thief.own().bytes])
  const mal = await newKey(t)
  thief.take([certify(thief.issuer(), mal.publicKey, undefined, thief.now)])
  const first = ann.roster.certificateOf(bob.key, ann.now)
  // Ann has let bob in, and says so once more than the root, whose word ends first.
  await ann.say([issueCertificate(ann.issuer(), { ...first.body, serial: serial(), invite: null }, ann.now)])
  clock.sleep(day)
  thief.take([certify(thief.issuer(), bob.key, consent(thief, mal, bob.signer), thief.now)])
  for (const admin of [ann, bea]) meet(admin, thief)
  meet(ann, bea)
  // At half-time both renew bob; none of them hands on what the thief says.
  clock.sleep(15 * day)
  for (const admin of [ann, bea]) {
    await admin.renewMember(bob.key, admin === ann ? 'bob1' : 'bob2')
    const said = admin.roster.certificatesOf(bob.key, admin.now).find(({ body }) => hex(body.issuer) === hex(admin.key))
    assert.equal(said?.body.follows, undefined)
  }
  meet(ann, bea)
  clock.sleep(15 * day)
  const second = await follow(ann, bob.signer)
  const { follows } = ann.roster.certificateOf(second.publicKey, ann.now).body
  assert.deepEqual(follows?.key, bob.key)
  // What ann has said of the second she says again, whatever the thief says.
  thief.take([certify(thief.issuer(), second.publicKey, consent(thief, mal, second), thief.now)])
  meet(ann, thief)
  clock.sleep(1000)
  await ann.renewMember(second.publicKey, 'bob3')
  assert.deepEqual(ann.roster.certificateOf(second.publicKey, ann.now).body.follows, follows)
  meet(ann, bea)
  await kickMember(ann, keyCalled(ann, peerIdOf(mal.publicKey)), false)
  meet(bea, ann)
  for (const admin of [ann, bea])
    assert.deepEqual(
      [mal, bob.signer, second].map((key) => codeOf(admin, key)),
      ['ERR_REVOKED', undefined, undefined],
    )
})

test('what a stolen administrator’s key says of a key that is long forgotten is over, for who comes after that, as soon as it is kicked', async (t) => {
  const clock = new ManualClock()
  const { ann, bea: thief, bob, follow } = await apart(t, clock)
  const second = await follow(ann, bob.signer)
  ann.take([revoke(bob.issuer(), { kind: 'key', key: bob.key }, 'rekeyed', bob.now).bytes])
  for (let half = 0; half < 5; half += 1) {
    clock.sleep(15.5 * day)
    await ann.renewMember(second.publicKey, '')
  }
  assert.equal(ann.roster.latestOf(bob.key), undefined)
  const mal = await newKey(t)
  thief.take([certify(thief.issuer(), mal.publicKey, undefined, thief.now)])
  meet(ann, thief)
  await kickMember(ann, keyCalled(ann, peerIdOf(mal.publicKey)), false)
  ann.take([certify(thief.issuer(), bob.key, consent(thief, mal, bob.signer), thief.now)])
  assert.equal(codeOf(ann, second), 'ERR_REVOKED')
  assert.equal(
    ann.roster.fallen(ann.now).some(({ view }) => view.peerId === peerIdOf(second.publicKey)),
    true,
  )
  await kickMember(ann, { key: thief.key }, false)
  assert.equal(codeOf(ann, second), undefined)
  await ann.renewMember(second.publicKey, 'bob again')
})

test('who vouches for the key before, and comes after a kicked key itself, vouches in vain; so does who is no administrator', async (t) => {
  const { ann, bea, ivy, make, follow } = await apart(t)
  const boss = await make({ roles: trusted, name: 'boss' })
  for (const one of [ann, bea]) one.take([boss.own().bytes])
  // Boss's key, in the middle of a row, is kicked; the thief of it lets bea certify two more.
  const second = await follow(bea, boss.signer)
  await kickMember(ann, keyCalled(ann, peerIdOf(second.publicKey)), false)
  const third = await follow(bea, second)
  const fourth = await follow(bea, third)
  const issuer = (key: SigningKey): Issuer => ({
    genesis: bea.genesis,
    key,
    certificate: bea.roster.certificateOf(key.publicKey, bea.now),
  })
  bea.take([
    certify(issuer(fourth), third.publicKey, undefined, bea.now),
    certify(ivy.issuer(), third.publicKey, undefined, bea.now),
  ])
  meet(ann, bea)
  for (const admin of [ann, bea]) assert.equal(codeOf(admin, fourth), 'ERR_REVOKED')
  // An inviter's word makes it a member, like any key, and says nothing of the row.
  assert.deepEqual(ann.roster.certificateOf(third.publicKey, ann.now).body.issuer, ivy.key)
})

test('what a key has signed that follows a kicked one goes with it; what those signed whom the kick knew of is kept', async (t) => {
  const { ann, bea, ivy, follow } = await apart(t)
  const known = await follow(ann, ivy.signer)
  const letIn = async (by: Members, key: SigningKey): Promise<SigningKey> => {
    const guest = await newKey(t)
    const issuer = { genesis: by.genesis, key, certificate: by.roster.certificateOf(key.publicKey, by.now) }
    by.take([certify(issuer, guest.publicKey, undefined, by.now)])
    return guest
  }
  const guests = [await letIn(ann, ivy.signer), await letIn(ann, known)]
  const other = await follow(bea, ivy.signer)
  const unheard = await letIn(bea, other)
  assert.deepEqual(await kickMember(ann, keyCalled(ann, 'ivy'), false), [])
  meet(ann, bea)
  for (const admin of [ann, bea]) {
    for (const key of [ivy.signer, known, other, unheard]) assert.equal(codeOf(admin, key), 'ERR_REVOKED')
    for (const guest of guests) assert.equal(codeOf(admin, guest), undefined)
  }
})

test('what a key that follows one has revoked is taken back when the root revokes that one as an issuer', async (t) => {
  const { bea, bob, ivy, make, follow } = await apart(t)
  const [root, boss] = [await make({ root: true }), await make({ roles: trusted, name: 'boss' })]
  bea.take([boss.own().bytes])
  root.take(knows(bea))
  const second = await follow(bea, boss.signer)
  const issuer = { genesis: bea.genesis, key: second, certificate: bea.roster.certificateOf(second.publicKey, bea.now) }
  await kickMember(root, keyCalled(root, 'boss'), true)
  bea.take([revoke(issuer, { kind: 'key', key: bob.key }, 'kicked', bea.now).bytes])
  assert.equal(codeOf(bea, bob.signer), 'ERR_REVOKED')
  meet(root, bea)
  for (const one of [root, bea]) {
    assert.deepEqual(
      [second, bob.signer, ivy.signer].map((key) => codeOf(one, key)),
      ['ERR_REVOKED', undefined, undefined],
    )
  }
})

test('a key that is over because another came after it is no kicked one, and can be kicked for safety', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const second = await follow(ann, bob.signer)
  await endBefore(ann, second.publicKey)
  assert.equal(codeOf(ann, second), undefined)
  const meant = keyCalled(ann, peerIdOf(bob.key))
  assert.deepEqual(meant.others, [])
  await kickMember(ann, meant, false)
  await kickMember(ann, keyCalled(ann, peerIdOf(bob.key)), true)
  meet(ann, bea)
  for (const admin of [ann, bea])
    assert.deepEqual([codeOf(admin, bob.signer), codeOf(admin, second)], ['ERR_REVOKED', undefined])
  assert.equal(ann.roster.revocationsBy(ann.key).filter(({ body }) => body.reason !== 'rekeyed').length, 2)
  // Who means both says so; then nobody is left who would go with the first, and what comes after it goes.
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  assert.equal(codeOf(ann, second), 'ERR_REVOKED')
  await kickMember(ann, keyCalled(ann, peerIdOf(bob.key)), false)
  const other = await newKey(t)
  assert.throws(
    () => ann.admit(certify(bea.issuer(), other.publicKey, consent(bea, bob.signer, other), bea.now), other.publicKey),
    {
      code: 'ERR_REVOKED',
    },
  )
})

test('what a key says of itself ends nothing but itself', async (t) => {
  const { ann, bob, follow } = await apart(t)
  const issuer = bob.issuer()
  const second = await follow(ann, bob.signer)
  ann.take([revoke(issuer, { kind: 'key', key: bob.key }, 'kicked', ann.now).bytes])
  assert.deepEqual([codeOf(ann, bob.signer), codeOf(ann, second)], ['ERR_REVOKED', undefined])
})

test('on the machine that uses the next key, the one before is kicked alone; its name is this machine', async (t) => {
  const { ann, bea } = await apart(t)
  const { members: here, key: second } = await nextMachine(t, ann, ann.signer)
  const { name } = here.own().body
  const old = peerIdOf(ann.key)
  assert.throws(() => keyCalled(here, name), { code: 'ERR_USAGE' })
  assert.throws(() => keyCalled(here, peerIdOf(second.publicKey)), {
    code: 'ERR_USAGE',
    message: 'that is this machine',
  })
  const meant = keyCalled(here, old)
  assert.deepEqual([meant.peerId, meant.others], [old, []])
  await kickMember(here, meant, false)
  meet(here, bea)
  for (const one of [here, bea])
    assert.deepEqual([codeOf(one, ann.signer), codeOf(one, second)], ['ERR_REVOKED', undefined])
  await here.saved()
})

test('certificates that show who comes after a kicked key keep their places', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const second = await follow(bea, bob.signer)
  meet(ann, bea)
  await kickMember(ann, keyCalled(ann, peerIdOf(second.publicKey)), false)
  const third = await follow(bea, second)
  const fourth = await follow(bea, third)
  await endBefore(bea, fourth.publicKey)
  const small = { ...rosterLimits, shares: { ...rosterLimits.shares, issued: { own: 6, below: 12 } } }
  const roster = new Roster(ann.genesis, small)
  for (const bytes of [...knows(bea), ...knows(ann)]) roster.add(bytes, ann.now)
  // The certificate of the third counts for nothing by itself: that key is over.
  const fill = async (): Promise<void> => {
    for (;;) roster.add(certify(bea.issuer(), (await newKey(t)).publicKey, undefined, bea.now), bea.now)
  }
  await assert.rejects(fill, { code: 'ERR_ROSTER_FULL' })
  for (const { publicKey } of [third, fourth])
    assert.throws(() => roster.verify(publicKey, ann.now), { code: 'ERR_REVOKED' })
})

test('who was away when its certificate became void is let in with that, where another one speaks for it by now', async (t) => {
  const { ann, ivy } = await apart(t)
  const guests = await Promise.all(Array.from({ length: 14 }, () => newKey(t)))
  const shown = guests.map(({ publicKey }) => certify(ivy.issuer(), publicKey, undefined, ivy.now))
  ann.take(shown)
  assert.deepEqual(await kickMember(ann, keyCalled(ann, 'ivy'), false), [])
  // Or with one that nobody has seen yet.
  shown[0] = certify(ivy.issuer(), guests[0]?.publicKey ?? ann.key, undefined, ivy.now)
  const before = ann.roster.size
  for (const [at, { publicKey }] of guests.entries()) {
    ann.admit(shown[at] ?? new Uint8Array(), publicKey)
    assert.throws(() => ann.admit(shown[at] ?? new Uint8Array(), ann.key), { code: 'ERR_REPLAYED' })
  }
  assert.equal(ann.roster.size, before)
  const other = await newKey(t)
  const late = certify(ivy.issuer(), other.publicKey, undefined, ivy.now)
  assert.throws(() => ann.admit(late, other.publicKey), { code: 'ERR_REVOKED' })
})
