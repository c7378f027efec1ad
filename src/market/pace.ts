import { timing } from './limits.ts'
import type { Attempt } from './unit.ts'

const kept = 64
/** Until enough has ended to tell: how far what was expected may be exceeded. */
const firstExcess = 4
const enough = 20
/** Processor time per time of a lender that works, at least as long as nobody has shown more. */
const firstRate = 0.5
/** Of what compiles here show: a lender first has to lay out what they find, which counts in its first half second. */
const hereShare = 0.5
/** Of the usual rate: less is a lender in trouble, and as much as the second one that works. */
const [slowShare, healthyShare] = [1 / 3, 0.7]
/** A lender that works is given this many times as long. */
const patience = 5
/** Of all compiles, and what may be spent before there are any. */
const [spareShare, spareMs] = [0.05, 2_000]

/** So much is believed to have taken as long as expected before anything ended; and no machine to be slower than that. */
const [expectedAlreadyMs, mostScale] = [1000, 16]

/** That a lender gave little of a processor longer ago may be otherwise now. */
const freshForMs = 10_000
/** Of what a lender showed longer ago nobody takes that others can do it now: one machine may sleep, all may be busy. */
const usualForMs = 60_000
/** Of the rates of one lender, the latest counts so much. */
const weight = 0.5
/** What is left of a compile that has taken as long as expected: this share of what it has taken. */
const overrun = 0.25
/** A result after so many times what was expected, and this, does not tell that its lender is as fast as others. */
const [fairTimes, fairMs] = [2, 100]
/** Less of a lead than this, in processor time per time, is what measuring it is wrong by; and no more of one is believed. */
const [leadLeast, leadMost] = [1.2, 4]
/** A second attempt has to be so much sooner. */
const [soonerMs, sooner] = [200, 1.5]

/** How long a unit takes. */
export interface Times {
  expectedMs: number
  /** For moving its bytes to the lender and back. */
  sendMs: number
  /** Until its result would be here if it waited for a slot here. */
  hereMs: number
}

/** That a lender is slow: found in so many attempts, one after the other. */
interface Suspicion {
  times: number
  /** The last of them. */
  attempt: Attempt
  at: number
  /** Until then it is left alone, and asked for one unit afterwards. */
  until: number
}

/** How long compiles take compared to what was expected, how busy lenders are with them, and what second attempts have cost. */
export class Pace {
  readonly #excess: number[] = []
  /** The last ones here. */
  readonly #here: { expectedMs: number; tookMs: number; cpuMs: number | undefined }[] = []
  /** Lenders that have shown how fast they are; the rate is undefined where only results tell. */
  readonly #lenders = new Map<string, { rate: number | undefined; at: number }>()
  /** Lenders that were slow when they were seen last. */
  readonly #slow = new Map<string, Suspicion>()
  #scale = 1
  /** Processor time per time of compiles here, lately. */
  #rateHere: number | undefined
  /** When any lender was seen last. */
  #latest = 0
  #workedMs = 0
  #wastedMs = 0

  /** A compile here has ended. @param cpuMs its processor time; undefined where that is not known */
  endedHere({ expectedMs, tookMs }: { expectedMs: number; tookMs: number }, cpuMs: number | undefined): void {
    this.ended(expectedMs, tookMs, cpuMs)
    if (expectedMs <= 0) return
    this.#here.push({ expectedMs, tookMs, cpuMs })
    if (this.#here.length > kept) this.#here.shift()
    const sum = { expectedMs: expectedAlreadyMs, tookMs: expectedAlreadyMs }
    const known = { cpuMs: 0, tookMs: 0 }
    for (const held of this.#here) {
      sum.expectedMs += held.expectedMs
      sum.tookMs += held.tookMs
      if (held.cpuMs === undefined) continue
      known.cpuMs += held.cpuMs
      known.tookMs += held.tookMs
    }
    this.#scale = Math.min(mostScale, Math.max(1, sum.tookMs / sum.expectedMs))
    if (known.tookMs > 0) this.#rateHere = Math.min(1, known.cpuMs / known.tookMs)
  }

  /** How many times as long as expected compiles here take, 1 to 16: this machine, too, may have a share of a processor only. */
  get scale(): number {
    return this.#scale
  }

  /** A compile has ended. @param cpuMs its processor time; undefined where that is not known */
  ended(expectedMs: number, tookMs: number, cpuMs: number | undefined): void {
    this.#workedMs += cpuMs ?? tookMs
    if (expectedMs > 0) push(this.#excess, tookMs / expectedMs)
  }

  /** The attempt has been read. @param hasEnded with a result */
  saw(attempt: Attempt, now: number, hasEnded = false): void {
    const { peer, awardedAt, expectedMs, gauge } = attempt
    const { rate, cpuMs } = gauge
    this.#latest = now
    const known = this.#lenders.get(peer)
    // What took several times as long as it should says too little.
    const tookFairly = now - awardedAt <= fairTimes * expectedMs + fairMs
    if (hasEnded && tookFairly && this.#slow.delete(peer)) this.#lenders.set(peer, { rate: undefined, at: now })
    if (rate === undefined) {
      if (!known && cpuMs === undefined && tookFairly) this.#lenders.set(peer, { rate, at: now })
      return
    }
    // How a compile begins may take a busy machine longer than the compile.
    if (now - gauge.since < timing.tellsLeast && this.#share(rate) < 1) return
    const before = known && now - known.at < freshForMs ? (known.rate ?? rate) : rate
    this.#lenders.set(peer, { rate: before + weight * (rate - before), at: now })
    if (this.speed(peer) < slowShare) this.#suspect(attempt, now)
    else this.#slow.delete(peer)
  }

  /** However often one attempt shows it, it is one reason to believe it. */
  #suspect(attempt: Attempt, now: number): void {
    const before = this.#slow.get(attempt.peer)
    const recent = before !== undefined && now - before.at < usualForMs ? before.times : 0
    const times = before?.attempt === attempt ? recent : recent + 1
    const ms = Math.min(timing.slowMost, timing.slow * 2 ** (times - 1))
    this.#slow.set(attempt.peer, { times, attempt, at: now, until: now + ms })
  }

  /** Whether anything is known of how fast this lender is. */
  knows(peer: string, now: number): boolean {
    return this.#lenders.has(peer) && !this.isDoubtful(peer, now)
  }

  /** How many lenders have shown how fast they are, and were not in trouble then. */
  get working(): number {
    let count = 0
    for (const peer of this.#lenders.keys()) if (!this.#slow.has(peer)) count += 1
    return count
  }

  /** How fast it is compared to others; 1 unless it is known to be slow. */
  speed(peer: string): number {
    return this.#share(this.#lenders.get(peer)?.rate)
  }

  /**
   * How many times as much of a processor its compiles get as those here, which the node's own work, or the owner's, may leave little;
   * 1 unless both are known.
   */
  lead(peer: string): number {
    const rate = this.#lenders.get(peer)?.rate
    if (rate === undefined || this.#rateHere === undefined) return 1
    const lead = Math.min(1, rate) / Math.max(0.01, this.#rateHere)
    return lead < leadLeast ? 1 : Math.min(leadMost, lead)
  }

  /** Whether it was in trouble when it was last seen, or less than usual is known of it, from so long ago that it need not be so now. */
  isDoubtful(peer: string, now: number): boolean {
    return this.#slow.has(peer) || (this.speed(peer) < 1 && now - (this.#lenders.get(peer)?.at ?? now) >= freshForMs)
  }

  /** Whether it works as is usual, as far as is known. */
  isHealthy(peer: string): boolean {
    return !this.#slow.has(peer) && this.speed(peer) === 1
  }

  /** Whether that was so short a time ago that it is left alone. */
  isSlow(peer: string, now: number): boolean {
    return (this.#slow.get(peer)?.until ?? now) > now
  }

  #share(rate: number | undefined): number {
    const share = rate === undefined ? 1 : rate / this.#usualRate
    return share < healthyShare ? Math.max(0.01, share) : 1
  }

  /** What these lenders have done, who were not lost, was for nothing. */
  givenUp(now: number, attempts: readonly Attempt[]): void {
    for (const { awardedAt, gauge } of attempts) {
      // What a lender says of itself is worth no more than the slot that it had.
      this.#wastedMs += Math.min(gauge.cpuMs ?? Number.POSITIVE_INFINITY, now - awardedAt)
    }
  }

  /** Whether second attempts have cost little so far. */
  get maySpend(): boolean {
    return this.#wastedMs <= spareMs + spareShare * this.#workedMs
  }

  /**
   * Whether it is time for a second attempt, because this one takes much longer than it should.
   */
  isLate(attempt: Attempt, { expectedMs, sendMs, hereMs }: Times, now: number): boolean {
    const { rate, cpuMs, isFetching, since } = attempt.gauge
    if (isFetching) return this.#isStuck(attempt, { expectedMs, sendMs, hereMs }, now)
    const elapsed = now - since
    if (cpuMs !== undefined && elapsed > timing.tellsLeast) {
      const left = this.#scale * Math.max(expectedMs - cpuMs, overrun * cpuMs)
      const awayMs = Math.max(0, sendMs - elapsed) + left / Math.max(0.01, (rate ?? this.#usualRate) / this.#usualRate)
      const isSlow = rate === undefined ? sendMs > elapsed : rate < slowShare * this.#usualRate
      if (isSlow && this.isSooner(awayMs, hereMs)) return true
    }
    if (elapsed < timing.lateLeast) return false
    if (rate !== undefined && rate < slowShare * this.#usualRate) return true
    const isHealthy = rate !== undefined && rate >= healthyShare * this.#usualRate
    return elapsed > (isHealthy ? patience : 1) * this.#longest(expectedMs)
  }

  /**
   * Whether inputs take so long to come that here would be sooner, or do not come at all. Any other lender would have to fetch them from the
   * same node: two that wait for a builder with much to do only make each other wait.
   */
  #isStuck({ awardedAt, gauge }: Attempt, { expectedMs, sendMs, hereMs }: Times, now: number): boolean {
    const elapsed = now - awardedAt
    const leftMs = Math.max(sendMs - elapsed, overrun * elapsed)
    if (elapsed > timing.tellsLeast && this.isSooner(leftMs + this.#scale * expectedMs, hereMs)) return true
    return gauge.silentMs(now) > Math.max(timing.lateLeast, 2 * sendMs)
  }

  /** Whether here would be sooner, by enough to begin anew. */
  isSooner(awayMs: number, hereMs: number): boolean {
    return awayMs > sooner * hereMs + soonerMs
  }

  /** What the best lender shows lately, but no more than one processor; at first what a machine like this one may show. */
  get #usualRate(): number {
    let best = this.#rateHere === undefined ? firstRate / this.#scale : hereShare * this.#rateHere
    for (const { rate, at } of this.#lenders.values())
      if (this.#latest - at < usualForMs) best = Math.max(best, rate ?? 0)
    return Math.min(1, best)
  }

  #longest(expectedMs: number): number {
    const excess = this.#excess.length < enough ? firstExcess : quantile(this.#excess, 0.95)
    return Math.max(timing.lateLeast, excess * expectedMs)
  }
}

function push(values: number[], value: number): void {
  values.push(value)
  if (values.length > kept) values.shift()
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0
}
