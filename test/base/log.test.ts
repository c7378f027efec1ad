import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger, watchedLogger } from '../../src/base/log.ts'

test('a warning with a code is told, whatever its scope; the rest is not', () => {
  const told: string[] = []
  const log = watchedLogger(silentLogger, (code, message) => told.push(`${code} ${message}`))
  log.warn('stream closed', { code: 'ERR_DECODE', error: 'not a frame' })
  log.child('mesh').child('deep').error('wrong bytes', { code: 'ERR_BLOCK_MISMATCH' })
  log.warn('no code')
  log.info('fine', { code: 'ERR_DECODE' })
  assert.deepEqual(told, ['ERR_DECODE stream closed: not a frame', 'ERR_BLOCK_MISMATCH wrong bytes'])
})
