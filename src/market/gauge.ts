/** What PROGRESS says of an attempt. */
export interface Reading {
  /** Processor milliseconds so far; undefined when the lender cannot tell. */
  cpuMs: number | undefined
  /** Bytes of inputs that had to be fetched so far, and how long that took. */
  fetchedBytes: number
  fetchMs: number
}

/** Over how long the rate is taken: a compile may wait for its disk for a while. */
const windowMs = 1400
const mostReadings = 8
/** What begins before the first processor millisecond. */
const setUpMs = 30

/** How an attempt advances, from what its lender says of it. */
export class Gauge {
  #readings: { at: number; cpuMs: number; fetchedBytes: number }[]
  readonly #since: number
  readonly #layOutMs: number
  #rate: number | undefined
  #cpuMs: number | undefined

  /**
   * @param now when it was awarded
   * @param layOutMs so long it may be until its compile has begun, which says nothing of how fast that is
   */
  constructor(now: number, layOutMs: number) {
    this.#since = now
    this.#layOutMs = layOutMs
    this.#readings = [{ at: now, cpuMs: 0, fetchedBytes: 0 }]
  }

  /** Processor milliseconds per millisecond lately; undefined while inputs are fetched, and when it is not known. */
  get rate(): number | undefined {
    return this.#rate
  }
  /** Processor milliseconds so far; undefined when they are not known. */
  get cpuMs(): number | undefined {
    return this.#cpuMs
  }
  get fetchedBytes(): number {
    return this.#readings.at(-1)?.fetchedBytes ?? 0
  }

  read(now: number, { cpuMs, fetchedBytes, fetchMs }: Reading): void {
    if (cpuMs === undefined) return
    const [first] = this.#readings
    const from = this.#readings.findLast(({ at }) => now - at >= windowMs) ?? first
    const isFetching = cpuMs === 0 && fetchedBytes > this.fetchedBytes
    if (cpuMs === 0 && now - this.#since < this.#layOutMs) {
      this.#readings = [{ at: now, cpuMs, fetchedBytes }]
      this.#cpuMs = cpuMs
      return
    }
    this.#readings.push({ at: now, cpuMs, fetchedBytes })
    if (this.#readings.length > mostReadings) this.#readings.shift()
    this.#cpuMs = cpuMs
    if (from === undefined || isFetching) return
    const spentMs = now - from.at - (from.at === this.#since ? fetchMs + setUpMs : 0)
    this.#rate = spentMs <= 0 ? undefined : Math.max(0, cpuMs - from.cpuMs) / spentMs
  }
}
