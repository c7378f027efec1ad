import { rename, rm } from 'node:fs/promises'
import { LevelDatastore } from 'datastore-level'
import type { Datastore, Key } from 'interface-datastore'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

/** The LevelDB under traces and closures. All of it can be made again by compiling, so nothing in it is precious. */
export interface IndexDb {
  datastore: Datastore
  close(): Promise<void>
}

/** What is looked up lies in memory nearly always: a thread takes longer than the answer. */
class IndexStore extends LevelDatastore {
  /** Undefined when it is absent. @throws when it cannot be read */
  look(key: Key): Uint8Array | undefined {
    return this.db.getSync(key.toString())
  }

  override async get(...of: Parameters<LevelDatastore['get']>): Promise<Uint8Array> {
    return this.look(of[0]) ?? (await super.get(...of))
  }
}

/**
 * Opens (or makes) the database in `dir`. One that is damaged is replaced by an empty one, and the damaged kept aside as
 * `<dir>.damaged` until the next time.
 * @throws ShoalError ERR_DAEMON_RUNNING when another process has it open, ERR_STORE when it cannot be used
 */
export async function openIndexDb({ dir, log }: { dir: string; log: Logger }): Promise<IndexDb> {
  try {
    return await open(dir)
  } catch (error) {
    if (!isDamage(error)) throw toStoreError(dir, error)
    log.warn('index is damaged and starts empty', { code: 'ERR_STORE', dir })
  }
  try {
    await rm(`${dir}.damaged`, { recursive: true, force: true })
    await rename(dir, `${dir}.damaged`)
    return await open(dir)
  } catch (error) {
    throw toStoreError(dir, error)
  }
}

async function open(dir: string): Promise<IndexDb> {
  const datastore = new IndexStore(dir)
  // Not `datastore.open()`: it turns the reason into text.
  await datastore.db.open({ createIfMissing: true, compression: false })
  return { datastore, close: () => datastore.close() }
}

function reasonOf(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined
  return codeOf(cause) ?? codeOf(error)
}

function messageOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? cause.message : ''
}

function isDamage(error: unknown): boolean {
  const reason = reasonOf(error)
  if (reason === 'LEVEL_IO_ERROR') return /no such file|not a directory|is a directory/i.test(messageOf(error))
  return reason === 'LEVEL_CORRUPTION' || reason === 'LEVEL_NOT_FOUND'
}

function toStoreError(dir: string, error: unknown): ShoalError {
  if (reasonOf(error) === 'LEVEL_LOCKED') {
    return new ShoalError('ERR_DAEMON_RUNNING', `${dir} is open in another process`, { cause: error })
  }
  return new ShoalError('ERR_STORE', `${dir} cannot be opened`, { cause: error })
}

/** A value, or undefined when it is absent or cannot be read. */
export async function readValue(datastore: Datastore, key: Key, log: Logger): Promise<Uint8Array | undefined> {
  try {
    return datastore instanceof IndexStore ? datastore.look(key) : await datastore.get(key)
  } catch (error) {
    if (error instanceof Error && error.name === 'NotFoundError') return undefined
    log.warn('index entry cannot be read', { code: 'ERR_STORE', key: key.toString(), reason: String(error) })
    return undefined
  }
}
