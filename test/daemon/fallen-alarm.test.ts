import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { fallenAlarm } from '../../src/daemon/fallen-alarm.ts'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { peerIdOf } from '../../src/mesh/members.ts'
import { Health } from '../../src/watch/health.ts'
import { apart, meet } from '../mesh/apart.ts'
import { LogBook } from '../mesh/fixture.ts'

test('status and log of administrators say who is no member because its key follows a kicked one, until that is kicked or let in', async (t) => {
  const { ann, bea, ivy, bob, follow } = await apart(t)
  const watched = [ann, ivy].map((members) => {
    const [health, log] = [new Health(systemClock), new LogBook()]
    t.after(fallenAlarm({ members, health, log }))
    const said = (): string[] => health.problems().map(({ code, text, hint }) => `${code} ${text} ${hint}`)
    return { members, said, log }
  })
  const [here, inviter] = watched
  assert.ok(here !== undefined && inviter !== undefined)
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  const second = peerIdOf((await follow(bea, bob.signer)).publicKey)
  assert.deepEqual(here.said(), [])
  for (const { members } of watched) meet(members, bea)
  assert.match(here.said().join(), new RegExp(`^ERR_REVOKED .*no member: bob \\(${second.slice(-8)}\\).*shoal kick ID`))
  assert.deepEqual(inviter.said(), [])
  // Once, whatever else is heard.
  await kickMember(ann, keyCalled(ann, 'ivy'), false)
  const told = here.log.entries.filter(({ fields }) => fields.peer === second)
  assert.deepEqual(
    told.map(({ fields }) => [fields.code, fields.name]),
    [['ERR_REVOKED', 'bob']],
  )
  await kickMember(ann, keyCalled(ann, second), false)
  assert.deepEqual(here.said(), [])
})
