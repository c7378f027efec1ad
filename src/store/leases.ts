import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * Blocks that somebody is going to use: from the moment that he asks for one until he is done, it is not removed for want of
 * room. Asking takes the lease, before anything is looked at, so there is no moment in which a block was found and can go.
 * In memory: the process that owns the store is the only one that removes blocks, and what it was doing ends with it.
 */
export class Leases {
  readonly #current = new AsyncLocalStorage<Lease>()
  readonly #hold: (hex: string) => () => void

  constructor(hold: (hex: string) => () => void) {
    this.#hold = hold
  }

  /** Runs `work`; every block that it asks for meanwhile is leased until it has ended. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const lease = new Lease(this.#hold)
    try {
      return await this.#current.run(lease, work)
    } finally {
      lease.end()
    }
  }

  /** To be called before a block is looked for; does nothing outside of `during`. */
  take(hex: string): void {
    this.#current.getStore()?.add(hex)
  }
}

/** What one piece of work asked for. */
class Lease {
  readonly #hold: (hex: string) => () => void
  readonly #releases = new Map<string, () => void>()
  #isOver = false

  constructor(hold: (hex: string) => () => void) {
    this.#hold = hold
  }

  /** What goes on in the background when the work is over leases nothing any more. */
  add(hex: string): void {
    if (!this.#isOver && !this.#releases.has(hex)) this.#releases.set(hex, this.#hold(hex))
  }

  end(): void {
    this.#isOver = true
    for (const release of this.#releases.values()) release()
    this.#releases.clear()
  }
}
