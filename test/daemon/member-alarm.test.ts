import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { endAlarm, heirsAlarm, memberAlarm } from '../../src/daemon/heirs-alarm.ts'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { serial } from '../../src/mesh/members.ts'
import { leave } from '../../src/mesh/revocation.ts'
import { Health } from '../../src/watch/health.ts'
import { apart, meet } from '../mesh/apart.ts'
import { ManualClock } from '../mesh/fixture.ts'
import { rootOf } from '../mesh/hiring.ts'
import { day, trusted } from '../mesh/office.ts'

test('status of who was kicked says so as soon as it hears it, and for good', async (t) => {
  const { ann, bob } = await apart(t)
  const health = new Health(systemClock, { fadeMs: -1 })
  t.after(memberAlarm(bob, health))
  assert.deepEqual(health.problems(), [])
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  meet(ann, bob)
  const why = 'this machine is no member any more: its key was shut out, because an administrator has kicked it'
  assert.deepEqual(
    health.problems().map(({ code, text }) => [code, text]),
    [['ERR_REVOKED', why]],
  )
  // What passes does not take the place of it.
  health.raise('ERR_REVOKED', 'a member refuses this node')
  assert.match(health.problems()[0]?.text ?? '', /no member any more/)
  await Promise.all([ann, bob].map((one) => one.saved()))
})

test('it is over when the root takes back what a thief has said, and nothing else was', async (t) => {
  const { ann, bea, bob, make } = await apart(t)
  const root = await make({ root: true })
  const health = new Health(systemClock)
  t.after(memberAlarm(bob, health))
  await kickMember(bea, keyCalled(bea, 'bob'), false)
  meet(bea, bob)
  assert.equal(health.problems().length, 1)
  meet(root, bea)
  await kickMember(root, { key: bea.key }, true)
  meet(root, bob)
  assert.deepEqual(health.problems(), [])
  await Promise.all([ann, bea, bob, root].map((one) => one.saved()))
})

test('an administrator that is shut out itself goes on saying so, whoever else is not worth a line any more', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { ann, bea, bob, follow } = await apart(t)
  const health = new Health(systemClock)
  for (const stop of [heirsAlarm({ members: bea, health }), memberAlarm(bea, health)]) t.after(stop)
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  await follow(bea, bob.signer)
  meet(ann, bea)
  const text = (): string => health.problems()[0]?.text ?? ''
  t.mock.timers.tick(1000)
  assert.match(text(), /^still members/)
  await kickMember(ann, { key: bea.key }, false)
  meet(ann, bea)
  t.mock.timers.tick(1000)
  assert.match(text(), /no member any more/)
  await Promise.all([ann, bea, bob].map((one) => one.saved()))
})

test('the last month of a mesh whose root key signs no more is said until it does', async (t) => {
  const clock = new ManualClock()
  const { ann, membership } = await apart(t, clock)
  const health = new Health(clock, { fadeMs: -1 })
  clock.advance(365 * day)
  endAlarm({ members: ann, health })()
  assert.deepEqual(health.problems(), [])
  clock.sleep(-366 * day)
  endAlarm({ members: ann, health })()
  assert.deepEqual(health.problems(), [])
  clock.sleep(366 * day)
  clock.advance(6 * day)
  t.after(endAlarm({ members: ann, health }))
  const [problem] = health.problems()
  assert.match(problem?.text ?? '', /^from \d{4}-\d\d-\d\d on no administrator has/)
  const init = { subject: ann.key, name: 'ann', roles: trusted, serial: serial() }
  await ann.say([issueCertificate({ genesis: ann.genesis, key: rootOf(membership) }, init, clock.wall())])
  assert.deepEqual(health.problems(), [])
  await ann.saved()
})

test('status of who has a copy of a key that has left says what has happened, and what to do', async (t) => {
  const { ann, bob } = await apart(t)
  const health = new Health(systemClock, { fadeMs: -1 })
  t.after(memberAlarm(bob, health))
  ann.take([leave(bob.issuer(), bob.now).bytes])
  meet(ann, bob)
  const [problem] = health.problems()
  assert.match(problem?.text ?? '', /because a machine that has this key has left the mesh$/)
  assert.match(problem?.hint ?? '', /^Ask for a new link, `shoal invite`/)
  await Promise.all([ann, bob].map((one) => one.saved()))
})
