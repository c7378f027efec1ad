import { dirname } from 'node:path'
import { type Datastore, Key } from 'interface-datastore'
import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { encodeResult, type Result } from '../plan/action.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { readTrace } from '../recall/evidence.ts'
import { cidSchema, decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { hexOf } from '../wire/cid.ts'
import { type GivenFile, removeGiven } from './given-files.ts'

export interface GivenNeeds {
  datastore: Datastore
  traces: { traces(keyHex: string): Promise<Uint8Array[]>; remove(keyHex: string, trace: Uint8Array): Promise<void> }
  log: Logger
  /** There may be nothing left of an action key (hex). */
  onGone(key: string): void
  /** Where it is written down. Default: `/given/`. */
  prefix?: string
  /** Removes what was put into a directory; resolves with the number of files. Default: `removeGiven` for all of them. */
  undo?(dir: string): Promise<number>
}

/** What somebody's word was taken for. */
export interface Gave {
  /** Hex of the action key. */
  key: string
  result: CID
  outputs: readonly GivenFile[]
  /** Where it was put for cargo. */
  dir: string
  /** Where else it may be. */
  seen?: readonly string[]
}

export interface Purged {
  /** Results that are not known here any more. */
  results: number
  /** Files that cargo will make again. */
  files: number
}

interface Gift {
  /** peerId of the member whose word it was. */
  by: string
  result: CID
  outputs: GivenFile[]
  /** Where it was put for cargo. */
  dirs: string[]
}

const usualPrefix = '/given/'
const defaultMaxKeys = 100_000
/** More than there are traces of an action, which are kept by when they were used last; also the number of members that can have given the same. */
const maxGifts = 64
const maxDirs = 64
const oldestLooked = 64
const maxOutputs = 16
const maxRecordBytes = 32 << 20

const recordSchema = z
  .array(
    z.strictObject({
      by: z.string().max(128),
      result: cidSchema,
      outputs: z.array(z.tuple([z.string().max(512), cidSchema])).max(maxOutputs),
      dirs: z.array(z.string().max(4096)).max(maxDirs),
    }),
  )
  .max(maxGifts)

/** Which kept results are here on whose word, and where they were put, so that all of it can be undone. */
export class Given {
  readonly #needs: GivenNeeds
  readonly #maxKeys: number
  readonly #gifts = new Map<string, Gift[]>()
  readonly #prefix: string

  private constructor(needs: GivenNeeds, maxKeys: number) {
    this.#needs = needs
    this.#maxKeys = maxKeys
    this.#prefix = needs.prefix ?? usualPrefix
  }

  /** @param maxKeys how many action keys are noted at most. Default: 100,000 */
  static async open(needs: GivenNeeds, { maxKeys = defaultMaxKeys }: { maxKeys?: number } = {}): Promise<Given> {
    const given = new Given(needs, maxKeys)
    const of = given.#prefix
    for await (const { key, value } of needs.datastore.query({ prefix: of })) {
      try {
        given.#gifts.set(key.toString().slice(of.length), decodeCbor(value, recordSchema, maxRecordBytes))
      } catch (error) {
        if (codeOf(error) !== 'ERR_DECODE') throw error
        needs.log.warn('it is not known who gave a result', { code: 'ERR_DECODE' })
      }
    }
    return given
  }

  /**
   * A result has been delivered. What is made here, or was never given, costs one look into memory.
   * @param by peerId of the member whose word it is; undefined for what was kept before, of which that is known or was never so
   * @param seen where cargo puts what people look for: it can be told to build elsewhere
   */
  async delivered(
    { key, roots }: Pick<PlannedAction, 'key' | 'roots'>,
    result: Result,
    by: string | undefined,
    seen: readonly string[] = [],
  ): Promise<void> {
    const hex = hexOf(key)
    const dir = roots.find(({ name }) => name === 'out')?.path
    if (dir === undefined || (by === undefined && !this.#gifts.has(hex))) return
    const { cid } = encodeResult(result)
    const outputs = result.outputs.map((output): GivenFile => [output.name, output.cid])
    const elsewhere = seen.filter((each) => each !== dirname(dir))
    await this.note({ key: hex, result: cid, outputs, dir, seen: elsewhere }, by)
  }

  /** As `delivered`, of anything. With `alike`, several members can have given the same, and whoever of them is dropped, all of it goes. */
  async note(
    { key: hex, result: cid, outputs, dir, seen = [] }: Gave,
    by: string | undefined,
    alike = false,
  ): Promise<void> {
    const before = this.#gifts.get(hex)
    const known = before?.find((gift) => gift.result.equals(cid) && (!alike || gift.by === by))
    const wanted = [dir, ...seen]
    if (known !== undefined && wanted.every((each) => known.dirs.includes(each))) return
    if (known === undefined && by === undefined) return
    if (before === undefined && this.#gifts.size >= this.#maxKeys) await this.#forgetOne()
    const gift = known ?? { by: by ?? '', result: cid, outputs: outputs.slice(0, maxOutputs), dirs: [] }
    const dirs = [...new Set([...wanted, ...gift.dirs])].slice(0, maxDirs)
    const others = (before ?? []).filter((each) => each !== known)
    const after = [{ ...gift, dirs }, ...others].slice(0, maxGifts)
    this.#gifts.set(hex, after)
    try {
      await this.#save(hex)
    } catch (error) {
      // What is not on disk is written with the next delivery.
      if (this.#gifts.get(hex) === after) this.#gifts.set(hex, before ?? [])
      throw error
    }
  }

  /** Makes room for another key: of those noted first one of which nothing is kept here any more, else the first. */
  async #forgetOne(): Promise<void> {
    let forgotten: string | undefined
    let looked = 0
    for (const key of this.#gifts.keys()) {
      const isKept = (await this.#needs.traces.traces(key)).length > 0
      if (!isKept) forgotten = key
      else forgotten ??= key
      if (!isKept || ++looked >= oldestLooked) break
    }
    if (forgotten === undefined) return
    this.#gifts.set(forgotten, [])
    await this.#save(forgotten)
  }

  /** Forgets one result of an action (hex) as `purge` does, whoever gave it, and if that was never written down. */
  async drop(key: string, result: CID): Promise<Purged> {
    const purged = await this.#forget(key, (gift) => gift.result.equals(result))
    const results = await this.#forgetTraces(key, result)
    if (results > 0) this.#needs.onGone(key)
    return { ...purged, results: purged.results + results }
  }

  /**
   * Forgets every result that is here on a member's word, and removes what was made of them where it still lies, so that cargo
   * makes it again. Blocks stay until they are evicted: nothing names them.
   */
  async purge(peer: string): Promise<Purged> {
    const purged: Purged = { results: 0, files: 0 }
    for (const key of [...this.#gifts.keys()]) {
      const { results, files } = await this.#forget(key, ({ by }) => by === peer)
      purged.results += results
      purged.files += files
    }
    return purged
  }

  async #forget(key: string, isGone: (gift: Gift) => boolean): Promise<Purged> {
    const purged: Purged = { results: 0, files: 0 }
    const gifts = this.#gifts.get(key) ?? []
    const gone = gifts.filter(isGone)
    if (gone.length === 0) return purged
    for (const gift of gone) {
      purged.results += await this.#forgetTraces(key, gift.result)
      purged.files += await this.#removeFiles(gift)
    }
    this.#gifts.set(
      key,
      gifts.filter((gift) => !isGone(gift)),
    )
    await this.#save(key)
    this.#needs.onGone(key)
    return purged
  }

  async #forgetTraces(key: string, result: CID): Promise<number> {
    let count = 0
    for (const bytes of await this.#needs.traces.traces(key)) {
      if (!readTrace(bytes)?.result.equals(result)) continue
      await this.#needs.traces.remove(key, bytes)
      count += 1
    }
    return count
  }

  async #removeFiles({ outputs, dirs }: Gift): Promise<number> {
    const { undo } = this.#needs
    if (undo === undefined) return await removeGiven(dirs, outputs)
    let count = 0
    for (const dir of dirs) count += await undo(dir)
    return count
  }

  async #save(key: string): Promise<void> {
    const gifts = this.#gifts.get(key) ?? []
    const name = new Key(`${this.#prefix}${key}`, false)
    if (gifts.length > 0) return void (await this.#needs.datastore.put(name, encodeCbor(gifts).bytes))
    this.#gifts.delete(key)
    await this.#needs.datastore.delete(name)
  }
}
