import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { cloneAlarm } from '../../src/daemon/clone-alarm.ts'
import { peerIdOf } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
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
