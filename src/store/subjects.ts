import { type Datastore, Key } from 'interface-datastore'
import { z } from 'zod'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { readValue } from './index-db.ts'
import { KeyedQueues } from './queues.ts'

const maxSeen = 8
const maxActionBytes = 1 << 18
const maxOutDirBytes = 1 << 15
const maxBesidesBytes = 1 << 16
const maxEntryBytes = maxSeen * (maxActionBytes + maxOutDirBytes + maxBesidesBytes + 1024)
const prefix = '/subjects/'

/** An action that was carried out for a subject. */
export interface SeenAction {
  /** What cargo itself tells compiles of the subject apart by. */
  variant: string
  /** The action, as whoever compares them writes it. */
  action: Uint8Array
  /** The tree of its OUT_DIR; null when there was none, or when it is too large to be kept for this. */
  outDir: Uint8Array | null
  /** What the action does not say of it, as whoever compares them writes it; null when that is too large. */
  besides: Uint8Array | null
}

const entrySchema = z
  .array(
    z.strictObject({
      variant: z.string().max(256),
      action: z.instanceof(Uint8Array),
      outDir: z.instanceof(Uint8Array).nullable(),
      besides: z.instanceof(Uint8Array).nullable(),
    }),
  )
  .max(maxSeen)

/**
 * The last actions of each subject (a crate of a package in one kind), by the subject's hex sha2-256: what a unit that
 * was not recalled is compared with. Precious to nobody: what cannot be read or kept is simply not there.
 */
export interface SubjectStore {
  /** Newest first. */
  seen(subjectHex: string): Promise<SeenAction[]>
  /**
   * Keeps an action as the newest of its subject, at most 8: the oldest of the variant with the most actions goes. One of
   * more than 256 KiB is not kept, nor an OUT_DIR of more than 32 KiB, nor what is besides of more than 64 KiB.
   * @returns what was there before, as `seen` does
   * @throws ShoalError ERR_STORE
   */
  add(subjectHex: string, seen: SeenAction): Promise<SeenAction[]>
}

export interface SubjectStoreInit {
  /** Beyond these some are dropped. Default 20,000. */
  maxSubjects?: number
}

/** `datastore` may be shared with others: only keys below `/subjects/` are used. */
export function createSubjectStore(
  { datastore, log }: { datastore: Datastore; log: Logger },
  { maxSubjects = 20_000 }: SubjectStoreInit = {},
): SubjectStore {
  const queues = new KeyedQueues()
  let known: Promise<number> | undefined

  const read = async (subjectHex: string): Promise<SeenAction[] | undefined> => {
    const value = await readValue(datastore, keyOf(subjectHex), log)
    if (value === undefined) return undefined
    try {
      return decodeCbor(value, entrySchema, maxEntryBytes)
    } catch (error) {
      log.info('unreadable actions ignored', { code: codeOf(error), key: subjectHex })
      return []
    }
  }

  const count = async (): Promise<number> => {
    let found = 0
    for await (const _ of datastore.queryKeys({ prefix })) found++
    return found
  }

  /** Subjects are digests, so those that begin like `subjectHex` are a random sixteenth of all. */
  const dropSome = async (subjectHex: string): Promise<void> => {
    const begin = `${prefix}${subjectHex.slice(0, 1)}`
    for await (const key of datastore.queryKeys({ prefix: begin })) await datastore.delete(key)
    known = undefined
  }

  return {
    seen: async (subjectHex) => (await read(subjectHex)) ?? [],
    async add(subjectHex, seen) {
      if (seen.action.length > maxActionBytes) return (await read(subjectHex)) ?? []
      const outDir = seen.outDir !== null && seen.outDir.length <= maxOutDirBytes ? seen.outDir : null
      const besides = seen.besides !== null && seen.besides.length <= maxBesidesBytes ? seen.besides : null
      const kept = { ...seen, outDir, besides }
      return await queues.run(subjectHex, async () => {
        const before = await read(subjectHex)
        if (before?.[0] !== undefined && isEqual(before[0], kept)) return before
        const others = (before ?? []).filter(({ action }) => !isSame(action, seen.action))
        try {
          known ??= count()
          if (before === undefined && (await known) >= maxSubjects) await dropSome(subjectHex)
          await datastore.put(keyOf(subjectHex), encodeCbor(bounded([kept, ...others])).bytes)
        } catch (error) {
          throw new ShoalError('ERR_STORE', 'an action cannot be kept', { cause: error })
        }
        if (before === undefined) known = known?.then((subjects) => subjects + 1)
        return before ?? []
      })
    },
  }
}

const keyOf = (subjectHex: string): Key => new Key(`${prefix}${subjectHex}`, false)

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const isEqual = (a: SeenAction, b: SeenAction): boolean =>
  isSame(a.action, b.action) && isSame(a.besides ?? none, b.besides ?? none)
const none = new Uint8Array()

/** A crate that is edited again and again must not push out what is known of its other variants. */
function bounded(seen: readonly SeenAction[]): SeenAction[] {
  const kept = [...seen]
  while (kept.length > maxSeen) {
    const sizes = new Map<string, number>()
    for (const { variant } of kept) sizes.set(variant, (sizes.get(variant) ?? 0) + 1)
    const most = Math.max(...sizes.values())
    kept.splice(
      kept.findLastIndex(({ variant }) => sizes.get(variant) === most),
      1,
    )
  }
  return kept
}
