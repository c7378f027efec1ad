import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorTable } from '../../src/base/errors.ts'
import { Health } from '../../src/watch/health.ts'
import { TestClock } from './support.ts'

test('a problem is listed once per code, with its newest text and a count', () => {
  const clock = new TestClock()
  const health = new Health(clock)
  health.raise('ERR_DISK_FULL', 'no room\u001b[31m')
  clock.advance(1000)
  health.raise('ERR_SANDBOX', 'bwrap is missing', { hint: 'install it' })
  clock.advance(1000)
  health.raise('ERR_DISK_FULL', 'still no room')
  assert.deepEqual(health.problems(), [
    {
      code: 'ERR_DISK_FULL',
      text: 'still no room',
      hint: errorTable.ERR_DISK_FULL.hint,
      count: 2,
      lastSeen: new Date(clock.wall()).toISOString(),
    },
    {
      code: 'ERR_SANDBOX',
      text: 'bwrap is missing',
      hint: 'install it',
      count: 1,
      lastSeen: new Date(clock.wall() - 1000).toISOString(),
    },
  ])
})

test('a passing problem fades, a lasting one stays until it is cleared', () => {
  const clock = new TestClock()
  const health = new Health(clock, { fadeMs: 5000 })
  health.raise('ERR_PEER_LOST', 'bert')
  health.raise('ERR_SANDBOX', 'bwrap is missing', { lasting: true })
  clock.advance(5000)
  assert.equal(health.problems().length, 2)
  clock.advance(1)
  assert.deepEqual(
    health.problems().map((problem) => problem.code),
    ['ERR_SANDBOX'],
  )
  health.clear('ERR_SANDBOX')
  assert.deepEqual(health.problems(), [])
  health.raise('ERR_PEER_LOST', 'bert')
  assert.equal(health.problems()[0]?.count, 1, 'a faded problem starts again')
})

test('text of a problem cannot reach a terminal as control characters', () => {
  const health = new Health(new TestClock())
  health.raise('ERR_FRAME', 'a\u001b[2Jb')
  assert.equal(health.problems()[0]?.text, 'a [2Jb')
})
