import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crashRounds } from './crash-matrix.ts'
import { tempDir } from './support.ts'

test('a store whose process is killed at any moment has whole blocks, all pins and nothing unfinished', async (t) => {
  const { rounds, pinnedSeen, blocksVerified } = await crashRounds(await tempDir(t), 24, 20_26)
  assert.equal(rounds, 24)
  assert.ok(pinnedSeen > 24 && blocksVerified > 24, 'there was something to lose')
})
