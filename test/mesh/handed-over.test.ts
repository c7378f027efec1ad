import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import type { SigningKey } from '../../src/mesh/ed25519.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { type Members, peerIdOf, serial } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { type Follows, handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor, endBefore } from '../../src/mesh/successor.ts'
import { apart, meet, newKey, renewalOf } from './apart.ts'
import { LogBook, ManualClock } from './fixture.ts'
import { rootOf } from './hiring.ts'
import { day, plain } from './office.ts'

type By = Pick<Members, 'issuer' | 'say' | 'now'>

/** What whoever has an administrator's key can say of anybody. */
async function claim(by: By, subject: Uint8Array, follows: Follows): Promise<void> {
  const init = { subject, name: 'bob', roles: plain, follows, serial: serial() }
  await by.say([issueCertificate(by.issuer(), init, by.now)])
}

/** What a thief can say of how the key `forged` comes after the honest one. */
async function claims(t: TestContext, by: Members, honest: Uint8Array, forged: SigningKey): Promise<Follows[]> {
  const mesh = meshKeyOf(by.genesis)
  const [first, before] = [await newKey(t), await newKey(t)]
  const { sig } = handOver(mesh, before, forged.publicKey)
  return [
    { key: honest, via: honest },
    { key: first.publicKey, via: honest },
    { key: honest, via: before.publicKey },
    { key: honest, via: before.publicKey, sig },
  ]
}

const code = (members: Members, { publicKey }: Pick<SigningKey, 'publicKey'>): string | undefined =>
  members.objectionTo(peerIdOf(publicKey))?.code

test('what a stolen administrator’s key says of an honest one ends nothing and keeps nobody from new dates', async (t) => {
  for (let form = 0; form < 4; form += 1) {
    const clock = new ManualClock()
    const { ann, bea: stolen, bob, membership, make } = await apart(t, clock)
    const founder = await make({ root: true, name: 'founder' })
    for (const one of [ann, bob, stolen]) meet(founder, one)
    const forged = await newKey(t)
    const follows = (await claims(t, stolen, bob.key, forged))[form]
    assert.ok(follows !== undefined)
    await claim(stolen, forged.publicKey, follows)
    for (const honest of [ann, founder]) {
      // The forged key is connected, and it is heard of.
      const renewal = renewalOf(honest, clock, [forged.publicKey])
      renewal.start()
      meet(honest, stolen)
      renewal.onUp(peerIdOf(forged.publicKey))
      clock.sleep(day)
      renewal.onRequest(peerIdOf(bob.key), '')
      renewal.stop()
      await honest.saved()
      assert.equal(code(honest, bob.signer), undefined)
      assert.equal(honest.roster.revocationsBy(honest.key).length, 0)
    }
    assert.equal(founder.roster.revocationsBy(rootOf(membership).publicKey).length, 0)
    meet(bob, stolen)
    assert.deepEqual(bob.heirs(), [])
    clock.sleep(16 * day)
    await ann.renewMember(bob.key, '')
    assert.ok(ann.own().body.notAfter > clock.wall())
    // That both are one person, or that nobody knows which, is over with the thief.
    await kickMember(ann, { key: stolen.key }, true)
    assert.equal(ann.rivals().size, 0)
    assert.equal(code(ann, forged), 'ERR_REVOKED')
    assert.equal(code(ann, bob.signer), undefined)
  }
})

test('the word of each key before is in the certificate: whichever of them is still in use ends with the next, years of keys long', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const second = await follow(ann, bob.signer)
  const third = await follow(ann, second)
  const body = ann.roster.certificateOf(third.publicKey, ann.now).body
  assert.deepEqual(body.follows?.key, bob.key)
  assert.ok(body.follows !== undefined && 'sig' in body.follows && 'via' in body.follows)
  // To certify the third has ended the first; the second goes when the third is in use, also by one who certified nothing.
  assert.equal(code(ann, bob.signer), 'ERR_REVOKED')
  assert.equal(code(ann, second), undefined)
  meet(ann, bea)
  await endBefore(bea, third.publicKey)
  assert.equal(code(bea, second), 'ERR_REVOKED')
  assert.equal(code(bea, third), undefined)
})

test('what was certified with the word of the key before is renewed with it, whatever a thief claims beside it', async (t) => {
  const clock = new ManualClock()
  const { ann, bea: stolen, bob, follow } = await apart(t, clock)
  const second = await follow(ann, bob.signer)
  const third = await follow(ann, second)
  clock.sleep(day)
  await claim(stolen, third.publicKey, { key: bob.key, via: second.publicKey })
  meet(ann, stolen)
  clock.sleep(16 * day)
  await ann.renewMember(third.publicKey, '')
  const renewed = ann.roster.certificateOf(third.publicKey, ann.now)
  assert.deepEqual(renewed.body.issuer, ann.key)
  assert.ok(renewed.body.follows !== undefined && 'sig' in renewed.body.follows)
})

test('nobody ends a key by himself with the root key: what that says is never taken back', async (t) => {
  const { bob, follow, membership, make } = await apart(t)
  const founder = await make({ root: true })
  founder.take([bob.own().bytes])
  const next = await follow(founder, bob.signer)
  await endBefore(founder, next.publicKey)
  assert.equal(code(founder, bob.signer), 'ERR_REVOKED')
  assert.equal(founder.roster.revocationsBy(rootOf(membership).publicKey).length, 0)
  assert.equal(founder.roster.revocationsBy(founder.key).length, 1)
})

test('who asks for new dates before it can have heard that its next key was certified is not shut out', async (t) => {
  const clock = new ManualClock()
  const { ann, bob, follow } = await apart(t, clock)
  clock.sleep(16 * day)
  await follow(ann, bob.signer)
  const renewal = renewalOf(ann, clock, [])
  const ask = async (): Promise<void> => {
    renewal.onRequest(peerIdOf(bob.key), '')
    await new Promise((resolve) => setImmediate(resolve))
    await ann.saved()
  }
  await ask()
  assert.equal(code(ann, bob.signer), undefined)
  // It gets no new dates either.
  assert.deepEqual(ann.roster.certificateOf(bob.key, ann.now).id, bob.own().id)
  clock.advance(11 * 60_000)
  await ask()
  assert.equal(code(ann, bob.signer), 'ERR_REVOKED')
})

test('where the root key is, a key that another one follows gets no new dates either, also when its own have run out', async (t) => {
  const clock = new ManualClock()
  const { make, follow } = await apart(t, clock)
  const founder = await make({ root: true })
  const next = await follow(founder, founder.signer)
  const before = founder.own()
  const { follows } = founder.roster.certificateOf(next.publicKey, founder.now).body
  clock.sleep(210 * day)
  await founder.renewSelf()
  assert.deepEqual(founder.own().id, before.id)
  clock.sleep(195 * day)
  const init = { subject: next.publicKey, name: 'node', roles: plain, follows, serial: serial() }
  await founder.say([issueCertificate(founder.highestIssuer(), init, founder.now)])
  assert.equal(founder.objectionToSelf()?.code, 'ERR_NOT_MEMBER')
  await founder.renewSelf()
  assert.equal(founder.objectionToSelf()?.code, 'ERR_NOT_MEMBER')
})

test('what cannot be done about a member is said once, however often it is tried', async (t) => {
  const clock = new ManualClock()
  const { ann, bob, ivy, follow } = await apart(t, clock)
  const next = await follow(ann, bob.signer)
  for (let at = 0; at < 128; at += 1) {
    const target = { kind: 'key' as const, key: Buffer.alloc(32, at + 1) }
    ann.take([revoke(ann.issuer(), target, 'rekeyed', ann.now).bytes])
  }
  const log = new LogBook()
  const renewal = renewalOf(ann, clock, [next.publicKey], { log })
  renewal.start()
  for (let time = 0; time < 5; time += 1) {
    await follow(ann, (await newMember(t, ann)).signer).catch(() => undefined)
    renewal.onRekey(peerIdOf(ivy.key), { key: ivy.key, proof: new Uint8Array(64), consent: new Uint8Array(64) })
    await new Promise((resolve) => setImmediate(resolve))
  }
  renewal.stop()
  await ann.saved()
  const said = log.entries.map(({ message, fields }) => `${message} ${String(fields.code)}`)
  assert.deepEqual(said.toSorted(), [
    'a new key was not certified ERR_SIGNATURE',
    'the key that a member had before was not shut out ERR_LIMIT',
  ])
})

/** Somebody whom an administrator lets in. */
async function newMember(t: TestContext, by: Members): Promise<{ signer: SigningKey }> {
  const signer = await newKey(t)
  const init = { subject: signer.publicKey, name: 'new', roles: plain, serial: serial() }
  await by.say([issueCertificate(by.issuer(), init, by.now)])
  return { signer }
}

test('a key that has said which one follows it gets neither new dates nor another name, until that one is out', async (t) => {
  const { ann, bob } = await apart(t)
  const next = await newKey(t)
  const consent = handOver(meshKeyOf(ann.genesis), bob.signer, next.publicKey)
  await certifySuccessor(ann, next.publicKey, consent)
  meet(ann, bob)
  assert.deepEqual(bob.heirs(), [peerIdOf(next.publicKey)])
  await assert.rejects(ann.renewMember(bob.key, 'robert'), { code: 'ERR_FOLLOWED' })
  // The next one is nobody's heir any more when it is shut out.
  await kickMember(ann, { key: next.publicKey }, false)
  meet(ann, bob)
  assert.deepEqual(bob.heirs(), [])
})
