const windowMs = 30_000
const errorsToPause = 3
const firstPauseMs = 5000
const longestPauseMs = 60_000

interface Record {
  errors: number[]
  pauses: number
  until: number
}

/** Stops asking a peer that keeps failing: three errors in 30 s pause it for 5 s, then 10 s, … at most 60 s. */
export class Breakers {
  /** Outlives connections, so that a peer that flaps does not start anew; a peer without errors is not in it. */
  readonly #records = new Map<string, Record>()

  fail(peer: string, now: number): void {
    const record = this.#records.get(peer) ?? { errors: [], pauses: 0, until: Number.NEGATIVE_INFINITY }
    this.#records.set(peer, record)
    record.errors = [...record.errors.filter((at) => now - at < windowMs), now]
    if (record.errors.length < errorsToPause) return
    record.errors = []
    record.until = now + Math.min(longestPauseMs, firstPauseMs * 2 ** record.pauses)
    record.pauses += 1
  }

  succeed(peer: string): void {
    this.#records.delete(peer)
  }

  paused(peer: string, now: number): boolean {
    return (this.#records.get(peer)?.until ?? now) > now
  }

  /** When the next pause ends; Infinity when nobody is paused. */
  nextEnd(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const { until } of this.#records.values()) if (until > now) next = Math.min(next, until)
    return next
  }
}
