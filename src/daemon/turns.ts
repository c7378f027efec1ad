/** A number of things that may be done at once; the others wait in the order in which they came. */
export class Turns {
  readonly #waiting: (() => void)[] = []
  #free: number

  /** @param atOnce at least 1 */
  constructor(atOnce: number) {
    this.#free = atOnce
  }

  /**
   * @param work calls `letGo` when the others need not wait for its end
   * @throws what the work throws; the signal's reason when aborted before its turn
   */
  async take<T>(work: (letGo: () => void) => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#free > 0) this.#free -= 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    let isOver = false
    const letGo = (): void => {
      if (isOver) return
      isOver = true
      const next = this.#waiting.shift()
      if (next === undefined) this.#free += 1
      else next()
    }
    try {
      signal.throwIfAborted()
      return await work(letGo)
    } finally {
      letGo()
    }
  }
}
