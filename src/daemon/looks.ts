import type { Clock } from '../base/clock.ts'
import { Turns } from './turns.ts'

/** Units of own builds that are looked at at once: while some wait for the disk, for which there are four threads, another has the processor. */
const looksAtOnce = 4
/** A look that takes longer waits for something, and keeps nobody from theirs. */
const longLookMs = 2000
/** What nobody waits for is put off for so long at most. */
const calmMs = 1000

/** In which order units of own builds are looked at. */
export class Looks {
  readonly #turns = new Turns(looksAtOnce)
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * One thing at a time takes no longer than many at once, and what most of the build waits for is ready first.
   * @param rank what has the highest goes first
   * @throws what the work throws; the signal's reason when aborted before its turn
   */
  async take<T>(work: () => Promise<T>, signal: AbortSignal, rank: number): Promise<T> {
    const look = async (letGo: () => void): Promise<T> => {
      const cancel = this.#clock.after(longLookMs, letGo)
      return await work().finally(cancel)
    }
    return await this.#turns.take(look, signal, rank)
  }

  /** Resolves when nothing waits to be looked at, or a second later. */
  async calm(): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const cancel = this.#clock.after(calmMs, resolve)
    await Promise.race([this.#turns.take(async () => {}, never, -1), late])
    cancel()
  }
}

const never = new AbortController().signal
