import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { openLedger } from '../../src/daemon/ledger.ts'
import { PrivatePaths } from '../../src/daemon/private-paths.ts'
import { PrivateUnits } from '../../src/daemon/private-units.ts'
import { Standings } from '../../src/daemon/standing.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { createTraceStore } from '../../src/store/traces.ts'
import { hexOf } from '../../src/wire/cid.ts'
import { ManualClock, temporaryDirectory } from '../mesh/fixture.ts'
import { content, planned, result } from '../recall/support.ts'

test('who lied and what is private is known after the cache was deleted; what an older node had in the index moves', async (t) => {
  const dir = await temporaryDirectory(t)
  const log = silentLogger
  const stateDir = join(dir, 'state')
  const keyHex = hexOf(planned.key)
  const openUnits = (datastore: Parameters<typeof PrivateUnits.open>[0]['datastore']) => {
    const paths = new PrivatePaths({ workspaces: [], packages: [] })
    return PrivateUnits.open({ datastore, clock: new ManualClock(), paths, onChange: () => undefined })
  }
  const old = await openIndexDb({ dir: join(dir, 'index'), log })
  const standings = await Standings.open({ datastore: old.datastore, log })
  for (const name of ['a', 'b']) await standings.lied('ann', { package: name, action: 'ab', at: 1 })
  await (await openUnits(old.datastore)).keeping(result, { reads: [], env: [] }, true, [])
  const traces = createTraceStore({ datastore: old.datastore, log })
  await traces.add(keyHex, new Uint8Array([1]))
  const first = await openLedger({ stateDir, index: old.datastore, log })
  assert.deepEqual((await Standings.open({ datastore: old.datastore, log })).liars(), [])
  assert.equal((await traces.traces(keyHex)).length, 1, 'what is of the cache stays there')
  await first.close()
  await old.close()
  await rm(join(dir, 'index'), { recursive: true })

  const index = await openIndexDb({ dir: join(dir, 'index'), log })
  const ledger = await openLedger({ stateDir, index: index.datastore, log })
  assert.deepEqual((await Standings.open({ datastore: ledger.datastore, log })).liars(), ['ann'])
  const units = await openUnits(ledger.datastore)
  assert.ok(units.hasKey(keyHex))
  assert.ok(result.outputs.every(({ cid }) => units.hasBlock(cid)))
  assert.ok(!units.hasBlock(content('another')))
  await ledger.close()
  await index.close()
})
