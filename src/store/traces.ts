import { type Datastore, Key } from 'interface-datastore'
import { z } from 'zod'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { readValue } from './index-db.ts'
import { KeyedQueues } from './queues.ts'

const maxTraces = 8
const maxTraceBytes = 1 << 19
const maxEntryBytes = 1 << 21
const usualPrefix = '/traces/'
/** Bytes of traces that stay in memory. */
const maxCachedBytes = 4 << 20
const maxAbsent = 4096

const entrySchema = z.array(z.instanceof(Uint8Array)).max(maxTraces)

/**
 * Traces by action key (hex sha2-256), newest first, at most 8 and 2 MiB a key. They are kept as bytes: whoever decodes
 * one and finds it broken calls `remove`.
 */
export interface TraceStore {
  /** Empty when there is none, or when what is there cannot be read. */
  traces(keyHex: string): Promise<Uint8Array[]>
  /**
   * Adds a trace, or makes it the newest when it is there; the oldest go when there are too many.
   * @throws ShoalError ERR_LIMIT for more than 512 KiB, ERR_DISK_FULL, ERR_STORE
   */
  add(keyHex: string, trace: Uint8Array): Promise<void>
  /** Removes one trace; all of the key's when none is given. */
  remove(keyHex: string, trace?: Uint8Array): Promise<void>
  /** Every key that has traces. */
  keys(): AsyncIterable<string>
  /** How many keys have traces; can be off by what changes during the first call, which counts. */
  count(): Promise<number>
}

/** `datastore` may be shared with others: only keys below `prefix` (by default `/traces/`) are used. */
export function createTraceStore({
  datastore,
  log,
  prefix = usualPrefix,
}: {
  datastore: Datastore
  log: Logger
  prefix?: string
}): TraceStore {
  const keyOf = (keyHex: string): Key => new Key(`${prefix}${keyHex}`, false)
  const queues = new KeyedQueues()
  const cached = new RecentEntries()
  /** Looked for in vain; whoever makes a unit asks several times whether somebody else has. */
  const absent = new Set<string>()
  let changes = 0
  let known: Promise<number> | undefined

  const read = async (keyHex: string): Promise<Uint8Array[] | undefined> => {
    const recent = cached.get(keyHex)
    if (recent !== undefined) return recent
    if (absent.has(keyHex)) return undefined
    const before = changes
    const found = await load(keyHex)
    if (found === undefined && changes === before) {
      if (absent.size >= maxAbsent) absent.clear()
      absent.add(keyHex)
    }
    // What was read while something was written may be out of date.
    if (found !== undefined && found.length > 0 && changes === before) cached.set(keyHex, found)
    return found
  }

  const load = async (keyHex: string): Promise<Uint8Array[] | undefined> => {
    const value = await readValue(datastore, keyOf(keyHex), log)
    if (value === undefined) return undefined
    try {
      return decodeCbor(value, entrySchema, 2 * maxEntryBytes)
    } catch (error) {
      log.warn('unreadable traces ignored', { code: codeOf(error), key: keyHex })
      return []
    }
  }

  const write = async (keyHex: string, traces: readonly Uint8Array[], wasThere: boolean): Promise<void> => {
    cached.delete(keyHex)
    absent.delete(keyHex)
    changes++
    try {
      if (traces.length > 0) await datastore.put(keyOf(keyHex), encodeCbor(traces).bytes)
      else await datastore.delete(keyOf(keyHex))
      changes++
      if (traces.length > 0) cached.set(keyHex, [...traces])
    } catch (error) {
      throw new ShoalError('ERR_STORE', 'traces cannot be kept', { cause: error })
    }
    const change = Number(traces.length > 0) - Number(wasThere)
    known = known?.then((count) => count + change)
  }

  async function* keys(): AsyncGenerator<string> {
    for await (const key of datastore.queryKeys({ prefix })) yield key.toString().slice(prefix.length)
  }

  return {
    traces: async (keyHex) => (await read(keyHex)) ?? [],
    async add(keyHex, trace) {
      if (trace.length > maxTraceBytes) throw new ShoalError('ERR_LIMIT', `trace of ${trace.length} bytes`)
      await queues.run(keyHex, async () => {
        const before = await read(keyHex)
        if (before?.[0] !== undefined && isSame(before[0], trace)) return
        const others = (before ?? []).filter((other) => !isSame(other, trace))
        await write(keyHex, bounded([trace, ...others]), before !== undefined)
      })
    },
    async remove(keyHex, trace) {
      await queues.run(keyHex, async () => {
        const before = await read(keyHex)
        if (before === undefined) return
        const left = trace === undefined ? [] : before.filter((other) => !isSame(other, trace))
        if (left.length < before.length || left.length === 0) await write(keyHex, left, true)
      })
    },
    keys,
    async count() {
      known ??= (async () => {
        let count = 0
        for await (const _ of keys()) count++
        return count
      })()
      return await known
    },
  }
}

/** What was read last, up to a number of bytes. */
class RecentEntries {
  readonly #entries = new Map<string, Uint8Array[]>()
  #bytes = 0

  get(keyHex: string): Uint8Array[] | undefined {
    const entry = this.#entries.get(keyHex)
    if (entry === undefined) return undefined
    this.#entries.delete(keyHex)
    this.#entries.set(keyHex, entry)
    return entry
  }

  set(keyHex: string, entry: Uint8Array[]): void {
    this.delete(keyHex)
    this.#entries.set(keyHex, entry)
    this.#bytes += bytesOf(entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= maxCachedBytes) break
      this.delete(oldest)
    }
  }

  delete(keyHex: string): void {
    const entry = this.#entries.get(keyHex)
    if (entry === undefined) return
    this.#entries.delete(keyHex)
    this.#bytes -= bytesOf(entry)
  }
}

const bytesOf = (entry: readonly Uint8Array[]): number => entry.reduce((sum, { length }) => sum + length, 0)

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

function bounded(traces: readonly Uint8Array[]): Uint8Array[] {
  const kept: Uint8Array[] = []
  let bytes = 0
  for (const trace of traces) {
    bytes += trace.length
    if (kept.length === maxTraces || bytes > maxEntryBytes) break
    kept.push(trace)
  }
  return kept
}
