import assert from 'node:assert/strict'
import { test } from 'node:test'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { loadRoster, saveRoster } from '../../src/mesh/roster-file.ts'
import { rosterLimits } from '../../src/mesh/roster-places.ts'
import { signStatement } from '../../src/mesh/statement.ts'
import { temporaryDirectory } from './fixture.ts'
import { hour, keyOf, office, plain, serialOf, start, trusted } from './office.ts'

const now = start + hour

test('a roster that an earlier version wrote, which had more places, is read whole', async (t) => {
  const o = office()
  const shares = { ...rosterLimits.shares, ends: rosterLimits.shares.orders }
  const pools = { ...rosterLimits.pools, ends: rosterLimits.pools.orders }
  const before = new Roster(o.genesis, { ...rosterLimits, shares, pools })
  const bosses = [71, 72].map((number) => o.hire(o.ann, number, trusted))
  for (const { certificate } of [o.ann, o.ivy, o.max, ...bosses]) before.add(certificate.bytes, start)
  for (const boss of bosses)
    for (let at = 0; at < 130; at += 1) {
      const target = { kind: 'key' as const, key: Buffer.concat([boss.key.publicKey.subarray(0, 31), Buffer.of(at)]) }
      before.add(revoke(boss, target, 'rekeyed', start).bytes, start)
    }
  before.add(revoke(o.ann, { kind: 'key', key: o.max.key.publicKey }, 'rekeyed', start).bytes, start)
  const dir = await temporaryDirectory(t)
  await saveRoster(dir, before, now)
  const read = await loadRoster(dir, now)
  assert.deepEqual(read.digest(now), before.digest(now))
  assert.throws(() => read.verify(o.max.key.publicKey, now), { code: 'ERR_REVOKED' })
  // There is no place for more of them, and one for who is kicked.
  const target = { kind: 'key' as const, key: keyOf(99).publicKey }
  const [boss = o.ann] = bosses
  assert.throws(() => read.add(revoke(boss, target, 'rekeyed', now).bytes, now), { code: 'ERR_ROSTER_FULL' })
  assert.equal(read.add(revoke(boss, target, 'kicked', now).bytes, now), 'added')
})

test('what nobody takes in any more is left out of what an earlier version wrote, and damages nothing', async (t) => {
  const o = office()
  const init = { subject: keyOf(5).publicKey, name: 'x', roles: plain, serial: serialOf(5) }
  const { body, chain } = issueCertificate(o.ann, init, start)
  const root = o.root.key.publicKey
  const follows = { key: root, via: root }
  const refused = signStatement('certificate', { ...body, follows }, o.ann.key, chain)
  const roster = o.roster(o.ann, o.max)
  assert.throws(() => roster.add(refused.bytes, now), { code: 'ERR_ROLE' })
  const dir = await temporaryDirectory(t)
  // As this node's own it is written whatever it says.
  await saveRoster(dir, roster, now, refused.bytes)
  const read = await loadRoster(dir, now)
  assert.deepEqual(read.digest(now), roster.digest(now))
})
