import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate, renew } from '../../src/mesh/certificate.ts'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { createInvite, proveInvite } from '../../src/mesh/invite.ts'
import { kick, linksFrom } from '../../src/mesh/kick.ts'
import { type Members, peerIdOf, serial } from '../../src/mesh/members.ts'
import { redeem } from '../../src/mesh/redeem.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { rosterLimits } from '../../src/mesh/roster-places.ts'
import { apart, meet, newKey } from './apart.ts'
import { ManualClock } from './fixture.ts'
import { day, inviting, keyOf, office, plain, serialOf, start } from './office.ts'

const second = 1000
const codeOf = (at: Members, key: { publicKey: Uint8Array }): string | undefined =>
  at.objectionTo(peerIdOf(key.publicKey))?.code

/** What the inviter has let in stays, or nothing does; either way it is not the thief's turn. */
const ends: Record<string, { end: (ann: Members, ivy: Members) => Promise<void>; first: string | undefined }> = {
  kicked: { end: async (ann) => void (await kickMember(ann, keyCalled(ann, 'ivy'), false)), first: undefined },
  'kicked --issued': {
    end: async (ann) => void (await kickMember(ann, keyCalled(ann, 'ivy'), true)),
    first: 'ERR_REVOKED',
  },
  'ended by its own next key': {
    end: async (ann, ivy) => {
      const [issuer, key] = [ivy.issuer(), ivy.key]
      const keep = linksFrom(ann.roster, key, ann.now)
      const said = [revoke(issuer, { kind: 'key', key }, 'rekeyed', ivy.now)]
      said.push(revoke(issuer, { kind: 'issuer', key, keep }, 'rekeyed', ivy.now))
      ann.take(said.map(({ bytes }) => bytes))
    },
    first: undefined,
  },
}

for (const [how, { end, first: expected }] of Object.entries(ends)) {
  test(`who came second with a link stays out when the inviter of the first is ${how}`, async (t) => {
    const clock = new ManualClock()
    const { ann, bea, ivy, make } = await apart(t, clock)
    const ivan = await make({ roles: inviting, name: 'ivan' })
    const all = [ann, bea, ivy, ivan]
    for (const one of all) one.take(all.map((other) => other.own().bytes))
    const secret = serialOf(5)
    const invite = createInvite(ann.issuer(), { secret, roles: plain }, ann.now)
    for (const one of [ivy, ivan]) one.take([invite.bytes])
    const use = async (at: Members, name: string) => {
      const guest = await newKey(t)
      const channel = new Uint8Array(32)
      const [mesh, subject, inviter] = [meshKeyOf(at.genesis), guest.publicKey, at.key]
      const proof = proveInvite({ secret, mesh, subject, inviter, channel })
      const request = { proof, remote: subject, channel, name, serial: serial() }
      const made = redeem({ book: at.roster, issuer: at.issuer() }, request, at.now)
      await at.say([made.certificate, made.redemption])
      return guest
    }
    const first = await use(ivy, 'first')
    clock.sleep(second)
    const thief = await use(ivan, 'thief')
    meet(ann, ivy)
    meet(ann, ivan)
    assert.deepEqual([codeOf(ann, first), codeOf(ann, thief)], [undefined, 'ERR_INVITE_USED'])

    await end(ann, ivy)
    for (const one of [bea, ivan]) meet(ann, one)
    for (const one of [ann, bea, ivan])
      assert.deepEqual([codeOf(one, first), codeOf(one, thief)], [expected, 'ERR_INVITE_USED'])
  })
}

test('that somebody came first is remembered as long as it is here, however full a roster is of what counts no more', () => {
  const { genesis, ann, ivy, hire } = office()
  const ivan = hire(ann, 5, inviting, start, 'ivan')
  const limits = { ...rosterLimits, pools: { ...rosterLimits.pools, passing: 12 }, root: 0 }
  const book = new Roster(genesis, limits)
  const add = (...all: readonly { bytes: Uint8Array }[]): void => {
    for (const { bytes } of all) book.add(bytes, start + day)
  }
  add(ann.certificate, ivy.certificate, ivan.certificate)
  const use = (number: number, inviter: typeof ivy, at: number, secret = serialOf(number)) => {
    const invite = createInvite(inviter, { secret, roles: plain }, start)
    const [subject, channel] = [keyOf(number).publicKey, new Uint8Array(32)]
    const proof = proveInvite({ secret, mesh: invite.body.mesh, subject, inviter: inviter.key.publicKey, channel })
    const other = new Roster(genesis)
    for (const one of [ann, inviter]) other.add(one.certificate.bytes, start)
    other.add(invite.bytes, start)
    const request = { proof, remote: subject, channel, name: `n${number}`, serial: serialOf(number) }
    return redeem({ book: other, issuer: inviter }, request, at)
  }
  const secret = serialOf(50)
  const [first, thief] = [use(10, ivy, start, secret), use(11, ivan, start + 1, secret)]
  add(first.certificate, first.redemption, thief.certificate, thief.redemption)
  // What a stolen key makes up.
  const forged = [12, 13].map((number) => use(number, ivy, start))
  add(...forged.map(({ redemption }) => redemption))
  const needs = { roster: book, issuer: ann, random: serialOf.bind(undefined, 70) }
  add(...kick(needs, ivy.key.publicKey, {}, start + day))
  const isHere = ({ id }: { id: Uint8Array }): boolean => book.missing([id]).length === 0

  for (let number = 0; number < 12; number++) {
    const key = signingKey(new Uint8Array(Buffer.concat([serialOf(number), serialOf(90)])))
    const init = { subject: key.publicKey, name: 'x', roles: plain, serial: serialOf(100 + number) }
    try {
      add(issueCertificate(ann, init, start + day))
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'ERR_ROSTER_FULL')
    }
  }
  assert.deepEqual(
    forged.map(({ redemption }) => isHere(redemption)),
    [false, false],
  )
  assert.equal(isHere(first.redemption), true)
  // The thief shows what it has got.
  assert.throws(() => book.admit(thief.certificate.bytes, keyOf(11).publicKey, start + day), {
    code: 'ERR_INVITE_USED',
  })
  assert.throws(
    () => book.admit(renew(thief.certificate, ivan, start + day, serialOf(80)).bytes, keyOf(11).publicKey, start + day),
    {
      code: 'ERR_INVITE_USED',
    },
  )
  assert.equal(book.verify(keyOf(10).publicKey, start + day).name, 'n10')
})
