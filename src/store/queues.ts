/** One queue per key: what runs under a key never overlaps, different keys do not wait for each other. */
export class KeyedQueues {
  readonly #tails = new Map<string, Promise<void>>()

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key)
    const result = before === undefined ? work() : before.then(work)
    const tail = result.then(done, done)
    this.#tails.set(key, tail)
    try {
      return await result
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key)
    }
  }

  /** Resolves when everything that was queued before has ended. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values())
  }
}

const done = (): void => undefined
