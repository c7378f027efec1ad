import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { cloneAlarm } from '../../src/daemon/clone-alarm.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { peerIdOf, serial } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { Health } from '../../src/watch/health.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { createMembership, membersOf, rootOf } from '../mesh/hiring.ts'

test('status says whose key two machines use, until that key is shut out', async (t) => {
  const membership = createMembership({ name: 'office' })
  const [here, there] = [await temporaryDirectory(t), await temporaryDirectory(t)]
  const members = await membersOf(here, membership)
  const other = await membersOf(there, membership)
  members.take([other.own().bytes])
  const [self, theirs] = [peerIdOf(members.key), peerIdOf(other.key)]
  const health = new Health(systemClock)
  const stop = cloneAlarm(members, self, health)
  t.after(stop)
  const said = (): string[] => health.problems().map(({ code, text, hint }) => `${code} ${text} ${hint}`)
  assert.deepEqual(said(), [])

  await members.reportClone(theirs)
  assert.equal(said().length, 1)
  assert.match(
    said()[0] ?? '',
    new RegExp(`^ERR_CLONED two machines each use the key of node \\(${theirs.slice(-8)}\\)`),
  )

  await other.reportClone(self)
  members.take(other.roster.bytesOf(other.roster.ids(other.now)))
  assert.match(said()[0] ?? '', /the key of this machine is used by another one, too.*Run `shoal rekey` here/)

  const root = { genesis: members.genesis, key: rootOf(membership) }
  const out = [self, theirs].map((id) =>
    revoke(root, { kind: 'key', key: members.member(id).key }, 'kicked', members.now),
  )
  members.take(out.map(({ bytes }) => bytes))
  assert.deepEqual(said(), [])
  await Promise.all([members.saved(), other.saved()])
})

test('status says who has two keys of one line, and who can end that', async (t) => {
  const membership = createMembership({ name: 'office' })
  const members = await membersOf(await temporaryDirectory(t), membership)
  const root = { genesis: members.genesis, key: rootOf(membership) }
  const keyAt = (number: number) => rootOf({ secret: new Uint8Array(32).fill(number) })
  const old = keyAt(1)
  const health = new Health(systemClock)
  t.after(cloneAlarm(members, peerIdOf(members.key), health))
  const said = (): string[] => health.problems().map(({ code, text, hint }) => `${code} ${text} ${hint}`)
  for (const next of [keyAt(2), keyAt(3)]) {
    assert.deepEqual(said(), [])
    const follows = handOver(meshKeyOf(members.genesis), old, next.publicKey)
    const init = { subject: next.publicKey, name: 'ivy', roles: ['member'] as const, follows, serial: serial() }
    await members.say([issueCertificate(root, init, members.now)])
  }
  assert.match(
    said()[0] ?? '',
    /^ERR_CLONED several machines are certified in place of one: ivy .*, ivy .*`shoal kick ID`/,
  )
  await members.say([revoke(root, { kind: 'key', key: keyAt(2).publicKey }, 'kicked', members.now)])
  assert.deepEqual(said(), [])
})
