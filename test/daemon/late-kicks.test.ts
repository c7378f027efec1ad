import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Logger, silentLogger } from '../../src/base/log.ts'
import { lateKicks } from '../../src/daemon/late-kicks.ts'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import { peerIdOf } from '../../src/mesh/members.ts'
import { apart, meet } from '../mesh/apart.ts'

test('an administrator’s node shuts out who was certified in place of a kicked key, when it hears of that, and at its next start', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const said: unknown[] = []
  const log: Logger = { ...silentLogger, warn: (_text, about) => void said.push(about?.peer) }
  const isOut = (key: Uint8Array): boolean => ann.objectionTo(peerIdOf(key))?.code === 'ERR_REVOKED'
  const until = async (count: number): Promise<void> => {
    for (let tries = 0; tries < 1000 && said.length < count; tries += 1) await delay(5)
  }
  const stop = lateKicks({ members: ann, log })
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  const second = await follow(bea, bob.signer)
  ann.take(bea.roster.bytesOf(bea.roster.ids(bea.now)))
  await until(1)
  assert.equal(isOut(second.publicKey), true)
  assert.deepEqual(said, [peerIdOf(second.publicKey)])
  await ann.saved()
  stop()
  // What came while it was off.
  const third = await follow(bea, second)
  ann.take(bea.roster.bytesOf(bea.roster.ids(bea.now)))
  await delay(50)
  assert.equal(isOut(third.publicKey), false)
  t.after(lateKicks({ members: ann, log }))
  await until(2)
  assert.deepEqual(
    said,
    [second, third].map(({ publicKey }) => peerIdOf(publicKey)),
  )
  await ann.saved()
  meet(ann, bea)
  assert.equal(bea.objectionTo(peerIdOf(third.publicKey))?.code, 'ERR_REVOKED')
})
