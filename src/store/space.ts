import { codeOf, ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Capacity } from './capacity.ts'
import { Gate } from './gate.ts'
import type { Ledger } from './ledger.ts'
import type { KeyedQueues } from './queues.ts'

/** Shares of the ceiling: above the first the store starts to shrink, down to the second. */
const highWater = 0.95
const lowWater = 0.9

interface SpaceNeeds {
  ledger: Ledger
  capacity: Capacity
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
  #shrinking: Promise<void> = Promise.resolve()
  #isShrinkingSoon = false
  #evicted = 0

  constructor(needs: SpaceNeeds) {
    this.#needs = needs
  }

  get evicted(): number {
    return this.#evicted
  }

  /**
   * Runs `write`, which adds a block of `size` bytes, when there is room for it.
   * @throws ShoalError ERR_BLOCK_TOO_LARGE, ERR_DISK_FULL, ERR_STORE; what `write` throws is made one of them
   */
  async admit(size: number, write: () => Promise<void>): Promise<void> {
    const { capacity } = this.#needs
    capacity.check()
    try {
      await this.#turn.run(() => this.#makeRoom(size))
    } catch (error) {
      throw capacity.failed(error)
    }
    try {
      await write()
      capacity.written(size)
    } catch (error) {
      throw capacity.failed(error)
    } finally {
      this.#grantedBytes -= size
      this.#onGrantUsed?.()
    }
  }

  /** Grants `size` bytes or throws. */
  async #makeRoom(size: number): Promise<void> {
    const { capacity, ledger, maxBytes } = this.#needs
    if (size > maxBytes) throw new ShoalError('ERR_BLOCK_TOO_LARGE', `${size} bytes, the store may hold ${maxBytes}`)
    await this.#needs.indexed()
    for (;;) {
      const ceiling = await capacity.ceiling(ledger.bytes)
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

  /** Removes least recently used blocks that nobody holds until at most `toBytes` are left or granted. Never rejects. */
  shrink(toBytes: number): Promise<void> {
    this.#shrinking = this.#shrinking.then(() => this.#shrinkNow(toBytes))
    return this.#shrinking
  }

  async #shrinkNow(toBytes: number): Promise<void> {
    const { ledger, queues, log } = this.#needs
    await this.#needs.indexed()
    const gone: string[] = []
    for (const hex of ledger.victims(ledger.bytes + this.#grantedBytes - toBytes)) {
      try {
        await queues.run(hex, async () => {
          if (ledger.isHeld(hex)) return
          await this.#needs.remove(hex)
          gone.push(hex)
        })
      } catch (error) {
        log.warn('block cannot be removed', { code: 'ERR_STORE', reason: codeOf(error) })
        break
      }
    }
    if (gone.length === 0) return
    this.#evicted += gone.length
    log.debug('blocks evicted', { count: gone.length, bytes: ledger.bytes })
    this.#needs.onEvicted(gone)
  }

  async idle(): Promise<void> {
    await this.#shrinking
  }
}
