import { codeOf, ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Capacity } from './capacity.ts'
import { Gate } from './gate.ts'
import type { Ledger } from './ledger.ts'
import type { KeyedQueues } from './queues.ts'
import type { Reserve } from './reserve.ts'

/** Shares of the ceiling: above the first the store starts to shrink, down to the second. */
const highWater = 0.95
const lowWater = 0.9
/** What is removed at least when the disk turns out to be full. */
const leastGivenWay = 8 << 20

export interface Freed {
  blocks: number
  bytes: number
}

interface SpaceNeeds {
  ledger: Ledger
  capacity: Capacity
  reserve: Reserve
  queues: KeyedQueues
  maxBytes: number
  log: Logger
  /** Removes a block; runs in its queue. */
  remove(hex: string): Promise<void>
  /** Resolves when the ledger is complete: until then the least recently used blocks are not known. */
  indexed(): Promise<void>
  onEvicted(hexes: readonly string[]): void
}

/**
 * Lets blocks into the store only when there is room, and makes room by removing the least recently used. Whoever asks
 * for room holds no block's queue, so that waiting here cannot be waiting for oneself.
 */
export class Space {
  readonly #needs: SpaceNeeds
  /** Room is found for one block after the other. */
  readonly #turn = new Gate(1)
  /** Granted, and not yet in the ledger. */
  #grantedBytes = 0
  #onGrantUsed: (() => void) | undefined
  #shrinking: Promise<unknown> = Promise.resolve()
  #isShrinkingSoon = false
  #evicted = 0

  constructor(needs: SpaceNeeds) {
    this.#needs = needs
  }

  get evicted(): number {
    return this.#evicted
  }

  /**
   * Runs `write`, which adds a block of `size` bytes, when there is room for it; a second time when the disk turns out to be
   * full and some room could be made. After that, and after other failures of the disk, nothing is let in for a while.
   * @throws ShoalError ERR_BLOCK_TOO_LARGE, ERR_DISK_FULL, ERR_STORE; what `write` throws is made one of them
   */
  async admit(size: number, write: () => Promise<void>): Promise<void> {
    this.#needs.capacity.check()
    try {
      await this.#granted(size, write)
    } catch (error) {
      if (!isFull(error) || !(await this.#turn.run(() => this.#giveWay(size)))) throw this.#failed(error)
      try {
        await this.#granted(size, write)
      } catch (again) {
        throw this.#failed(again)
      }
    }
  }

  /** As `admit`, for a `write` that cannot be done twice. */
  async admitOnce(size: number, write: () => Promise<void>): Promise<void> {
    this.#needs.capacity.check()
    try {
      await this.#granted(size, write)
    } catch (error) {
      if (isFull(error)) await this.#turn.run(() => this.#giveWay(size))
      throw this.#failed(error)
    }
  }

  async #granted(size: number, write: () => Promise<void>): Promise<void> {
    await this.#turn.run(() => this.#makeRoom(size))
    try {
      await write()
      this.#needs.capacity.written(size)
    } finally {
      this.#grantedBytes -= size
      this.#onGrantUsed?.()
    }
  }

  #failed(error: unknown): ShoalError {
    const { capacity, log } = this.#needs
    const wasRefusing = capacity.refusing
    const failure = capacity.failed(error)
    if (capacity.refusing && !wasRefusing) {
      log.warn('nothing new is kept for now', { code: failure.code, message: failure.message })
    }
    return failure
  }

  /** @returns false when nothing can be done about a full disk */
  async #giveWay(size: number): Promise<boolean> {
    const { ledger, reserve } = this.#needs
    const released = await reserve.release()
    if (ledger.freeableBytes < size) return released
    await this.shrink(ledger.bytes + this.#grantedBytes - Math.max(size, leastGivenWay))
    return true
  }

  /** Grants `size` bytes or throws. */
  async #makeRoom(size: number): Promise<void> {
    const { ledger, maxBytes } = this.#needs
    if (size > maxBytes) throw new ShoalError('ERR_BLOCK_TOO_LARGE', `${size} bytes, the store may hold ${maxBytes}`)
    await this.#needs.indexed()
    for (;;) {
      const ceiling = await this.#ceiling()
      const wanted = ledger.bytes + this.#grantedBytes + size
      if (wanted <= ceiling) {
        this.#grantedBytes += size
        if (wanted > ceiling * highWater) this.#shrinkSoon(ceiling * lowWater)
        return
      }
      const before = { evicted: this.#evicted, granted: this.#grantedBytes }
      await this.shrink(Math.min(ceiling * lowWater, ceiling - size))
      if (this.#evicted > before.evicted || this.#grantedBytes < before.granted) continue
      if (this.#grantedBytes === 0)
        throw new ShoalError('ERR_DISK_FULL', `no room for ${size} bytes beside what is in use`)
      await new Promise<void>((resolve) => {
        this.#onGrantUsed = resolve
      })
    }
  }

  #shrinkSoon(toBytes: number): void {
    if (this.#isShrinkingSoon) return
    this.#isShrinkingSoon = true
    void this.shrink(toBytes).finally(() => {
      this.#isShrinkingSoon = false
    })
  }

  async #ceiling(): Promise<number> {
    const { capacity, ledger, reserve } = this.#needs
    if (capacity.isDue) await reserve.keep()
    return await capacity.ceiling(ledger.bytes)
  }

  /** Removes least recently used blocks that nobody holds until at most `toBytes` are left or granted. Never rejects. */
  shrink(toBytes: number): Promise<Freed> {
    const shrunk = this.#shrinking.then(() => this.#shrinkNow(toBytes))
    this.#shrinking = shrunk
    return shrunk
  }

  /** As many as when the store has run full. */
  async collect(): Promise<Freed> {
    return await this.shrink((await this.#ceiling()) * lowWater)
  }

  async #shrinkNow(toBytes: number): Promise<Freed> {
    const { ledger, queues, log } = this.#needs
    await this.#needs.indexed()
    const gone: string[] = []
    let bytes = 0
    for (const hex of ledger.victims(ledger.bytes + this.#grantedBytes - toBytes)) {
      try {
        await queues.run(hex, async () => {
          if (ledger.isHeld(hex)) return
          const size = ledger.get(hex)?.size ?? 0
          await this.#needs.remove(hex)
          gone.push(hex)
          bytes += size
        })
      } catch (error) {
        log.warn('block cannot be removed', { code: 'ERR_STORE', reason: codeOf(error) })
        break
      }
    }
    const freed = { blocks: gone.length, bytes }
    if (gone.length === 0) return freed
    this.#evicted += gone.length
    log.debug('blocks evicted', { count: gone.length, bytes: ledger.bytes })
    this.#needs.onEvicted(gone)
    return freed
  }

  async idle(): Promise<void> {
    await this.#shrinking
  }
}

const isFull = (error: unknown): boolean => codeOf(error) === 'ENOSPC' || codeOf(error) === 'EDQUOT'
