import type { Breakers } from './breaker.ts'
import type { Builds } from './builds.ts'
import type { Links } from './links.ts'
import type { OfferBook } from './offers.ts'
import type { Reservations } from './reservations.ts'
import type { SlotsHere } from './slots-here.ts'
import type { Unit } from './unit.ts'

export interface RoutesNeeds {
  offers: OfferBook
  reservations: Reservations
  breakers: Breakers
  builds: Builds
  links: Links
  here: SlotsHere
}

/** What sending a unit away may cost without a second look: milliseconds, and share of its compile. */
const [fairCostMs, fairCost] = [100, 0.35]
/** Where it costs more, its result has to come sooner than from here by this share. */
const gainLeast = 0.05

/** Which units may go to which lenders, and are worth sending there. */
export class Routes {
  readonly #needs: RoutesNeeds

  constructor(needs: RoutesNeeds) {
    this.#needs = needs
  }

  /** Whether nothing speaks against it. */
  allowed(now: number, peer: string, unit: Unit): boolean {
    if (unit.stays || unit.avoid.has(peer) || unit.attempts.some((attempt) => attempt.peer === peer)) return false
    const { builds, breakers } = this.#needs
    return !builds.refused(unit.task.build, peer) && !breakers.paused(peer, now)
  }

  /** The first of the queue that this peer can compile and that is worth sending there. */
  first(now: number, peer: string, queue: Iterable<Unit>): Unit | undefined {
    for (const [unit, waitMs] of this.#needs.here.waits(now, queue)) {
      if (this.#needs.offers.suits(peer, unit.task) && this.#isWorth(now, peer, unit, waitMs)) return unit
    }
    return undefined
  }

  /** Tells, of units of this queue, whether a peer is to be asked for one of its slots. */
  among(now: number, queue: Iterable<Unit>): (peer: string, unit: Unit) => boolean {
    const waits = new Map(this.#needs.here.waits(now, queue))
    return (peer, unit) => {
      return !this.#needs.links.isRefused(peer, now) && this.#isWorth(now, peer, unit, waits.get(unit) ?? 0)
    }
  }

  /** Whether its result would be here sooner than from a slot here. */
  #isWorth(now: number, peer: string, unit: Unit, waitMs: number): boolean {
    if (!this.allowed(now, peer, unit)) return false
    if (unit.attempts.length > 0) return true
    const { links, reservations } = this.#needs
    const { expectedMs } = unit.task
    const costMs = links.costMs(peer, unit.task, reservations.answerMs(peer))
    // A slot here that it leaves to others is worth something too.
    if (costMs <= fairCostMs + fairCost * expectedMs) return true
    const hereMs = waitMs + expectedMs
    return costMs + expectedMs < hereMs - gainLeast * hereMs
  }
}
