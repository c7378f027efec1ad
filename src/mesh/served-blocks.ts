import type { CID } from 'multiformats/cid'
import { BoundedMap } from '../base/bounded-map.ts'
import type { Clock } from '../base/clock.ts'
import { hexOf } from '../wire/cid.ts'
import { chunkBytes, chunkCount, chunkLength, encodeManifest, largeBytes } from './manifest.ts'

/** A large block that is read in ranges. */
export interface RangeFile {
  readonly size: number
  /**
   * @param into may be used for the bytes, and is long enough
   * @throws ShoalError ERR_STORE when it is no longer what it was
   */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>
  close(): Promise<void>
}

/** Where blocks come from: verified bytes, or undefined. */
export interface BlockSource {
  get(cid: CID): Promise<Uint8Array | undefined>
  /** The bytes of a small block in `into`, if they can be had at once and are known to be right. */
  getUntouched?(cid: CID, into: Uint8Array): Uint8Array | undefined
  /** A block that is too large to be read as a whole; undefined when it is not here or not large. */
  open?(cid: CID): Promise<RangeFile | undefined>
}

interface Entry {
  file: Promise<RangeFile | undefined>
  /** Undefined until it is open. */
  keptBytes: number | undefined
  usedAt: number
  users: number
}

const maxKeptBytes = 16 << 20
const maxOpen = 32
const keepMs = 5000
const maxLoads = 4
const maxWaiting = 64
const maxManifests = 256

/**
 * Blocks that are being served, so that the ranges of one block cost one look-up. Bounded: few at a time, 16 MiB of small ones
 * kept besides those in use, nothing kept for more than a few seconds.
 */
export class ServedBlocks {
  readonly #clock: Clock
  readonly #source: BlockSource
  readonly #entries = new Map<string, Entry>()
  readonly #waiting: (() => void)[] = []
  /** By block; undefined while it is being made. */
  readonly #manifests = new BoundedMap<string, Uint8Array | undefined>(maxManifests)
  #loads = 0
  #keptBytes = 0
  #cancelSweep: (() => void) | undefined

  constructor(clock: Clock, source: BlockSource) {
    this.#clock = clock
    this.#source = source
  }

  /** The block, to be released; undefined when it is not here, `busy` when too many wait already. */
  async open(cid: CID): Promise<{ file: RangeFile; release: () => void } | 'busy' | undefined> {
    const key = `${cid.code}/${hexOf(cid)}`
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      if (this.#waiting.length >= maxWaiting) return 'busy'
      entry = { file: this.#load(cid), keptBytes: undefined, usedAt: this.#clock.now(), users: 0 }
    }
    // Most recently used last: `#trim` takes from the front.
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    const used = entry
    used.users += 1
    used.usedAt = this.#clock.now()
    const release = (): void => {
      used.users -= 1
      this.#trim()
    }
    try {
      const file = await used.file
      if (file !== undefined) {
        this.#keep(used, file)
        return { file, release }
      }
    } catch (error) {
      this.#drop(key, used)
      throw error
    }
    this.#drop(key, used)
    return undefined
  }

  /** The chunk manifest of a large block; `busy` while it is being made, undefined for a block that needs none. */
  manifest(cid: CID, size: number): Uint8Array | 'busy' | undefined {
    if (size <= largeBytes) return undefined
    const key = hexOf(cid)
    if (this.#manifests.has(key)) return this.#manifests.get(key) ?? 'busy'
    if ([...this.#manifests.values()].includes(undefined)) return 'busy'
    this.#manifests.set(key, undefined)
    void this.#makeManifest(cid).then(
      (bytes) => this.#setManifest(key, bytes),
      // Whoever asks again begins again.
      () => this.#setManifest(key, undefined),
    )
    return 'busy'
  }

  clear(): void {
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
    for (const [key, entry] of this.#entries) this.#drop(key, entry)
    this.#manifests.clear()
  }

  // Off the event loop, and one chunk in memory at a time.
  async #makeManifest(cid: CID): Promise<Uint8Array | undefined> {
    const opened = await this.open(cid)
    if (opened === undefined || opened === 'busy') return undefined
    try {
      const { file } = opened
      const digests: Uint8Array[] = []
      const buffer = new Uint8Array(chunkBytes)
      for (let index = 0; index < chunkCount(file.size); index++) {
        const bytes = await file.read(index * chunkBytes, chunkLength(file.size, index), buffer)
        digests.push(new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes))))
      }
      return encodeManifest(file.size, digests)
    } finally {
      opened.release()
    }
  }

  #setManifest(key: string, bytes: Uint8Array | undefined): void {
    this.#manifests.delete(key)
    if (bytes === undefined) return
    this.#manifests.set(key, bytes)
  }

  async #load(cid: CID): Promise<RangeFile | undefined> {
    if (this.#loads >= maxLoads) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#loads += 1
    try {
      const large = await this.#source.open?.(cid)
      if (large !== undefined) return large
      const bytes = await this.#source.get(cid)
      return bytes === undefined ? undefined : new InMemory(bytes)
    } finally {
      this.#loads -= 1
      this.#waiting.shift()?.()
    }
  }

  #keep(entry: Entry, file: RangeFile): void {
    if (entry.keptBytes !== undefined) return
    entry.keptBytes = file instanceof InMemory ? file.size : 0
    this.#keptBytes += entry.keptBytes
    this.#trim()
    this.#cancelSweep ??= this.#clock.after(keepMs, () => this.#sweep())
  }

  #trim(): void {
    const newest = [...this.#entries.values()].at(-1)
    for (const [key, entry] of this.#entries) {
      if (this.#keptBytes <= maxKeptBytes && this.#entries.size <= maxOpen) break
      if (entry !== newest && entry.users === 0) this.#drop(key, entry)
    }
  }

  #drop(key: string, entry: Entry): void {
    // It may have been let go of, and opened again, in the meantime.
    if (this.#entries.get(key) !== entry) return
    this.#entries.delete(key)
    this.#keptBytes -= entry.keptBytes ?? 0
    // Whoever asked for it was told when it could not be opened.
    entry.file.then((file) => file?.close()).catch(() => undefined)
  }

  #sweep(): void {
    this.#cancelSweep = undefined
    const before = this.#clock.now() - keepMs
    for (const [key, entry] of this.#entries) {
      if (entry.usedAt <= before && entry.users === 0) this.#drop(key, entry)
    }
    if (this.#entries.size > 0) this.#cancelSweep = this.#clock.after(keepMs, () => this.#sweep())
  }
}

class InMemory implements RangeFile {
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get size(): number {
    return this.#bytes.length
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.#bytes.subarray(offset, offset + length)
  }

  async close(): Promise<void> {
    // Nothing is open.
  }
}
