import { createHash } from 'node:crypto'
import { type Datastore, Key } from 'interface-datastore'
import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import { codeOf, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { limits } from '../plan/action.ts'
import type { Holding } from '../recall/candidates.ts'
import { isForOthers, readTrace } from '../recall/evidence.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { cidFromDigest, hexOf } from '../wire/cid.ts'
import { readResult } from './inventory.ts'
import { nearestLock } from './lock-file.ts'

export interface PrefetchNeeds {
  datastore: Datastore
  log: Logger
  /** Whether a result is here already. */
  has(key: string): boolean
  /** What members have of many action keys: hex → who has what. */
  askMany(keys: readonly CID[], signal: AbortSignal): Promise<Map<string, Holding[]>>
  /** Fetches blocks that nobody waits for yet. */
  fetch(cid: CID, options: { from: readonly string[]; maxBytes: number; signal: AbortSignal }): Promise<Uint8Array>
  /** Something is known of a lock file (hex of its key) now. */
  onRemembered(lockKey: string): void
  ensure(cid: CID, size: number, from: readonly string[], signal: AbortSignal): Promise<number>
}

interface Build {
  /** Action keys (hex) in the order in which cargo asked. */
  planned: Set<string>
  lockKey: Promise<string | undefined>
  abort: AbortController
  isMatched: boolean
  /** What others built with this lock file. */
  lists: Promise<string[][]>
}

const prefix = '/builds/'
const digestBytes = 32
const maxKeys = 8192
const maxLists = 8
/** Units that may be planned before one is found in a list. */
const maxTries = 32
const maxBytes = 1 << 30
const maxMs = 120_000
const batch = 64
const fetchesAtOnce = 4

const entrySchema = z.array(z.instanceof(Uint8Array)).max(maxLists)

/**
 * When a build begins, fetches what it is likely to ask for: the results of the units that a build with the same
 * `Cargo.lock` asked for last, here or at a member. Only blocks are fetched: each unit still decides by itself what holds.
 */
export class Prefetch {
  readonly #needs: PrefetchNeeds
  readonly #builds = new Map<string, Build>()
  readonly stats = { results: 0, bytes: 0 }

  constructor(needs: PrefetchNeeds) {
    this.#needs = needs
  }

  /** A unit of a build has been planned; never waits and never throws. @param dir where cargo runs */
  planned(id: string, dir: () => string, key: CID): void {
    let build = this.#builds.get(id)
    if (build === undefined) {
      const abort = new AbortController()
      const lockKey = lockKeyOf(dir())
      build = { planned: new Set(), lockKey, abort, isMatched: false, lists: this.#lists(lockKey, abort.signal) }
      this.#builds.set(id, build)
    }
    const known = build
    known.planned.add(hexOf(key))
    if (known.isMatched || known.planned.size > maxTries) return
    known.lists
      .then((lists) => this.#match(known, lists))
      .catch((error: unknown) => {
        if (!known.abort.signal.aborted)
          this.#needs.log.info('not prefetched', { message: toShoalError(error).message })
      })
  }

  /** The build is over: nothing more is fetched for it, and what it asked for is remembered. */
  ended(id: string): void {
    const build = this.#builds.get(id)
    if (build === undefined) return
    this.#builds.delete(id)
    build.abort.abort()
    this.#remember(build).catch((error: unknown) => {
      this.#needs.log.info('build not remembered', { message: toShoalError(error).message })
    })
  }

  stop(): void {
    for (const { abort } of this.#builds.values()) abort.abort()
  }

  /** Lists of action keys of past builds, for a member that asks: hex of the lock file's key. */
  async lists(lockKey: string): Promise<Uint8Array[]> {
    try {
      return decodeCbor(await this.#needs.datastore.get(nameOf(lockKey)), entrySchema, maxLists * (maxKeys + 1) * 32)
    } catch (error) {
      if (codeOf(error) !== 'ERR_DECODE' && !(error instanceof Error && error.name === 'NotFoundError')) throw error
      return []
    }
  }

  /** Keys of all lock files that something is known of. */
  async *lockKeys(): AsyncGenerator<string> {
    for await (const key of this.#needs.datastore.queryKeys({ prefix })) yield key.toString().slice(prefix.length)
  }

  async #lists(lockKey: Promise<string | undefined>, signal: AbortSignal): Promise<string[][]> {
    const hex = await lockKey
    if (hex === undefined) return []
    const own = await this.lists(hex)
    const answers = await this.#needs.askMany([cidFromDigest(Buffer.from(hex, 'hex'))], signal)
    const theirs = (answers.get(hex) ?? []).flatMap(({ traces }) => traces)
    return [...own, ...theirs].map(keysIn)
  }

  async #match(build: Build, lists: readonly string[][]): Promise<void> {
    if (build.isMatched) return
    const list = lists.find((keys) => keys.some((key) => build.planned.has(key)))
    if (list === undefined) return
    build.isMatched = true
    const signal = AbortSignal.any([build.abort.signal, AbortSignal.timeout(maxMs)])
    let left = maxBytes
    const wanted = list.filter((key) => !this.#needs.has(key))
    for (let at = 0; at < wanted.length && left > 0 && !signal.aborted; at += batch) {
      const keys = wanted.slice(at, at + batch).filter((key) => !build.planned.has(key))
      if (keys.length === 0) continue
      const names = keys.map((key) => cidFromDigest(Buffer.from(key, 'hex')))
      const found = await this.#needs.askMany(names, signal)
      const queue = keys.filter((key) => found.has(key))
      const fetchSome = async (): Promise<void> => {
        for (let key = queue.shift(); key !== undefined && left > 0; key = queue.shift()) {
          // By now somebody waits for it, and fetches it.
          if (!build.planned.has(key)) left -= await this.#fetch(found.get(key) ?? [], left, signal)
        }
      }
      await Promise.all(Array.from({ length: fetchesAtOnce }, fetchSome))
    }
  }

  /** @returns how many bytes came */
  async #fetch(holdings: readonly Holding[], left: number, signal: AbortSignal): Promise<number> {
    const [first] = holdings.flatMap(({ traces }) => traces)
    const trace = first && readTrace(first)
    if (first === undefined || trace === undefined || !isForOthers(trace)) return 0
    const same = holdings.filter(({ traces }) => traces.some((bytes) => Buffer.compare(bytes, first) === 0))
    const from = same.map(({ peer }) => peer)
    let bytes = 0
    try {
      const result = readResult(await this.#needs.fetch(trace.result, { from, maxBytes: limits.result, signal }))
      for (const { cid, size } of result?.outputs ?? []) {
        if (bytes + size > left) return bytes
        bytes += await this.#needs.ensure(cid, size, from, signal)
      }
      this.stats.results += 1
    } catch (error) {
      signal.throwIfAborted()
      this.#needs.log.debug('not prefetched', { code: codeOf(error) })
    } finally {
      this.stats.bytes += bytes
    }
    return bytes
  }

  async #remember({ planned, lockKey }: Build): Promise<void> {
    const hex = await lockKey
    if (hex === undefined || planned.size === 0) return
    const keys = [...planned].slice(-maxKeys)
    const known = await this.lists(hex)
    const isWithin = (some: readonly string[], all: ReadonlySet<string>): boolean => some.every((key) => all.has(key))
    if (known.some((list) => isWithin(keys, new Set(keysIn(list))))) return
    const others = known.filter((list) => !isWithin(keysIn(list), new Set(keys)))
    const lists = [Buffer.from(keys.join(''), 'hex'), ...others].slice(0, maxLists)
    await this.#needs.datastore.put(nameOf(hex), encodeCbor(lists.map((list) => new Uint8Array(list))).bytes)
    this.#needs.onRemembered(hex)
  }
}

const nameOf = (lockKey: string): Key => new Key(`${prefix}${lockKey}`, false)

/** What a list names: digests of 32 bytes, one after the other. */
function keysIn(list: Uint8Array): string[] {
  const count = Math.min(maxKeys, Math.floor(list.length / digestBytes))
  return Array.from({ length: count }, (_, at) =>
    Buffer.from(list.subarray(at * digestBytes, (at + 1) * digestBytes)).toString('hex'),
  )
}

/** Names the nearest `Cargo.lock` at or above a directory by its content. */
async function lockKeyOf(dir: string): Promise<string | undefined> {
  const lock = await nearestLock(dir)
  return lock && createHash('sha256').update('shoal build\0').update(lock).digest('hex')
}
