interface Waiting {
  rank: number
  begin(): void
}

/** A number of things that may be done at once; of the others those with the highest rank come first, equal ones in the order in which they came. */
export class Turns {
  readonly #waiting: Waiting[] = []
  #free: number

  /** @param atOnce at least 1 */
  constructor(atOnce: number) {
    this.#free = atOnce
  }

  /**
   * @param work calls `letGo` when the others need not wait for its end
   * @throws what the work throws; the signal's reason when aborted before its turn
   */
  async take<T>(work: (letGo: () => void) => Promise<T>, signal: AbortSignal, rank = 0): Promise<T> {
    if (this.#free > 0) this.#free -= 1
    else await new Promise<void>((begin) => this.#wait({ rank, begin }))
    let isOver = false
    const letGo = (): void => {
      if (isOver) return
      isOver = true
      const next = this.#waiting.shift()
      if (next === undefined) this.#free += 1
      else next.begin()
    }
    try {
      signal.throwIfAborted()
      return await work(letGo)
    } finally {
      letGo()
    }
  }

  #wait(one: Waiting): void {
    const at = this.#waiting.findIndex(({ rank }) => rank < one.rank)
    this.#waiting.splice(at < 0 ? this.#waiting.length : at, 0, one)
  }
}
