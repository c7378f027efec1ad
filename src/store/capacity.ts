import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'

/** After a failed write nothing is written for this long. */
const refuseMs = 30_000
/** How long, and for how many bytes written, a look at the free space is good. */
const freeSpaceMs = 30_000
const freeSpaceBytes = 64 << 20
/** Failures of the disk as a whole: the next write would fail as well. */
const diskFailures = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EACCES', 'EPERM'])

interface CapacityInit {
  maxBytes: number
  /** The store does not grow into the last bytes of the file system. */
  minFreeBytes: number
  clock: Clock
  /** Bytes that may still be written to the file system. */
  free(): Promise<number>
}

/** Says how large the store may be, and whether writing makes sense at all just now. */
export class Capacity {
  readonly #init: CapacityInit
  #ceiling: number
  #lookAgainMs = Number.NEGATIVE_INFINITY
  #writtenSinceLook = 0
  #refusal: { untilMs: number; error: ShoalError } | undefined

  constructor(init: CapacityInit) {
    this.#init = init
    this.#ceiling = init.maxBytes
  }

  /** Whether writes are refused just now. */
  get refusing(): boolean {
    return this.#refusal !== undefined && this.#init.clock.now() < this.#refusal.untilMs
  }

  /** @throws ShoalError ERR_DISK_FULL or ERR_STORE for a while after a write failed that way */
  check(): void {
    if (this.#refusal !== undefined && this.refusing) {
      const { code, message, hint } = this.#refusal.error
      throw new ShoalError(code, message, { hint })
    }
    this.#refusal = undefined
  }

  /** The error to throw for a failed write; remembers it when it concerns the disk. */
  failed(error: unknown): ShoalError {
    const ours = toShoalError(error, 'ERR_STORE')
    if (diskFailures.has(codeOf(error) ?? '')) {
      this.#refusal = { untilMs: this.#init.clock.now() + refuseMs, error: ours }
      this.#lookAgainMs = Number.NEGATIVE_INFINITY
    }
    return ours
  }

  written(bytes: number): void {
    this.#writtenSinceLook += bytes
  }

  /** Whether `ceiling` is going to look at the disk. */
  get isDue(): boolean {
    return this.#init.clock.now() >= this.#lookAgainMs || this.#writtenSinceLook >= freeSpaceBytes
  }

  /** How many bytes the store may hold, given that it holds `bytes` now. */
  async ceiling(bytes: number): Promise<number> {
    if (!this.isDue) return this.#ceiling
    this.#lookAgainMs = this.#init.clock.now() + freeSpaceMs
    this.#writtenSinceLook = 0
    const spare = (await this.#init.free()) - this.#init.minFreeBytes
    this.#ceiling = Math.min(this.#init.maxBytes, bytes + Math.max(0, spare))
    return this.#ceiling
  }
}
