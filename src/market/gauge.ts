/** What PROGRESS says of an attempt. */
export interface Reading {
  /** Processor milliseconds so far; undefined when the lender cannot tell. */
  cpuMs: number | undefined
  /** Bytes of inputs that had to be fetched so far, and how long that took. */
  fetchedBytes: number
  fetchMs: number
}

/** Over how long the rate is taken: a compile may wait for its disk for a while. */
const leastWindowMs = 1400
const mostReadings = 8

/** How an attempt advances, from what its lender says of it. */
export class Gauge {
  readonly #readings: { at: number; cpuMs: number; fetchedBytes: number }[]
  #rate: number | undefined

  /** @param now when it was awarded */
  constructor(now: number) {
    this.#readings = [{ at: now, cpuMs: 0, fetchedBytes: 0 }]
  }

  /** Processor milliseconds per millisecond lately; undefined while inputs are fetched, and when it is not known. */
  get rate(): number | undefined {
    return this.#rate
  }

  /** @returns whether inputs have come since it was last read */
  read(now: number, { cpuMs, fetchedBytes }: Omit<Reading, 'fetchMs'>): boolean {
    const before = this.#readings.at(-1)?.fetchedBytes ?? 0
    if (cpuMs === undefined) return fetchedBytes > before
    this.#readings.push({ at: now, cpuMs, fetchedBytes })
    const from = this.#readings.findLast(({ at }) => now - at >= leastWindowMs)
    if (this.#readings.length > mostReadings) this.#readings.shift()
    const isFetching = from !== undefined && from.fetchedBytes < fetchedBytes
    this.#rate = from === undefined || isFetching ? undefined : Math.max(0, cpuMs - from.cpuMs) / (now - from.at)
    return fetchedBytes > before
  }
}
