import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { invite, keyCalled, kickMember, memberCalled, promote } from '../../src/mesh/administer.ts'
import { type Certificate, type Issuer, issueCertificate, type Role } from '../../src/mesh/certificate.ts'
import type { SigningKey } from '../../src/mesh/ed25519.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { allLinksFrom, standingWithout } from '../../src/mesh/kick.ts'
import { type Members, peerIdOf, serial } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { hex } from '../../src/mesh/statement.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { apart, meet, newKey } from './apart.ts'
import { ManualClock } from './fixture.ts'
import { day, plain, trusted } from './office.ts'

/** All that there is: more than an administrator has. */
const everything: Role[] = ['member', 'lender', 'ci', 'inviter', 'admin']

const codeOf = (at: Members, key: { publicKey: Uint8Array }): string | undefined =>
  at.objectionTo(peerIdOf(key.publicKey))?.code

type More = Partial<Parameters<typeof issueCertificate>[1]>
const sign = (by: Issuer, subject: Uint8Array, roles: readonly Role[], at: number, more: More = {}): Certificate =>
  issueCertificate(by, { subject, name: 'x', roles, serial: serial(), ...more }, at)

/** An administrator two certificates below the root: bea has made it one. */
async function promoted(t: TestContext, bea: Members): Promise<Issuer & { key: SigningKey }> {
  const key = await newKey(t)
  const certificate = sign(bea.issuer(), key.publicKey, trusted, bea.now)
  bea.take([certificate.bytes])
  return { genesis: bea.genesis, key, certificate }
}

for (const issued of [false, true]) {
  test(`what an administrator signs does not hang on a thief who has signed for her, ${issued ? 'with' : 'without'} --issued`, async (t) => {
    const { ann, bea, bob, make } = await apart(t)
    const root = await make({ root: true, name: 'founder' })
    const zed = await make({ roles: trusted, name: 'zed' })
    const all = [root, ann, bea, zed]
    for (const one of all) one.take([...all, bob].map((other) => other.own().bytes))
    zed.take([sign(zed.issuer(), ann.key, everything, zed.now).bytes])
    meet(ann, zed)
    assert.equal(ann.own().chain.length, 0)

    await kickMember(ann, keyCalled(ann, 'bob'), false)
    const guest = await newKey(t)
    ann.take([sign(ann.issuer(), guest.publicKey, plain, ann.now).bytes])
    meet(ann, root)
    await kickMember(root, keyCalled(root, 'zed'), issued)
    for (const one of [ann, bea]) meet(root, one)
    for (const one of [root, ann, bea])
      assert.deepEqual([codeOf(one, bob.signer), codeOf(one, guest)], ['ERR_REVOKED', undefined])
  })
}

test('nobody takes from an administrator that she can let others in, and kicks who has tried stand on nothing of his', async (t) => {
  const { ann, bea, bob } = await apart(t)
  const zed = await promoted(t, bea)
  bea.take([sign(zed, ann.key, everything, bea.now).bytes])
  meet(ann, bea)
  assert.equal(ann.roster.certificatesOf(ann.key, ann.now).length, 2)
  assert.equal(ann.own().chain.length, 0)
  await invite(ann, 'member', [])
  await ann.renewMember(bob.key, 'bobby')

  await kickMember(ann, keyCalled(ann, peerIdOf(zed.key.publicKey)), true)
  assert.equal(ann.roster.certificatesOf(ann.key, ann.now).length, 1)
  await invite(ann, 'member', [])
})

test('of certificates as near to the root, that of who is shut out is the last, and is not kept for the one who kicks', async (t) => {
  const { bea, make } = await apart(t)
  const zed = await make({ roles: trusted, name: 'zed' })
  // Made an administrator by bea, and then by the thief.
  const { key: cat, certificate } = await promoted(t, bea)
  const catsBy = (): Certificate => bea.roster.certificateOf(cat.publicKey, bea.now)
  bea.take([zed.own().bytes, sign(zed.issuer(), cat.publicKey, everything, bea.now + 1).bytes])
  assert.deepEqual(catsBy().body.issuer, zed.key)
  await kickMember(bea, keyCalled(bea, 'zed'), false)
  assert.deepEqual(catsBy().id, certificate?.id)

  // Whoever kicks signs with what does not hang on whom it kicks, and keeps nothing of that.
  const { ann, make: hireAt, bea: boss } = await apart(t)
  const thief = await hireAt({ roles: trusted, name: 'thief' })
  const dora = await hireAt({ roles: plain, name: 'dora' })
  dora.take([ann, boss, thief].map((one) => one.own().bytes))
  dora.take(
    [sign(boss.issuer(), dora.key, trusted, dora.now), sign(thief.issuer(), dora.key, everything, dora.now)].map(
      ({ bytes }) => bytes,
    ),
  )
  assert.deepEqual(dora.own().body.issuer, thief.key)
  await kickMember(dora, keyCalled(dora, 'thief'), true)
  const said = dora.roster.revocationsBy(dora.key)
  assert.equal(said.length, 2)
  for (const { chain } of said) assert.deepEqual(chain[0]?.body.issuer, boss.key)
  for (const { body } of said) assert.equal(body.target.kind === 'issuer' ? body.target.keep.length : 0, 0)
  assert.deepEqual(dora.own().body.issuer, boss.key)
  await invite(dora, 'member', [])
})

test('whom a thief gives new dates again and again still asks others who let it go on', async (t) => {
  const clock = new ManualClock()
  const { bea } = await apart(t, clock)
  const zed = await promoted(t, bea)
  const cat = await promoted(t, bea)
  clock.sleep(16 * day)
  bea.take([sign(zed, cat.key.publicKey, trusted, bea.now).bytes])
  assert.equal(bea.roster.certificatesOf(cat.key.publicKey, bea.now).length, 2)
  await bea.renewMember(cat.key.publicKey, '')
  const own = bea.roster.certificateOf(cat.key.publicKey, bea.now)
  assert.deepEqual([own.chain.length, own.body.notBefore], [1, bea.now])
})

test('to promote who is nearer to the root is refused where it would change nothing', async (t) => {
  const { ann, bea, make } = await apart(t)
  await assert.rejects(promote(bea, ann.roster.verify(ann.key, ann.now), 'ci'), { code: 'ERR_ROLE' })
  const root = await make({ root: true, name: 'founder' })
  root.take([ann.own().bytes])
  await promote(root, root.roster.verify(ann.key, root.now), 'ci')
  assert.deepEqual(root.roster.verify(ann.key, root.now).roles, everything)
  await promote(bea, memberCalled(bea, 'ivy'), 'admin')
  assert.deepEqual(memberCalled(bea, 'ivy').roles, trusted)
})

for (const agreed of [false, true]) {
  test(`a thief's word on whom somebody follows is over with the thief, ${agreed ? 'with' : 'without'} the word of the key before`, async (t) => {
    const clock = new ManualClock()
    const { ann, bea, ivy, make } = await apart(t, clock)
    const zed = await make({ roles: trusted, name: 'zed' })
    for (const one of [ann, bea]) one.take([zed.own().bytes])
    const [hal, mal] = [await newKey(t), await newKey(t)]
    ann.take([sign(ivy.issuer(), hal.publicKey, plain, ann.now).bytes])
    zed.take([sign(zed.issuer(), mal.publicKey, plain, zed.now, { name: 'mal' }).bytes])
    meet(ann, zed)
    meet(ann, bea)
    clock.sleep(16 * day)
    const { key, sig } = handOver(meshKeyOf(zed.genesis), mal, hal.publicKey)
    const follows = agreed ? { key, sig } : { key, via: key }
    zed.take([sign(zed.issuer(), hal.publicKey, everything, zed.now, { follows }).bytes])
    meet(ann, zed)

    await kickMember(ann, keyCalled(ann, 'zed'), false)
    assert.equal(codeOf(ann, hal), undefined)
    await ann.renewMember(hal.publicKey, 'hal')
    const said = ann.roster.certificatesOf(hal.publicKey, ann.now).map(({ body }) => body.follows)
    assert.deepEqual(
      said.filter((follows) => follows !== undefined),
      [],
    )
    // Away since before the thief has said anything.
    await kickMember(bea, keyCalled(bea, 'mal'), false)
    clock.sleep(16 * day)
    meet(ann, bea)
    for (const one of [ann, bea]) assert.equal(codeOf(one, hal), undefined)
  })
}

test('what an administrator has said of a next key outlasts it where nobody else has signed for that key', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const next = await follow(bea, bob.signer)
  meet(ann, bea)
  await kickMember(ann, keyCalled(ann, peerIdOf(bea.key)), false)
  await ann.renewMember(next.publicKey, 'bobby')
  const all = ann.roster.certificatesOf(next.publicKey, ann.now)
  const [own] = all.filter(({ body }) => Buffer.compare(body.issuer, ann.key) === 0)
  assert.deepEqual(own?.body.follows?.key, bob.key)
})

test('whom somebody has given new dates keeps these when that one is kicked', async (t) => {
  const clock = new ManualClock()
  const { ann, bea, ivy } = await apart(t, clock)
  const hal = await newKey(t)
  ann.take([sign(ivy.issuer(), hal.publicKey, plain, ann.now).bytes])
  clock.sleep(16 * day)
  meet(ann, bea)
  await bea.renewMember(hal.publicKey, '')
  meet(ann, bea)
  clock.sleep(10 * day)
  await kickMember(ann, keyCalled(ann, peerIdOf(bea.key)), false)
  // Away in the meantime.
  clock.sleep(15 * day)
  assert.equal(codeOf(ann, hal), undefined)
})

test('an inviter that changes its key keeps what it has signed for a guest, although somebody else’s word goes before it', async (t) => {
  const clock = new ManualClock()
  const { ann, ivy, make } = await apart(t, clock)
  const zed = await make({ roles: trusted, name: 'zed' })
  for (const one of [ann, ivy]) one.take([zed.own().bytes, ivy.own().bytes])
  const gus = await newKey(t)
  ann.take([sign(ivy.issuer(), gus.publicKey, plain, ann.now).bytes])
  clock.sleep(1000)
  ann.take([sign(zed.issuer(), gus.publicKey, plain, ann.now).bytes])
  const keep = allLinksFrom(ann.roster, ivy.key, ann.now)
  assert.equal(keep.length, 1)
  ann.take([revoke(ivy.issuer(), { kind: 'issuer', key: ivy.key, keep }, 'rekeyed', ivy.now).bytes])
  await kickMember(ann, keyCalled(ann, 'zed'), true)
  assert.equal(ann.objectionTo(peerIdOf(gus.publicKey)), undefined)
})

test('who kicks does not go over to a certificate that ends soon, and keeps the one that hangs on whom it kicks', async (t) => {
  const clock = new ManualClock()
  const { ann, bea } = await apart(t, clock)
  const key = await newKey(t)
  const give = (by: Members, days: number): Uint8Array => {
    const init = { subject: key.publicKey, name: 'carl', roles: trusted, serial: serial(), lifetimeMs: days * day }
    return issueCertificate(by.issuer(), init, by.now).bytes
  }
  bea.take([give(ann, 2), give(bea, 20)])
  clock.sleep(1.9 * day)
  const all = bea.roster.certificatesOf(key.publicKey, bea.now)
  const byBea = all.find(({ body }) => hex(body.issuer) === hex(bea.key))
  assert.ok(byBea)
  assert.equal(all.length, 2)
  const carl = { genesis: bea.genesis, key, certificate: byBea }
  assert.equal(standingWithout(bea.roster, carl, [bea.key], bea.now).certificate, byBea)
  assert.notEqual(standingWithout(bea.roster, carl, [bea.key], bea.now - day).certificate, byBea)
})
