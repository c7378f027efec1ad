import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Key } from 'interface-datastore'
import { silentLogger } from '../../src/base/log.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { createTraceStore } from '../../src/store/traces.ts'
import { namesIn, openIndex, recordingLog, tempDir, withCode } from './support.ts'

test('an index that is open cannot be opened again', async (t) => {
  const dir = await tempDir(t)
  const first = await openIndex(t, dir)
  await assert.rejects(openIndexDb({ dir: join(dir, 'index'), log: silentLogger }), withCode('ERR_DAEMON_RUNNING'))
  await first.datastore.put(new Key('/still'), Buffer.from('works'))
})

test('a damaged index is put aside and an empty one takes its place', async (t) => {
  const dir = await tempDir(t)
  for (let round = 0; round < 2; round++) {
    const before = await openIndex(t, dir)
    await createTraceStore({ datastore: before.datastore, log: silentLogger }).add('aa', Buffer.from('trace'))
    await before.close()
    writeFileSync(join(dir, 'index', 'CURRENT'), 'garbage')
    const { log, lines } = recordingLog()
    const after = await openIndexDb({ dir: join(dir, 'index'), log })
    assert.deepEqual(await createTraceStore({ datastore: after.datastore, log }).traces('aa'), [])
    assert.deepEqual(
      lines.map(({ fields }) => fields.code),
      ['ERR_STORE'],
    )
    assert.deepEqual(await namesIn(dir), ['index', 'index.damaged'])
    await after.close()
  }
})

test('an index whose place is taken by a file cannot be used', async (t) => {
  const dir = await tempDir(t)
  writeFileSync(join(dir, 'index'), 'a file')
  await assert.rejects(openIndexDb({ dir: join(dir, 'index'), log: silentLogger }), withCode('ERR_STORE'))
})
