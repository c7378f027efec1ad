import type { Breakers } from './breaker.ts'
import type { Builds } from './builds.ts'
import { timing } from './limits.ts'
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
/** Units that a lender of which nothing is known may have at once. */
const mostProbes = 4
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

  /** Whether the unit could go there, some time. Of those that were just found slow nobody expects that: for them cargo need not start more units. */
  mayHelp(now: number, peer: string, unit: Unit): boolean {
    return this.allowed(now, peer, unit) && !this.#needs.pace.isSlow(peer, now)
  }

  /**
   * Of the queue, what this peer can compile and what is worth sending there: the first. A peer of which nothing is known gets
   * what came back, or the last, and few at once.
   */
  next(now: number, peer: string, queue: Iterable<Unit>): Unit | undefined {
    const { here, links, offers, units } = this.#needs
    const isKnown = this.#knows(now, peer)
    if (!isKnown && (units.awayAt(peer).length >= this.#probes(now, peer) || links.isComing(peer))) return undefined
    let last: Unit | undefined
    for (const [unit, waitMs] of here.waits(now, queue, this.#scale(peer))) {
      if (!offers.suits(peer, unit.task) || !this.#isWorth(now, peer, unit, waitMs)) continue
      if (isKnown || unit.returned) return unit
      last = unit
    }
    return last
  }

  /** Tells, of units of this queue, whether a peer is to be asked for one of its slots. */
  among(now: number, queue: Iterable<Unit>): (peer: string, unit: Unit) => boolean {
    const { here, links } = this.#needs
    const waits = new Map<number, Map<Unit, number>>()
    const waitMs = (peer: string, unit: Unit): number => {
      const scale = this.#scale(peer)
      const known = waits.get(scale) ?? new Map(here.waits(now, queue, scale))
      waits.set(scale, known)
      return known.get(unit) ?? 0
    }
    const probes = new Map<string, Unit | undefined>()
    const probe = (peer: string): Unit | undefined => {
      if (!probes.has(peer)) probes.set(peer, this.next(now, peer, queue))
      return probes.get(peer)
    }
    return (peer, unit) => {
      if (links.isRefused(peer, now)) return false
      return this.#knows(now, peer) ? this.#isWorth(now, peer, unit, waitMs(peer, unit)) : probe(peer) === unit
    }
  }

  /** What is known of how long a unit takes there and here. */
  times(now: number, peer: string, unit: Unit): Times {
    return { expectedMs: unit.task.expectedMs, sendMs: this.#sendMs(peer, unit), hereMs: this.#hereMs(now, peer, unit) }
  }

  /** What moving the bytes of a unit there and back takes. */
  #sendMs(peer: string, unit: Unit): number {
    const { links, reservations } = this.#needs
    return links.costMs(peer, unit.task, reservations.answerMs(peer))
  }

  /** Whether a result of so many bytes comes later than that of a compile here. @param tookMs of the compile there, so far */
  isFar(now: number, peer: string, unit: Unit, bytes: number, tookMs: number): boolean {
    const { links, reservations, pace } = this.#needs
    const answerMs = reservations.answerMs(peer) ?? nearMs
    // What is made already comes soon over a short link, unless that is known to be a slow one: what else is measured there is who is busy.
    if (answerMs < nearMs && links.bytesPerMs(peer, answerMs) >= quickBytesPerMs) return false
    return pace.isSooner(
      links.movingMs(peer, bytes, answerMs),
      this.#hereMs(now, peer, unit, tookMs * this.#speed(peer)),
    )
  }

  /** Of a link with hardly any delay it is known that it is fast enough for now. */
  #knows(now: number, peer: string): boolean {
    const { links, pace } = this.#needs
    return pace.knows(peer, now) && (this.#isNear(peer) || links.isKnown(peer))
  }

  /**
   * How many units a peer of which nothing is known may have: one, and one more for each that is known to work, since where most do
   * a mistake is rare and others can make up for it. Over a long link a mistake costs more, and one that was slow is only tried.
   */
  #probes(now: number, peer: string): number {
    const { pace } = this.#needs
    return this.#isNear(peer) && !pace.isDoubtful(peer, now) ? Math.min(mostProbes, 1 + pace.working) : 1
  }

  #isNear(peer: string): boolean {
    return (this.#needs.reservations.answerMs(peer) ?? nearMs) < nearMs
  }

  /**
   * How many times as long as expected units are taken to take, here and there. Over a long link a mistake costs more than what
   * it might bring, and this is a guess.
   */
  #scale(peer: string): number {
    return this.#isNear(peer) ? this.#needs.pace.scale : 1
  }

  /** Until the result of a unit would be here that comes next, as compared with a peer's. @param leastMs what its compile takes at least */
  #hereMs(now: number, peer: string, unit: Unit, leastMs = 0): number {
    const scale = this.#scale(peer)
    const ms = Math.max(scale * unit.task.expectedMs, leastMs)
    for (const [, waitMs] of this.#needs.here.waits(now, [unit], scale)) return waitMs + ms
    return ms
  }

  /**
   * How many slots there are with lenders, free or promised, from which its result would be here sooner than from a free slot here, by
   * enough that this one is left alone.
   */
  betterFree(now: number, unit: Unit): number {
    const { offers, links, reservations } = this.#needs
    const { task } = unit
    let slots = 0
    for (const peer of offers.peers()) {
      const free = offers.free(peer, task, now, reservations.youngAt(peer, now))
      if (free === 0 || links.isRefused(peer, now)) continue
      if (!this.#knows(now, peer) || !this.allowed(now, peer, unit)) continue
      const ms = this.#scale(peer) * unit.task.expectedMs
      if (this.#sendMs(peer, unit) + ms / this.#speed(peer) < ms * (1 - leaveFor)) slots += free
    }
    return slots
  }

  /** Of the queue, the first for a free slot here that no better one is about to take. Each is kept for one only once. */
  nextHere(now: number, queue: Iterable<Unit>): Unit | undefined {
    let kept = 0
    for (const unit of queue) {
      // Of what is announced the same has to come out again, which those who are at it are likelier to give.
      if (isAnnounced(unit)) continue
      if (unit.returned || kept >= this.betterFree(now, unit)) return unit
      unit.leftUntil ??= now + timing.left
      if (now >= unit.leftUntil) return unit
      kept += 1
    }
    return undefined
  }

  /**
   * Whether the unit, if this peer gets it, is tried there only, because it was found slow, and goes on waiting for a slot here. Of one
   * that has lost its lender nothing is lost by that.
   */
  isTrial(now: number, peer: string, unit: Unit): boolean {
    const { pace } = this.#needs
    return pace.isDoubtful(peer, now) || (unit.returned && !pace.isHealthy(peer))
  }

  /** Of a lender, compared to this machine. */
  #speed(peer: string): number {
    const { pace, offers } = this.#needs
    return (pace.speed(peer) * pace.lead(peer) * offers.speed(peer)) / this.#needs.speed()
  }

  /** Whether its result would be here sooner than from a slot here. */
  #isWorth(now: number, peer: string, unit: Unit, waitMs: number): boolean {
    if (!this.allowed(now, peer, unit)) return false
    const { pace, offers } = this.#needs
    // Also somebody who was slow, once it is time to see whether it is so still: who is at it is slow now.
    if (unit.attempts.length > 0) return unit.attempts.length === 1 && !pace.isSlow(peer, now)
    // Its trial takes nothing from the unit, but this node's time; a unit that lost its lender has nobody else, perhaps.
    if (pace.isSlow(peer, now) && !unit.returned) return false
    const ms = this.#scale(peer) * unit.task.expectedMs
    const speed = this.isTrial(now, peer, unit) ? offers.speed(peer) / this.#needs.speed() : this.#speed(peer)
    const costMs = this.#sendMs(peer, unit) + ms * (1 / speed - 1)
    // A slot here that it leaves to others is worth something too.
    if (costMs <= fairCostMs + fairCost * ms) return true
    const hereMs = waitMs + ms
    return costMs + ms < hereMs - gainLeast * hereMs
  }
}
