import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { hexOf } from '../wire/cid.ts'

/** Where blocks come from: verified bytes, or undefined. */
export interface BlockSource {
  get(cid: CID): Promise<Uint8Array | undefined>
}

interface Entry {
  bytes: Promise<Uint8Array | undefined>
  /** Undefined until it has been read. */
  size: number | undefined
  usedAt: number
}

const maxKeptBytes = 128 * 1024 * 1024
const keepMs = 5000
const maxLoads = 4
const maxWaiting = 64

/**
 * Blocks that are being served, so that the ranges of one block cost one read. Bounded: few reads at a time, 128 MiB
 * kept besides the block in use, nothing kept for more than a few seconds.
 */
export class ServedBlocks {
  readonly #clock: Clock
  readonly #source: BlockSource
  readonly #entries = new Map<string, Entry>()
  readonly #waiting: (() => void)[] = []
  #loads = 0
  #keptBytes = 0
  #cancelSweep: (() => void) | undefined

  constructor(clock: Clock, source: BlockSource) {
    this.#clock = clock
    this.#source = source
  }

  /** The block; undefined when it is not here, `busy` when too many wait already. */
  async get(cid: CID): Promise<Uint8Array | 'busy' | undefined> {
    const key = `${cid.code}/${hexOf(cid)}`
    const known = this.#entries.get(key)
    if (known !== undefined) {
      known.usedAt = this.#clock.now()
      // Most recently used last: `#trim` takes from the front.
      this.#entries.delete(key)
      this.#entries.set(key, known)
      return known.bytes
    }
    if (this.#waiting.length >= maxWaiting) return 'busy'
    const entry: Entry = { bytes: this.#load(cid), size: undefined, usedAt: this.#clock.now() }
    this.#entries.set(key, entry)
    try {
      const bytes = await entry.bytes
      if (bytes === undefined) this.#drop(key, entry)
      else this.#keep(key, entry, bytes.length)
      return bytes
    } catch (error) {
      this.#drop(key, entry)
      throw error
    }
  }

  /** Begins to read a block that will be asked for. */
  expect(cid: CID): void {
    // Whoever asks for it next is told what went wrong.
    this.get(cid).catch(() => undefined)
  }

  clear(): void {
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
    this.#entries.clear()
    this.#keptBytes = 0
  }

  async #load(cid: CID): Promise<Uint8Array | undefined> {
    if (this.#loads >= maxLoads) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#loads += 1
    try {
      return await this.#source.get(cid)
    } finally {
      this.#loads -= 1
      this.#waiting.shift()?.()
    }
  }

  #keep(key: string, entry: Entry, size: number): void {
    if (this.#entries.get(key) !== entry) return
    entry.size = size
    this.#keptBytes += size
    for (const [name, older] of this.#entries) {
      if (this.#keptBytes <= maxKeptBytes) break
      if (older !== entry && older.size !== undefined) this.#drop(name, older)
    }
    this.#cancelSweep ??= this.#clock.after(keepMs, () => this.#sweep())
  }

  #drop(key: string, entry: Entry): void {
    // It may have been let go of, and read again, in the meantime.
    if (this.#entries.get(key) !== entry) return
    this.#entries.delete(key)
    this.#keptBytes -= entry.size ?? 0
  }

  #sweep(): void {
    this.#cancelSweep = undefined
    const before = this.#clock.now() - keepMs
    for (const [key, entry] of this.#entries) {
      if (entry.usedAt <= before && entry.size !== undefined) this.#drop(key, entry)
    }
    if (this.#entries.size > 0) this.#cancelSweep = this.#clock.after(keepMs, () => this.#sweep())
  }
}
