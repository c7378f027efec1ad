import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Datastore, Key } from 'interface-datastore'
import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { readTrace } from '../recall/evidence.ts'
import { cidSchema, decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { digestOf, hexOf } from '../wire/cid.ts'
import type { UnitEnd } from './compile-needs.ts'
import { readResult } from './inventory.ts'

export interface GivenNeeds {
  datastore: Datastore
  blocks: { get(cid: CID): Promise<Uint8Array | undefined> }
  traces: { traces(keyHex: string): Promise<Uint8Array[]>; remove(keyHex: string, trace: Uint8Array): Promise<void> }
  log: Logger
  /** There may be nothing left of an action key (hex). */
  onGone(key: string): void
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
  outputs: [name: string, cid: CID][]
  /** Where it was put for cargo. */
  dirs: string[]
}

const prefix = '/given/'
const maxKeys = 100_000
const maxGifts = 8
const maxDirs = 64
const maxOutputs = 16
const maxRecordBytes = 1 << 20

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
  readonly #gifts = new Map<string, Gift[]>()

  private constructor(needs: GivenNeeds) {
    this.#needs = needs
  }

  static async open(needs: GivenNeeds): Promise<Given> {
    const given = new Given(needs)
    for await (const { key, value } of needs.datastore.query({ prefix })) {
      try {
        given.#gifts.set(key.toString().slice(prefix.length), decodeCbor(value, recordSchema, maxRecordBytes))
      } catch (error) {
        if (codeOf(error) !== 'ERR_DECODE') throw error
        needs.log.warn('it is not known who gave a result', { code: 'ERR_DECODE' })
      }
    }
    return given
  }

  /** A unit has been delivered and kept. What is made here, or was never given, costs one look into memory. */
  async delivered(
    { key, roots }: Pick<PlannedAction, 'key' | 'roots'>,
    { outcome, where, word = where }: UnitEnd,
  ): Promise<void> {
    const hex = hexOf(key)
    const isNew = outcome === 'recalled-mesh' || outcome === 'compiled-mesh'
    const gifts = this.#gifts.get(hex) ?? []
    const dir = roots.find(({ name }) => name === 'out')?.path
    if (dir === undefined || (!isNew && (outcome !== 'recalled-here' || gifts.length === 0))) return
    // What was delivered last is the newest.
    const [newest] = await this.#needs.traces.traces(hex)
    const trace = newest && readTrace(newest)
    if (trace === undefined) return
    let gift = gifts.find(({ result }) => result.equals(trace.result))
    if (gift?.dirs.includes(dir)) return
    if (gift === undefined) {
      const bytes = isNew ? await this.#needs.blocks.get(trace.result) : undefined
      const result = bytes && readResult(bytes)
      if (result === undefined || (this.#gifts.size >= maxKeys && gifts.length === 0)) return
      const outputs = result.outputs.slice(0, maxOutputs).map(({ name, cid }): [string, CID] => [name, cid])
      gift = { by: word, result: trace.result, outputs, dirs: [] }
      gifts.unshift(gift)
    }
    gift.dirs = [dir, ...gift.dirs].slice(0, maxDirs)
    this.#gifts.set(hex, gifts.slice(0, maxGifts))
    await this.#save(hex)
  }

  /** Forgets one result of an action (hex) as `purge` does, whoever gave it. */
  async drop(key: string, result: CID): Promise<Purged> {
    return await this.#forget(key, (gift) => gift.result.equals(result))
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
      for (const bytes of await this.#needs.traces.traces(key)) {
        if (!readTrace(bytes)?.result.equals(gift.result)) continue
        await this.#needs.traces.remove(key, bytes)
        purged.results += 1
      }
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

  async #removeFiles({ outputs, dirs }: Gift): Promise<number> {
    let count = 0
    for (const dir of dirs) {
      for (const [name, cid] of outputs) {
        const path = join(dir, name)
        // Another compile may have put its own there since.
        if (!(await holds(path, cid))) continue
        await rm(path, { force: true })
        count += 1
      }
    }
    return count
  }

  async #save(key: string): Promise<void> {
    const gifts = this.#gifts.get(key) ?? []
    const name = new Key(`${prefix}${key}`, false)
    if (gifts.length > 0) return void (await this.#needs.datastore.put(name, encodeCbor(gifts).bytes))
    this.#gifts.delete(key)
    await this.#needs.datastore.delete(name)
  }
}

/** Whether a file is there and has this content. */
async function holds(path: string, cid: CID): Promise<boolean> {
  try {
    if (!(await lstat(path)).isFile()) return false
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array)
    return hash.digest().equals(digestOf(cid))
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false
    throw error
  }
}
