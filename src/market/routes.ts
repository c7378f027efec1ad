import type { Breakers } from './breaker.ts'
import type { Builds } from './builds.ts'
import { type Links, nearMs } from './links.ts'
import type { OfferBook } from './offers.ts'
import type { Pace, Times } from './pace.ts'
import type { Reservations } from './reservations.ts'
import type { SlotsHere } from './slots-here.ts'
import { isAnnounced, type Unit } from './unit.ts'
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

  /**
   * Of the queue, the unit that a free slot here is for: the first that no faster lender is likely to ask for soon.
   * @param waiting units for whom those lenders' slots are
   */
  forSlotHere(now: number, queue: Iterable<Unit>): Unit | undefined {
    let ahead = 0
    for (const unit of queue) {
      // Of what is announced the same has to come out again, which those who are at it are likelier to give.
      if (isAnnounced(unit)) continue
      if (!this.isSoonerAway(now, unit, ahead)) return unit
      ahead += 1
    }
    return undefined
  }

  /**
   * Whether a unit does better to leave a free slot here to others: lenders that are enough faster have slots, more of them than
   * units before it, or are being asked for one.
   */
  isSoonerAway(now: number, unit: Unit, ahead: number): boolean {
    if (unit.stays || unit.returned) return false
    const { offers, reservations, links } = this.#needs
    const here = this.#needs.speed()
    let slots = 0
    for (const peer of offers.peers()) {
      if (offers.speed(peer) <= here) continue
      const asked = reservations.young(peer, now)
      const free = links.isRefused(peer, now) ? 0 : offers.free(peer, now)
      if (free + asked === 0 || !offers.suits(peer, unit.task)) continue
      if (this.#knows(now, peer) && this.#isWorth(now, peer, unit, 0)) slots += free + asked
      if (slots > ahead) return true
    }
    return false
  }

  /** Whether nothing speaks against it. */
  allowed(now: number, peer: string, unit: Unit): boolean {
    if (unit.stays || unit.avoid.has(peer) || unit.attempts.some((attempt) => attempt.peer === peer)) return false
    const { builds, breakers } = this.#needs
    return !builds.refused(unit.task.build, peer) && !breakers.paused(peer, now)
  }

  /** Whether somebody lends what it needs, busy or not. */
  anybody(now: number, unit: Unit): boolean {
    return !unit.stays && this.#needs.offers.anybody(unit.task, now, (peer) => this.allowed(now, peer, unit))
  }

  /**
   * Of the queue, what this peer can compile and what is worth sending there: the first. A peer of which nothing is known gets
   * one unit at first: what came back, or the last.
   */
  next(now: number, peer: string, queue: Iterable<Unit>): Unit | undefined {
    const { here, links, offers, units } = this.#needs
    const isKnown = this.#knows(now, peer)
    if (!isKnown && (units.awayAt(peer).length > 0 || links.isComing(peer, now))) return undefined
    let last: Unit | undefined
    for (const [unit, waitMs] of here.waits(now, queue)) {
      if (!offers.suits(peer, unit.task) || !this.#isWorth(now, peer, unit, waitMs)) continue
      if (isKnown || unit.returned) return unit
      last = unit
    }
    return last
  }

  /** Tells, of units of this queue, whether a peer is to be asked for one of its slots. */
  among(now: number, queue: Iterable<Unit>): (peer: string, unit: Unit) => boolean {
    const { here, links } = this.#needs
    const waits = new Map(here.waits(now, queue))
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

  /** Whether a unit of this queue waits for which this peer would be asked if it offered a slot. */
  wants(now: number, peer: string, queue: Iterable<Unit>): boolean {
    const mayAsk = this.among(now, queue)
    for (const unit of queue) if (mayAsk(peer, unit) && this.#needs.offers.suits(peer, unit.task)) return true
    return false
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

  /** Whether a result of so many bytes comes later than that of a compile here. */
  isFar(now: number, peer: string, unit: Unit, bytes: number): boolean {
    const { links, reservations, pace } = this.#needs
    const answerMs = reservations.answerMs(peer) ?? nearMs
    // What is made already comes soon over a short link, unless that is known to be a slow one: what else is measured there is who is busy.
    if (answerMs < nearMs && links.bytesPerMs(peer, answerMs) >= quickBytesPerMs) return false
    return pace.isSooner(links.movingMs(peer, bytes, answerMs), this.#hereMs(now, unit))
  }

  /** Of a link with hardly any delay it is known that it is fast enough for now. */
  #knows(now: number, peer: string): boolean {
    const { links, pace, reservations } = this.#needs
    const isNear = (reservations.answerMs(peer) ?? nearMs) < nearMs
    return pace.knows(peer, now) && (isNear || links.isKnown(peer))
  }

  /** Until the result of a unit would be here that comes next. */
  #hereMs(now: number, unit: Unit): number {
    for (const [, waitMs] of this.#needs.here.waits(now, [unit])) return waitMs + unit.task.expectedMs
    return unit.task.expectedMs
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
      const awayMs = this.#sendMs(peer, unit) + task.expectedMs / this.#speed(peer)
      if (awayMs < task.expectedMs * (1 - leaveFor)) return true
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
    const { expectedMs } = unit.task
    const costMs = this.#sendMs(peer, unit) + expectedMs * (1 / this.#speed(peer) - 1)
    // A slot here that it leaves to others is worth something too.
    if (isFull && costMs <= fairCostMs + fairCost * expectedMs) return true
    const hereMs = waitMs + expectedMs
    return costMs + expectedMs < hereMs - (isFull ? gainLeast : leaveGain) * hereMs
  }
}
