/** So many at a time. */
export class Slots {
  readonly #max: number
  readonly #queue: (() => void)[] = []
  #active = 0

  constructor(max: number) {
    this.#max = max
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#active >= this.#max) await new Promise<void>((resolve) => this.#queue.push(resolve))
    else this.#active += 1
    try {
      return await work()
    } finally {
      const next = this.#queue.shift()
      if (next === undefined) this.#active -= 1
      else next()
    }
  }
}
