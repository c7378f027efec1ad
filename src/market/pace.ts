import { timing } from './limits.ts'
import type { Attempt } from './unit.ts'

const kept = 64
/** Until enough has ended to tell: how far what was expected may be exceeded. */
const firstExcess = 4
const enough = 20
/** Processor time per time of a lender of which nothing can be compared yet. */
const firstRate = 0.5
/** Of the usual rate: less is a lender in trouble, and as much as the second one that works. */
const [slowShare, healthyShare] = [1 / 3, 0.7]
/** A lender that works is given this many times as long. */
const patience = 5
/** Of all compiles, and what may be spent before there are any. */
const [spareShare, spareMs] = [0.05, 10_000]

/** How long compiles take compared to what was expected, how busy lenders are with them, and what second attempts have cost. */
export class Pace {
  readonly #excess: number[] = []
  readonly #rates: number[] = []
  #workedMs = 0
  #wastedMs = 0

  /** A compile has ended. */
  ended(expectedMs: number, tookMs: number): void {
    this.#workedMs += tookMs
    if (expectedMs > 0) push(this.#excess, tookMs / expectedMs)
  }

  /** Processor milliseconds per millisecond of an attempt, measured over a while. */
  saw(rate: number): void {
    push(this.#rates, rate)
  }

  /** What these lenders have done, who were not lost, was for nothing. */
  givenUp(now: number, attempts: readonly Attempt[]): void {
    for (const { awardedAt } of attempts) this.#wastedMs += now - awardedAt
  }

  /** Whether second attempts have cost little so far. */
  get maySpend(): boolean {
    return this.#wastedMs <= spareMs + spareShare * this.#workedMs
  }

  /** Whether it is time for a second attempt, because this one takes much longer than it should. */
  isLate(attempt: Attempt, expectedMs: number, now: number): boolean {
    const elapsed = now - attempt.awardedAt
    if (elapsed < timing.lateLeast) return false
    const rate = attempt.gauge.rate
    const usual = this.#usualRate
    if (rate !== undefined && rate < slowShare * usual) return true
    const isHealthy = rate !== undefined && rate >= healthyShare * usual
    return elapsed > (isHealthy ? patience : 1) * this.#longest(expectedMs)
  }

  get #usualRate(): number {
    return this.#rates.length < 4 ? firstRate : quantile(this.#rates, 0.5)
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
