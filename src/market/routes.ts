import type { Breakers } from './breaker.ts'
import type { Builds } from './builds.ts'
import { type Links, nearMs } from './links.ts'
import type { OfferBook } from './offers.ts'
import type { Pace, Times } from './pace.ts'
import type { Reservations } from './reservations.ts'
import type { SlotsHere } from './slots-here.ts'
import type { Unit } from './unit.ts'
import type { Units } from './units.ts'

export interface RoutesNeeds {
  offers: OfferBook
  reservations: Reservations
  breakers: Breakers
  builds: Builds
  links: Links
  here: SlotsHere
  pace: Pace
  units: Units
  /** Of this machine, compared to the reference machine's. */
  speed(): number
}

/** What sending a unit away may cost without a second look: milliseconds, and share of its compile. */
const [fairCostMs, fairCost] = [100, 0.35]
/** Where it costs more, its result has to come sooner than from here by this share. */
const gainLeast = 0.05
/** A free slot here is left alone for a lender whose result comes sooner by this share: more than speeds are measured wrong by. */
const leaveFor = 0.25
/** Ten times as slow as Wi-Fi mostly is. */
const quickBytesPerMs = 1000

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

  /**
   * Of the queue, what this peer can compile and what is worth sending there: the first. A peer of which nothing is known gets
   * one unit at first: what came back, or the last.
   */
  next(now: number, peer: string, queue: Iterable<Unit>): Unit | undefined {
    const { here, links, offers, pace, units } = this.#needs
    const isKnown = this.#knows(now, peer)
    if (!isKnown && (units.awayAt(peer).length > 0 || links.isComing(peer, now))) return undefined
    let last: Unit | undefined
    for (const [unit, waitMs] of here.waits(now, queue, pace.scale)) {
      if (!offers.suits(peer, unit.task) || !this.#isWorth(now, peer, unit, waitMs)) continue
      if (isKnown || unit.returned) return unit
      last = unit
    }
    return last
  }

  /** Tells, of units of this queue, whether a peer is to be asked for one of its slots. */
  among(now: number, queue: Iterable<Unit>): (peer: string, unit: Unit) => boolean {
    const { here, links, pace } = this.#needs
    const waits = new Map(here.waits(now, queue, pace.scale))
    const probes = new Map<string, Unit | undefined>()
    const probe = (peer: string): Unit | undefined => {
      if (!probes.has(peer)) probes.set(peer, this.next(now, peer, queue))
      return probes.get(peer)
    }
    return (peer, unit) => {
      if (links.isRefused(peer, now)) return false
      return this.#knows(now, peer) ? this.#isWorth(now, peer, unit, waits.get(unit) ?? 0) : probe(peer) === unit
    }
  }

  /** What is known of how long a unit takes there and here. */
  times(now: number, peer: string, unit: Unit): Times {
    return { expectedMs: unit.task.expectedMs, sendMs: this.#sendMs(peer, unit), hereMs: this.#hereMs(now, unit) }
  }

  /** What moving the bytes of a unit there and back takes. */
  #sendMs(peer: string, unit: Unit): number {
    const { links, reservations } = this.#needs
    return links.costMs(peer, unit.task, reservations.answerMs(peer))
  }

  /** Whether a result of so many bytes comes later than that of a compile here. @param workedMs processor time of the compile there */
  isFar(now: number, peer: string, unit: Unit, bytes: number, workedMs: number | undefined): boolean {
    const { links, reservations, pace } = this.#needs
    const answerMs = reservations.answerMs(peer) ?? nearMs
    // What is made already comes soon over a short link, unless that is known to be a slow one: what else is measured there is who is busy.
    if (answerMs < nearMs && links.bytesPerMs(peer, answerMs) >= quickBytesPerMs) return false
    return pace.isSooner(links.movingMs(peer, bytes, answerMs), this.#hereMs(now, unit, workedMs))
  }

  /** Of a link with hardly any delay it is known that it is fast enough for now. */
  #knows(now: number, peer: string): boolean {
    const { links, pace, reservations } = this.#needs
    const isNear = (reservations.answerMs(peer) ?? nearMs) < nearMs
    return pace.knows(peer, now) && (isNear || links.isKnown(peer))
  }

  /** Until the result of a unit would be here that comes next. @param workedMs what its compile has taken elsewhere so far */
  #hereMs(now: number, unit: Unit, workedMs = 0): number {
    const { here, pace } = this.#needs
    const ms = Math.max(this.#compileMs(unit), workedMs)
    for (const [, waitMs] of here.waits(now, [unit], pace.scale)) return waitMs + ms
    return ms
  }

  /** What its compile takes here. */
  #compileMs({ task }: Unit): number {
    return this.#needs.pace.scale * task.expectedMs
  }

  /**
   * Whether a lender has a slot for it whose result would be here sooner than from a free slot here, by enough that this one is
   * left alone.
   */
  isLeft(now: number, unit: Unit): boolean {
    const { links, offers } = this.#needs
    const { task } = unit
    for (const peer of offers.peers()) {
      if (!offers.hasFree(peer, task, now) || links.isRefused(peer, now)) continue
      if (!this.#knows(now, peer) || !this.allowed(now, peer, unit)) continue
      const ms = this.#compileMs(unit)
      if (this.#sendMs(peer, unit) + ms / this.#speed(peer) < ms * (1 - leaveFor)) return true
    }
    return false
  }

  /** Of a lender, compared to this machine. */
  #speed(peer: string): number {
    return (this.#needs.pace.speed(peer) * this.#needs.offers.speed(peer)) / this.#needs.speed()
  }

  /** Whether its result would be here sooner than from a slot here. */
  #isWorth(now: number, peer: string, unit: Unit, waitMs: number): boolean {
    if (!this.allowed(now, peer, unit)) return false
    if (unit.attempts.length > 0) return true
    // What it would add is little, and a unit that others turn out to wait for would keep them waiting.
    if (this.#needs.pace.isSlow(peer, now)) return false
    const ms = this.#compileMs(unit)
    const costMs = this.#sendMs(peer, unit) + ms * (1 / this.#speed(peer) - 1)
    // A slot here that it leaves to others is worth something too.
    if (costMs <= fairCostMs + fairCost * ms) return true
    const hereMs = waitMs + ms
    return costMs + ms < hereMs - gainLeast * hereMs
  }
}
