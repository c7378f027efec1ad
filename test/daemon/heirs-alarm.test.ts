import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import { heirsAlarm } from '../../src/daemon/heirs-alarm.ts'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { peerIdOf } from '../../src/mesh/members.ts'
import { Health } from '../../src/watch/health.ts'
import { apart, meet } from '../mesh/apart.ts'

test('an administrator’s status names who follows a kicked key, until people have decided', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const health = new Health(systemClock)
  const until = async (count: number): Promise<void> => {
    for (let tries = 0; tries < 1000 && health.problems().length !== count; tries += 1) await delay(5)
    assert.equal(health.problems().length, count)
  }
  t.after(heirsAlarm({ members: ann, health }))
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  const second = await follow(bea, bob.signer)
  meet(ann, bea)
  await until(1)
  const [problem] = health.problems()
  assert.match(problem?.text ?? '', new RegExp(peerIdOf(second.publicKey).slice(-8)))
  assert.match(problem?.hint ?? '', /shoal kick/)
  await kickMember(ann, keyCalled(ann, peerIdOf(second.publicKey)), false)
  await until(0)
  await ann.saved()
})
