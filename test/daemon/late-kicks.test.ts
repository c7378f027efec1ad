import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import { type Logger, silentLogger } from '../../src/base/log.ts'
import { lateKicks } from '../../src/daemon/late-kicks.ts'
import { keyCalled, kickMember } from '../../src/mesh/administer.ts'
import type { SigningKey } from '../../src/mesh/ed25519.ts'
import { peerIdOf } from '../../src/mesh/members.ts'
import { endBefore } from '../../src/mesh/successor.ts'
import { Health } from '../../src/watch/health.ts'
import { apart, meet } from '../mesh/apart.ts'

const until = async (holds: () => boolean): Promise<void> => {
  for (let tries = 0; tries < 1000 && !holds(); tries += 1) await delay(5)
  assert.equal(holds(), true)
}

test('an administrator’s node shuts out who was certified in place of a kicked key, also what came while it was off, and names who comes later', async (t) => {
  const { ann, bea, bob, follow } = await apart(t)
  const said: unknown[] = []
  const health = new Health(systemClock)
  const log: Logger = { ...silentLogger, warn: (_text, about) => void said.push(about?.peer) }
  const codeOf = ({ publicKey }: SigningKey): string | undefined => ann.objectionTo(peerIdOf(publicKey))?.code
  await kickMember(ann, keyCalled(ann, 'bob'), false)
  const second = await follow(bea, bob.signer)
  ann.take(bea.roster.bytesOf(bea.roster.ids(bea.now)))
  assert.equal(codeOf(second), undefined)
  const stop = lateKicks({ members: ann, health, log })
  await until(() => said.length === 1)
  assert.deepEqual([codeOf(second), said], ['ERR_REVOKED', [peerIdOf(second.publicKey)]])
  assert.deepEqual(health.problems(), [])
  await endBefore(bea, second.publicKey)
  const third = await follow(bea, second)
  ann.take(bea.roster.bytesOf(bea.roster.ids(bea.now)))
  await until(() => health.problems().length > 0)
  const [problem] = health.problems()
  assert.match(problem?.text ?? '', new RegExp(peerIdOf(third.publicKey).slice(-8)))
  assert.match(problem?.hint ?? '', /shoal kick/)
  assert.equal(codeOf(third), undefined)
  await kickMember(ann, keyCalled(ann, peerIdOf(third.publicKey)), false)
  await until(() => health.problems().length === 0)
  await ann.saved()
  stop()
  meet(ann, bea)
  for (const { publicKey } of [second, third]) assert.equal(bea.objectionTo(peerIdOf(publicKey))?.code, 'ERR_REVOKED')
})
