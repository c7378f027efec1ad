import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { type Clock, systemClock } from '../base/clock.ts'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { cidFromDigest, digestOf, hexOf, rawCodec } from '../wire/cid.ts'
import { Capacity } from './capacity.ts'
import { BlockDisk } from './disk.ts'
import { chunkBytes, openFlagsFollowing, readChecked, sha256 } from './files.ts'
import { Gate } from './gate.ts'
import { Ledger } from './ledger.ts'
import { Lent } from './lent.ts'
import { type Lock, takeLock } from './lock.ts'
import { KeyedQueues } from './queues.ts'
import { Shelf } from './shelf.ts'
import { SourceFile } from './source.ts'
import { Space } from './space.ts'

const defaultMinFreeBytes = 4 * 1024 ** 3
/** Open files are a bounded good. */
const maxWrites = 32
const maxLent = 65_536
const maxLentBytes = 256 << 20

export interface BlockStoreInit {
  /** Belongs to the store alone; made when absent. */
  dir: string
  log: Logger
  /** Least recently used blocks are removed so that no more bytes than these are kept. */
  maxBytes: number
  /** Nor does the store grow into the last bytes of its file system. Default 4 GiB. */
  minFreeBytes?: number
  clock?: Clock
  /** Called for a block whose file held other bytes; it is out of the store by then. */
  onBad?: (cid: CID) => void
  /** Called after blocks were removed for want of room: hex sha2-256 of each. */
  onEvicted?: (hexes: readonly string[]) => void
}

export interface BlockStoreStats {
  blocks: number
  bytes: number
  maxBytes: number
  /** Blocks served from files outside the store. */
  lent: number
  /** Blocks found to be corrupt since the start. */
  bad: number
  /** Blocks removed for want of room since the start. */
  evicted: number
  /** Writes are refused just now because the disk is full or broken. */
  refusing: boolean
}

/** A store in `init.dir`; `start` it before anything is put. */
export function createBlockStore(init: BlockStoreInit): BlockStore {
  return new BlockStore(init)
}

/**
 * Blocks on disk. What leaves the store was compared with its name; what does not match counts as absent. Writes never
 * wait for the disk (no fsync): what a power cut tears is found on reading. CIDs that differ only in their codec are the
 * same block.
 */
export class BlockStore {
  readonly #init: BlockStoreInit
  readonly #clock: Clock
  readonly #disk: BlockDisk
  readonly #capacity: Capacity
  readonly #shelf: Shelf
  readonly #space: Space
  readonly #ledger = new Ledger()
  readonly #lent = new Lent(maxLent)
  /** Writing, checking and removing one block never overlap. Keyed by hex sha2-256. */
  readonly #queues = new KeyedQueues()
  readonly #gate = new Gate(maxWrites)
  readonly #writes = new Set<Promise<unknown>>()
  #lock: Lock | undefined
  #indexed: Promise<void> = Promise.resolve()
  #hasIndex = false

  constructor(init: BlockStoreInit) {
    this.#init = init
    this.#clock = init.clock ?? systemClock
    this.#disk = new BlockDisk(init.dir)
    this.#capacity = new Capacity({
      maxBytes: init.maxBytes,
      minFreeBytes: init.minFreeBytes ?? defaultMinFreeBytes,
      clock: this.#clock,
      free: () => this.#disk.free(),
    })
    this.#shelf = new Shelf({
      disk: this.#disk,
      ledger: this.#ledger,
      queues: this.#queues,
      ...init,
      clock: this.#clock,
    })
    this.#space = new Space({
      ledger: this.#ledger,
      capacity: this.#capacity,
      queues: this.#queues,
      maxBytes: init.maxBytes,
      log: init.log,
      remove: (hex) => this.#shelf.remove(hex),
      indexed: () => this.#indexed,
      onEvicted: (hexes) => init.onEvicted?.(hexes),
    })
  }

  /**
   * Takes the directory for this process and removes what an earlier one left unfinished. The list of what is there is
   * made in the background; reading and writing work meanwhile.
   * @throws ShoalError ERR_DAEMON_RUNNING when another process has it, ERR_STORE when it cannot be used
   */
  async start(): Promise<void> {
    let lock: Lock | undefined
    try {
      await mkdir(this.#init.dir, { recursive: true, mode: 0o700 })
      lock = await takeLock(join(this.#init.dir, 'lock'))
      await this.#disk.open()
    } catch (error) {
      await this.#release(lock)
      if (error instanceof ShoalError) throw error
      throw new ShoalError('ERR_STORE', `${this.#init.dir} cannot be used`, { cause: error })
    }
    this.#lock = lock
    this.#indexed = this.#index()
  }

  /** Refuses new writes, waits for those under way, then gives the directory free. */
  async stop(): Promise<void> {
    const lock = this.#lock
    this.#lock = undefined
    await this.#indexed
    while (this.#writes.size > 0) await Promise.allSettled(this.#writes)
    await this.#space.idle()
    await this.#queues.idle()
    await this.#release(lock)
  }

  /** A lock that cannot be removed does no harm: it is taken over once this process is gone. */
  async #release(lock: Lock | undefined): Promise<void> {
    try {
      await lock?.release()
    } catch (error) {
      this.#init.log.warn('lock cannot be removed', { code: 'ERR_STORE', reason: codeOf(error) })
    }
  }

  /** Resolves when `stats` and `keys` know all that lay on disk at the start. */
  indexed(): Promise<void> {
    return this.#indexed
  }

  async #index(): Promise<void> {
    try {
      this.#ledger.seed(await this.#disk.scan())
      this.#hasIndex = true
    } catch (error) {
      this.#init.log.warn('blocks cannot be listed', { code: 'ERR_STORE', reason: codeOf(error) })
    }
  }

  /**
   * Keeps bytes, which must not change before this resolves. What is there already is not written again.
   * @throws ShoalError ERR_DISK_FULL, ERR_STORE, or ERR_BLOCK_TOO_LARGE for more than the store may hold
   */
  put(bytes: Uint8Array, codec: number = rawCodec): Promise<CID> {
    return this.#whileOpen(() => this.#putBytes(bytes, codec))
  }

  async #putBytes(bytes: Uint8Array, codec: number): Promise<CID> {
    const cid = cidFromDigest(await sha256(bytes), codec)
    if ((await this.#shelf.path(cid)) !== undefined) return cid
    await this.#space.admit(bytes.length, () =>
      this.#queues.run(hexOf(cid), async () => {
        // Another put of the same bytes can have been first.
        if ((await this.#shelf.verified(cid)) !== undefined) return
        const temp = await this.#disk.writeTemp((file) => file.writeFile(bytes))
        await this.#shelf.commit(temp, cid, bytes.length)
      }),
    )
    return cid
  }

  /**
   * Keeps a copy of a regular file; a symbolic link is refused. `watch` sees all of it in order, chunk by chunk: each is only
   * good until it returns.
   * @throws ShoalError ERR_OUTPUT when it is absent, no regular file or changes meanwhile, ERR_BLOCK_TOO_LARGE above
   *   `maxBytes`, and what `put` throws
   */
  putFile(
    path: string,
    options: { maxBytes: number; watch?: (chunk: Uint8Array) => void },
  ): Promise<{ cid: CID; size: number }> {
    return this.#whileOpen(async () => {
      const source = await SourceFile.open(path, options.maxBytes)
      try {
        const { size } = source
        if (size > chunkBytes) return { cid: await this.#putStream(source, options.watch), size }
        const bytes = await source.read()
        options.watch?.(bytes)
        return { cid: await this.#putBytes(bytes, rawCodec), size }
      } finally {
        await source.close()
      }
    })
  }

  async #putStream(source: SourceFile, watch?: (chunk: Uint8Array) => void): Promise<CID> {
    let digest: Uint8Array = new Uint8Array(32)
    await this.#space.admit(source.size, async () => {
      const temp = await this.#disk.writeTemp(async (file) => {
        digest = await source.copyTo(file, watch)
      })
      const cid = cidFromDigest(digest)
      await this.#queues.run(hexOf(cid), async () => {
        if ((await this.#shelf.verified(cid)) === undefined) await this.#shelf.commit(temp, cid, source.size)
        else await this.#disk.discard(temp)
      })
    })
    return cidFromDigest(digest)
  }

  /** The bytes of a block, compared with its name just now; undefined when they are not here. Never rejects. */
  async get(cid: CID): Promise<Uint8Array | undefined> {
    return (await this.#shelf.read(cid)) ?? (await this.#getLent(cid))
  }

  /** Whether `get` will most likely find it: answered from memory, without a look at the file. */
  async has(cid: CID): Promise<boolean> {
    const hex = hexOf(cid)
    if (this.#ledger.has(hex) || this.#lent.has(hex)) return true
    return !this.#hasIndex && this.#disk.look(this.#disk.file(cid)) !== undefined
  }

  /**
   * The store's own file of a block, to be copied and never changed or linked. Its content was verified, and the file was
   * not touched since then. Undefined when it is absent, corrupt or only lent. `hold` it while the path is in use.
   */
  async path(cid: CID): Promise<string | undefined> {
    return await this.#shelf.path(cid)
  }

  /**
   * Says that a file outside the store holds a block, so that `get` can serve it without a copy. It is verified on every
   * read and forgotten once it does not match. Bounded: the oldest of 65,536 is forgotten first.
   */
  lend(cid: CID, path: string): void {
    this.#lent.set(hexOf(cid), path)
  }

  /** Keeps a block, which need not be there yet, from being removed for want of room until released. Counted. */
  hold(cid: CID): () => void {
    return this.#ledger.hold(hexOf(cid))
  }

  /** Removes a block, held or not, and forgets a lent file for it. */
  async remove(cid: CID): Promise<void> {
    const hex = hexOf(cid)
    const lent = this.#lent.get(hex)
    if (lent !== undefined) this.#lent.drop(hex, lent)
    await this.#queues.run(hex, () => this.#shelf.remove(hex))
  }

  /** Removes least recently used blocks that nobody holds until at most `toBytes` are left. */
  async shrink(toBytes: number): Promise<void> {
    await this.#space.shrink(toBytes)
  }

  /** Reads every block and takes the corrupt ones out. */
  async verify(signal?: AbortSignal): Promise<{ checked: number; bad: number }> {
    await this.#indexed
    const badBefore = this.#shelf.bad
    let checked = 0
    for (const hex of this.keys()) {
      signal?.throwIfAborted()
      await this.#shelf.recheck(hex)
      checked++
    }
    return { checked, bad: this.#shelf.bad - badBefore }
  }

  /** Hex sha2-256 of every block on disk, least recently used first. */
  keys(): string[] {
    return [...this.#ledger.keys()]
  }

  stats(): BlockStoreStats {
    return {
      blocks: this.#ledger.count,
      bytes: this.#ledger.bytes,
      maxBytes: this.#init.maxBytes,
      lent: this.#lent.count,
      bad: this.#shelf.bad,
      evicted: this.#space.evicted,
      refusing: this.#capacity.refusing,
    }
  }

  async #whileOpen<T>(write: () => Promise<T>): Promise<T> {
    if (this.#lock === undefined) throw new ShoalError('ERR_STORE', 'the store is not open')
    const running = this.#gate.run(write)
    this.#writes.add(running)
    try {
      return await running
    } catch (error) {
      throw toShoalError(error, 'ERR_STORE')
    } finally {
      this.#writes.delete(running)
    }
  }

  async #getLent(cid: CID): Promise<Uint8Array | undefined> {
    const path = this.#lent.get(hexOf(cid))
    if (path === undefined) return undefined
    const checked = await readChecked(path, digestOf(cid), {
      flags: openFlagsFollowing,
      // Other people's file systems can be slow: never on the event loop.
      expectedBytes: Number.POSITIVE_INFINITY,
      maxBytes: maxLentBytes,
      keep: true,
    })
    if (checked.kind === 'right') return checked.bytes
    this.#lent.drop(hexOf(cid), path)
    return undefined
  }
}
