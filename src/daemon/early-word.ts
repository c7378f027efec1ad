import type { Clock } from '../base/clock.ts'

/** For so long nothing early is taken of a lender that was lost after it; the second time for good. */
const pauseMs = 3_600_000

/**
 * Whose metadata is announced to cargo before the rest is there. Nobody has signed it by then, and if rustc here makes another,
 * the unit fails: so that nobody gets to do that often.
 */
export class EarlyWord {
  readonly #clock: Pick<Clock, 'now'>
  readonly #broken = new Map<string, { until: number }>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  isTaken(peer: string): boolean {
    const broken = this.#broken.get(peer)
    return broken === undefined || broken.until <= this.#clock.now()
  }

  /** What it announced did not come. @param isProven something else came, or what no lender would give that works as it should */
  broke(peer: string, isProven: boolean): void {
    const isLast = isProven || this.#broken.has(peer)
    this.#broken.set(peer, { until: isLast ? Number.POSITIVE_INFINITY : this.#clock.now() + pauseMs })
  }
}
