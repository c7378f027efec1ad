import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { memberAlarm } from '../../src/daemon/heirs-alarm.ts'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { leave } from '../../src/mesh/revocation.ts'
import { Health } from '../../src/watch/health.ts'
import { apart, meet } from '../mesh/apart.ts'

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
  await Promise.all([ann, bob].map((one) => one.saved()))
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
