import { statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { type Clock, systemClock } from '../base/clock.ts'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import { hexOf, rawCodec } from '../wire/cid.ts'
import { Capacity } from './capacity.ts'
import { BlockDisk } from './disk.ts'
import { openFlags } from './files.ts'
import { Gate } from './gate.ts'
import type { BlockStoreInit, BlockStoreStats } from './init.ts'
import { Intake } from './intake.ts'
import { BlockFile, type IncomingFile, LentFiles, wholeBytes } from './large.ts'
import { Leases } from './leases.ts'
import { Ledger } from './ledger.ts'
import { Lent } from './lent.ts'
import { type Lock, takeLock } from './lock.ts'
import { PinnedBlocks } from './pins.ts'
import { KeyedQueues } from './queues.ts'
import { Repairs } from './repairs.ts'
import { Reserve } from './reserve.ts'
import { Shelf } from './shelf.ts'
import { type Freed, Space } from './space.ts'

const defaultMinFreeBytes = 4 * 1024 ** 3
/** Open files are a bounded good. */
const maxWrites = 32
const maxLent = 65_536
const defaultReserveBytes = 8 << 20

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
  readonly #intake: Intake
  readonly #reserve: Reserve
  readonly #ledger = new Ledger()
  readonly #leases = new Leases((hex) => this.#ledger.hold(hex))
  readonly #pins: PinnedBlocks
  readonly #repairs: Repairs
  readonly #lent = new Lent(maxLent)
  readonly #lentFiles = new LentFiles()
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
    this.#pins = new PinnedBlocks(join(init.dir, 'pins'), (hex) => this.#ledger.hold(hex))
    this.#repairs = new Repairs({
      refetch: init.refetch,
      onLost: (cid) => init.onEvicted?.([hexOf(cid)]),
      log: init.log,
    })
    const free = (): Promise<number> => this.#disk.free()
    this.#reserve = new Reserve({
      file: join(init.dir, 'reserve'),
      bytes: init.reserveBytes ?? defaultReserveBytes,
      free,
    })
    this.#capacity = new Capacity({
      maxBytes: init.maxBytes,
      minFreeBytes: init.minFreeBytes ?? defaultMinFreeBytes,
      clock: this.#clock,
      free,
    })
    this.#shelf = new Shelf({
      disk: this.#disk,
      ledger: this.#ledger,
      queues: this.#queues,
      log: init.log,
      clock: this.#clock,
      onBad: (cid) => {
        init.onBad?.(cid)
        this.#repairs.add(cid)
      },
    })
    this.#space = new Space({
      ledger: this.#ledger,
      capacity: this.#capacity,
      reserve: this.#reserve,
      queues: this.#queues,
      maxBytes: init.maxBytes,
      log: init.log,
      remove: (hex) => this.#shelf.remove(hex),
      indexed: () => this.#indexed,
      onEvicted: (hexes) => init.onEvicted?.(hexes),
    })
    this.#intake = new Intake({
      disk: this.#disk,
      shelf: this.#shelf,
      space: this.#space,
      queues: this.#queues,
      leases: this.#leases,
    })
  }

  /**
   * Takes the directory for this process and removes what an earlier one left unfinished. The list of what is there is
   * made in the background; reading and writing work meanwhile. What is pinned is known from the start.
   * @throws ShoalError ERR_DAEMON_RUNNING when another process has it, ERR_STORE when it cannot be used
   */
  async start(): Promise<void> {
    let lock: Lock | undefined
    try {
      await mkdir(this.#init.dir, { recursive: true, mode: 0o700 })
      lock = await takeLock(join(this.#init.dir, 'lock'))
      await this.#disk.open()
      await this.#pins.open()
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
    await this.#repairs.stop()
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
      await this.#reserve.keep()
    } catch (error) {
      this.#init.log.warn('blocks cannot be listed', { code: 'ERR_STORE', reason: codeOf(error) })
    }
  }

  /**
   * Keeps bytes, which must not change before this resolves. What is there already is not written again.
   * @throws ShoalError ERR_DISK_FULL, ERR_STORE, or ERR_BLOCK_TOO_LARGE for more than the store may hold
   */
  put(bytes: Uint8Array, codec: number = rawCodec): Promise<CID> {
    return this.#whileOpen(() => this.#intake.bytes(bytes, codec))
  }

  /** As `put`, for bytes that the caller has compared with `cid` just now. */
  async putVerified(cid: CID, bytes: Uint8Array): Promise<void> {
    await this.#whileOpen(() => this.#intake.named(bytes, cid))
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
    return this.#whileOpen(() => this.#intake.file(path, options))
  }

  /**
   * Keeps a large block that `fill` writes piece by piece, in any order; nobody sees it before it is whole and right.
   * @throws ShoalError ERR_BLOCK_MISMATCH when it is something else, what `fill` throws, and what `put` throws
   */
  async putLarge(cid: CID, size: number, fill: (file: IncomingFile) => Promise<void>): Promise<void> {
    await this.#whileOpen(() => this.#intake.large(cid, size, fill))
  }

  /**
   * The file of a block that is larger than `wholeBytes`, to be read in ranges and closed; undefined when it is not here
   * or not large. It was compared with its name when it came or was first opened, and was not touched since.
   */
  async open(cid: CID): Promise<BlockFile | undefined> {
    const hex = hexOf(cid)
    this.#leases.take(hex)
    const size = this.#ledger.get(hex)?.size
    if (size !== undefined && size <= wholeBytes) return undefined
    const path = await this.#shelf.path(cid)
    const stamp = this.#ledger.get(hex)?.stamp
    if (path !== undefined && stamp !== undefined) return await largeOnly(BlockFile.open(path, openFlags, stamp))
    const lent = this.#lent.get(hex)
    // Nearly all of them are sources, and small: those are read once, as a whole, and not compared with their names before that too.
    if (lent === undefined || (sizeOf(lent) ?? 0) <= wholeBytes) return undefined
    return await largeOnly(this.#lentFiles.open(lent, cid))
  }

  /**
   * The bytes of a small block in `into`, on the event loop; undefined when that is too short for it, or when it is not here,
   * not small, or not certain to be right without comparing it with its name: then ask `get`. As for a large one, it was compared
   * when it came or was last read, and was not touched since.
   */
  getUntouched(cid: CID, into: Uint8Array): Uint8Array | undefined {
    this.#leases.take(hexOf(cid))
    return this.#shelf.readUntouched(cid, into)
  }

  /** The bytes of a block, compared with its name just now; undefined when they are not here. Never rejects. */
  async get(cid: CID): Promise<Uint8Array | undefined> {
    this.#leases.take(hexOf(cid))
    return (await this.#shelf.read(cid)) ?? (await this.#lent.read(cid))
  }

  /** Whether `get` will most likely find it: answered from memory, without a look at the file. */
  async has(cid: CID): Promise<boolean> {
    const hex = hexOf(cid)
    this.#leases.take(hex)
    if (this.#ledger.has(hex) || this.#lent.has(hex)) return true
    return !this.#hasIndex && this.#disk.look(this.#disk.file(cid)) !== undefined
  }

  /**
   * The store's own file of a block, to be copied and never changed or linked. Its content was verified, and the file was
   * not touched since then. Undefined when it is absent, corrupt or only lent. Lease or `hold` it while the path is in use.
   */
  async path(cid: CID): Promise<string | undefined> {
    this.#leases.take(hexOf(cid))
    return await this.#shelf.path(cid)
  }

  /**
   * Says that a file outside the store holds a block, so that `get` can serve it without a copy. It is verified on every
   * read and forgotten once it does not match. Bounded: the oldest of 65,536 is forgotten first, except for those few that
   * are said to be `lasting`.
   */
  lend(cid: CID, path: string, { lasting = false }: { lasting?: boolean } = {}): void {
    this.#lent.set(hexOf(cid), path, lasting)
  }

  /**
   * Runs `work`. Whatever block it asks this store for, or puts, is leased from just before that until `work` has ended: what
   * was found once can be used. Other work is not affected.
   */
  leasing<T>(work: () => Promise<T>): Promise<T> {
    return this.#leases.during(work)
  }

  /**
   * Keeps a block for good, over restarts and power cuts, until `unpin` or `purge`.
   * @returns false when it is not here
   * @throws ShoalError ERR_DISK_FULL, ERR_STORE
   */
  pin(cid: CID): Promise<boolean> {
    return this.#whileOpen(() =>
      this.#pins.add(hexOf(cid), () => this.#queues.run(hexOf(cid), () => this.#shelf.verified(cid))),
    )
  }

  /** @throws ShoalError ERR_STORE */
  unpin(cid: CID): Promise<void> {
    return this.#whileOpen(() => this.#pins.remove(hexOf(cid)))
  }

  /** Keeps a block, which need not be there yet, from being removed for want of room until released. Counted. */
  hold(cid: CID): () => void {
    return this.#ledger.hold(hexOf(cid))
  }

  /** Removes a block, held or pinned or not, and forgets a lent file for it. */
  async remove(cid: CID): Promise<void> {
    const hex = hexOf(cid)
    this.#lent.forget(hex)
    await this.#pins.remove(hex)
    await this.#queues.run(hex, () => this.#shelf.remove(hex))
  }

  /**
   * Removes least recently used blocks that nobody holds until at most `toBytes` are left. Without a number: as far as the
   * store shrinks when it has run full; and the quarantine.
   * @throws ShoalError ERR_STORE
   */
  async shrink(toBytes?: number): Promise<Freed> {
    if (toBytes !== undefined) return await this.#space.shrink(toBytes)
    await this.#disk.quarantine.clear()
    return await this.#space.collect()
  }

  /** Removes all blocks, pinned ones too, but those that somebody is using; and the quarantine. @throws ShoalError ERR_STORE */
  async purge(): Promise<Freed> {
    await this.#pins.clear()
    await this.#disk.quarantine.clear()
    return await this.#space.shrink(0)
  }

  /**
   * Reads every block, takes the corrupt ones out, and gets those again that somebody else has.
   * @param options only: these (hex sha2-256) instead of all
   * @returns how many were read, how many of them were bad, and how many of those are there again
   */
  async verify({
    only,
  }: {
    only?: readonly string[]
  } = {}): Promise<{ checked: number; bad: number; replaced: number }> {
    await this.#indexed
    let checked = 0
    const bad: string[] = []
    for (const hex of only ?? this.keys()) {
      if (!(await this.#shelf.recheck(hex))) bad.push(hex)
      checked++
    }
    await this.#repairs.idle()
    return { checked, bad: bad.length, replaced: bad.filter((hex) => this.#ledger.has(hex)).length }
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
      pinned: this.#pins.count,
      held: this.#ledger.heldCount,
      quarantined: this.#disk.quarantine.count,
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
}

/** On the event loop: undefined where nothing can be looked at. */
function sizeOf(path: string): number | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })?.size
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}

async function largeOnly(opening: Promise<BlockFile | undefined>): Promise<BlockFile | undefined> {
  const file = await opening
  if (file === undefined || file.size > wholeBytes) return file
  await file.close()
  return undefined
}
