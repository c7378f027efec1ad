/** What PROGRESS says of an attempt. */
export interface Reading {
  /** Processor milliseconds so far; undefined when the lender cannot tell. */
  cpuMs: number | undefined
  /** Bytes of inputs that had to be fetched so far, and how long that took. */
  fetchedBytes: number
  fetchMs: number
  /** Inputs are still to come. Default: false, also of a lender that does not tell. */
  isFetching?: boolean
}

/** Over how long the rate is taken: a compile may wait for its disk for a while. */
const windowMs = 1400
const mostReadings = 8
/** What begins before the first processor millisecond. */
const setUpMs = 30

/** How an attempt advances, from what its lender says of it. */
export class Gauge {
  #readings: { at: number; cpuMs: number; fetchedBytes: number }[]
  #since: number
  readonly #layOutMs: number
  #isFetching = false
  /** Inputs were seen to come before. */
  #hasFetched = false
  /** When the last of them came. */
  #cameAt: number
  #rate: number | undefined
  #cpuMs: number | undefined

  /**
   * @param now when it was awarded
   * @param layOutMs so long it may be until its compile has begun, which says nothing of how fast that is
   */
  constructor(now: number, layOutMs: number) {
    this.#since = now
    this.#cameAt = now
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
  /** Its lender waits for inputs, or did when it said so last. */
  get isFetching(): boolean {
    return this.#isFetching
  }
  /** When it had all inputs, as far as its lender tells: when it was awarded, or when inputs were still missing last. */
  get since(): number {
    return this.#since
  }
  /** Milliseconds for which nothing has come that it waits for. */
  silentMs(now: number): number {
    return now - this.#cameAt
  }

  read(now: number, { cpuMs, fetchedBytes, fetchMs, isFetching = false }: Reading): void {
    if (fetchedBytes > this.fetchedBytes) this.#cameAt = now
    this.#isFetching = isFetching
    if (isFetching) {
      this.#hasFetched = true
      this.#since = now
      this.#cpuMs = cpuMs
      this.#readings = [{ at: now, cpuMs: 0, fetchedBytes }]
      return
    }
    if (cpuMs === undefined) return
    const [first] = this.#readings
    const from = this.#readings.findLast(({ at }) => now - at >= windowMs) ?? first
    const hasMore = cpuMs === 0 && fetchedBytes > this.fetchedBytes
    if (cpuMs === 0 && now - this.#since < this.#layOutMs) {
      this.#readings = [{ at: now, cpuMs, fetchedBytes }]
      this.#cpuMs = cpuMs
      return
    }
    this.#readings.push({ at: now, cpuMs, fetchedBytes })
    if (this.#readings.length > mostReadings) this.#readings.shift()
    this.#cpuMs = cpuMs
    if (from === undefined || hasMore) return
    const before = (this.#hasFetched ? 0 : fetchMs) + setUpMs
    const spentMs = now - from.at - (from.at === this.#since ? before : 0)
    this.#rate = spentMs <= 0 ? undefined : Math.max(0, cpuMs - from.cpuMs) / spentMs
  }
}
