import { chunkBytes } from './manifest.ts'

/** Memory for chunks that are on their way, of all transfers together: the bound on what they can use. */
export class ChunkBuffers {
  readonly #free: Uint8Array[] = []
  readonly #waiting: (() => void)[] = []
  readonly #max: number
  #made = 0

  constructor(max: number) {
    this.#max = max
  }

  /** A buffer of the size of a chunk, or undefined when all are in use. */
  take(): Uint8Array | undefined {
    const free = this.#free.pop()
    if (free !== undefined || this.#made >= this.#max) return free
    this.#made += 1
    return Buffer.allocUnsafeSlow(chunkBytes)
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer)
    this.#waiting.shift()?.()
  }

  /** Calls `run` once a buffer was given back. */
  whenFree(run: () => void): void {
    this.#waiting.push(run)
  }

  /** Lets go of what is not in use. */
  release(): void {
    this.#made -= this.#free.length
    this.#free.length = 0
  }
}
