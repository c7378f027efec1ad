import { join } from 'node:path'
import type { Datastore } from 'interface-datastore'
import type { Logger } from '../base/log.ts'
import { type IndexDb, openIndexDb } from '../store/index-db.ts'

/** What no compile brings back: what is private, who gave what, and what was found out about members and packages. */
const kept = ['/private/', '/given/', '/standing/', '/doubted/', '/determinism/']

/**
 * Opens what has to outlive the cache. Whatever of it is still in the index moves there, once.
 * @param index the database beside the cache, which people may delete at any time
 * @throws as `openIndexDb`
 */
export async function openLedger({
  stateDir,
  index,
  log,
}: {
  stateDir: string
  index: Datastore
  log: Logger
}): Promise<IndexDb> {
  const ledger = await openIndexDb({ dir: join(stateDir, 'ledger'), log })
  for (const prefix of kept) {
    for await (const { key, value } of index.query({ prefix })) {
      if (!(await ledger.datastore.has(key))) await ledger.datastore.put(key, value)
      await index.delete(key)
    }
  }
  return ledger
}
