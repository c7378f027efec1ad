import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ShoalError } from '../../src/base/errors.ts'
import { isLendersFault, whyBack } from '../../src/daemon/blame.ts'

test('a lender has no part in what cannot be handled here, nor in a full disk', () => {
  for (const code of ['ERR_UNSUPPORTED', 'ERR_DISK_FULL', 'ERR_STORE', 'ERR_PATH_BOUND', 'ERR_DISPUTED'] as const) {
    assert.equal(isLendersFault(new ShoalError(code, '')), false, code)
  }
  for (const code of ['ERR_OUTPUT', 'ERR_DECODE', 'ERR_CLAIM', 'ERR_BLOCK_MISMATCH'] as const) {
    assert.equal(isLendersFault(new ShoalError(code, '')), true, code)
  }
  let error: unknown
  try {
    writeFileSync(join(import.meta.dirname, 'none', 'x'), '')
  } catch (caught) {
    error = caught
  }
  assert.equal(isLendersFault(error), false)
  assert.equal(isLendersFault(Object.assign(new Error(), { code: 'ENOSPC' })), false)
  assert.equal(isLendersFault(new Error('anything else')), true)
})

test('of a unit that came back it is told what became of it elsewhere', () => {
  const codes = ([undefined, 'lost', 'error', 'refused', 'failed', 'unusable'] as const).map(whyBack)
  assert.deepEqual(codes, [
    'ERR_PEER_LOST',
    'ERR_PEER_LOST',
    'ERR_PEER_LOST',
    'ERR_ADMISSION',
    'ERR_OUTPUT',
    'ERR_OUTPUT',
  ])
})
