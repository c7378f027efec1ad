import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { memberAlarm } from '../../src/daemon/heirs-alarm.ts'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { Health } from '../../src/watch/health.ts'
import { apart, meet } from '../mesh/apart.ts'

test('status of who was kicked says so as soon as it hears it, and for good', async (t) => {
  const { ann, bob } = await apart(t)
  const health = new Health(systemClock, { fadeMs: -1 })
  t.after(memberAlarm(bob, health))
  assert.deepEqual(health.problems(), [])
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  meet(ann, bob)
  assert.deepEqual(
    health.problems().map(({ code }) => code),
    ['ERR_REVOKED'],
  )
  await Promise.all([ann, bob].map((one) => one.saved()))
})
