import type { Clock } from '../base/clock.ts'

/**
 * A peer that is gone is noticed sooner than this. With 2 s, two busy machines that built the same at once compiled up to four
 * of 23 units twice, because a unit waits for a processor there; with 10 s none.
 */
const leastWaitMs = 10_000
const maxStrikes = 3
const outMs = 10 * 60_000

/** How long something that is expected to take `expectedMs` is waited for. */
export const waitBoundMs = (expectedMs: number): number => Math.max(leastWaitMs, 2 * expectedMs)

/** Peers that let this node wait in vain. After three times in a row a peer is not waited for during ten minutes. */
export class Patience {
  readonly #clock: Clock
  readonly #strikes = new Map<string, { count: number; outUntil: number | undefined }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  has(peerId: string): boolean {
    const outUntil = this.#strikes.get(peerId)?.outUntil
    return outUntil === undefined || outUntil <= this.#clock.now()
  }

  /** It was waited for to the last, and for nothing. */
  lose(peerId: string): void {
    const count = (this.#strikes.get(peerId)?.count ?? 0) + 1
    const out = count >= maxStrikes
    this.#strikes.set(peerId, out ? { count: 0, outUntil: this.#clock.now() + outMs } : { count, outUntil: undefined })
  }

  /** It did what it was waited for. */
  restore(peerId: string): void {
    this.#strikes.delete(peerId)
  }
}
