import type { Random } from '../base/clock.ts'
import { clampU32, frame, fromHex, type MarketBody } from './frames.ts'
import { marketLimits, timing } from './limits.ts'
import type { OfferBook } from './offers.ts'
import type { Task } from './task.ts'
import type { Unit } from './unit.ts'

/** A place-holder at a lender. It stands for a class of tasks, not for a task: a bid takes whichever is next then. */
interface Reservation {
  id: bigint
  peer: string
  class: string
  sentAt: number
}

type Allowed = (peer: string, unit: Unit) => boolean
type Frames = { peer: string; body: MarketBody }[]

/** The builder's outstanding reservations. */
export class Reservations {
  readonly #byId = new Map<bigint, Reservation>()
  readonly #offers: OfferBook
  readonly #random: Random
  /** Lender → least milliseconds from a reservation to its bid, or from BUILDING to the offer that answers it. */
  readonly #answerMs = new Map<string, number>()
  readonly #announcedAt = new Map<string, number>()
  #next = 1n

  constructor(offers: OfferBook, random: Random) {
    this.#offers = offers
    this.#random = random
  }

  get size(): number {
    return this.#byId.size
  }

  /** Removes the reservation; false when there is no such one at this peer. */
  take(id: bigint, peer: string): boolean {
    return this.#byId.get(id)?.peer === peer && this.#byId.delete(id)
  }

  /** As `take`, for one that a bid answers. */
  answered(id: bigint, peer: string, now: number): boolean {
    const reservation = this.#byId.get(id)
    if (!reservation || !this.take(id, peer)) return false
    this.#heard(peer, now - reservation.sentAt)
    return true
  }

  /** The peer is told of a build, which it answers with an offer. */
  announced(peer: string, now: number): void {
    if (!this.#answerMs.has(peer)) this.#announcedAt.set(peer, now)
  }

  /** An offer has come. @param isIdle when nobody waits there: what it was asked for long ago is answered or lost */
  offered(peer: string, now: number, isIdle: boolean): void {
    const since = this.#announcedAt.get(peer)
    this.#announcedAt.delete(peer)
    if (since !== undefined) this.#heard(peer, now - since)
    if (isIdle) this.#takeAll((reservation) => reservation.peer === peer && this.#youngUntil(reservation) <= now)
  }

  #heard(peer: string, ms: number): void {
    this.#answerMs.set(peer, Math.min(ms, this.#answerMs.get(peer) ?? Number.POSITIVE_INFINITY))
  }

  /** What a lender needs at least for a frame and its answer; undefined for one that has never bid. */
  answerMs(peer: string): number | undefined {
    return this.#answerMs.get(peer)
  }

  forget(peer: string): void {
    this.drop(peer)
    this.#answerMs.delete(peer)
    this.#announcedAt.delete(peer)
  }

  drop(peer: string): void {
    this.#takeAll((reservation) => reservation.peer === peer)
  }

  expire(now: number): void {
    this.#takeAll((reservation) => reservation.sentAt + timing.reservation <= now)
  }

  /**
   * Keeps two reservations that may still be answered soon per unit that waits and may leave, each unit's at different
   * lenders, as far as there are offers; takes back those that nothing waits for. Returns the frames to send.
   */
  update(now: number, queue: Iterable<Unit>, allowed: Allowed): Frames {
    const classes = new Map<string, Unit[]>()
    for (const unit of queue) {
      if (unit.stays) continue
      const key = classOf(unit.task)
      const members = classes.get(key)
      if (members) members.push(unit)
      else classes.set(key, [unit])
    }
    const frames: Frames = []
    for (const { id, peer } of this.#takeAll((reservation) => !classes.has(reservation.class))) {
      this.#offers.giveBack(peer)
      frames.push({ peer, body: frame('gone', { reservation: id }) })
    }
    for (const [key, units] of classes) this.#fill(now, key, units, allowed, frames)
    return frames
  }

  #fill(now: number, key: string, units: readonly Unit[], allowed: Allowed, frames: Frames): void {
    const first = units[0]
    if (!first) return
    const { all, young, perPeer } = this.#count(key, now)
    const most = marketLimits.reservationsPerUnit * units.length
    // Where those that were asked before had nothing, what else was offered then may be gone as well: more are asked.
    const missing = Math.min(most, marketLimits.choices * units.length + all - young) - young
    let room = most - all
    // Never more at one lender than units that it may get.
    const welcome = new Map<string, Unit[]>()
    const unitsFor = (peer: string): Unit[] => {
      const known = welcome.get(peer) ?? units.filter((unit) => allowed(peer, unit))
      welcome.set(peer, known)
      return known
    }
    for (let sent = 0; sent < missing; sent++) {
      const peer = this.#offers.pick(first.task, now, this.#random, (candidate) => {
        return (perPeer.get(candidate) ?? 0) < unitsFor(candidate).length
      })
      if (peer === undefined) return
      if (room-- <= 0) this.#takeBackOldest(key, frames)
      perPeer.set(peer, (perPeer.get(peer) ?? 0) + 1)
      this.#offers.take(peer)
      const id = this.#next++
      this.#byId.set(id, { id, peer, class: key, sentAt: now })
      frames.push({ peer, body: reserveFrame(id, unitsFor(peer)) })
    }
  }

  /** How many of one lender's may be answered any moment. */
  youngAt(peer: string, now: number): number {
    let count = 0
    for (const one of this.#byId.values()) if (one.peer === peer && this.#youngUntil(one) > now) count += 1
    return count
  }

  /** When the next one ceases to be young or to be at all. */
  nextChange(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const reservation of this.#byId.values()) {
      const aged = this.#youngUntil(reservation)
      next = Math.min(next, aged > now ? aged : reservation.sentAt + timing.reservation)
    }
    return next
  }

  #youngUntil({ peer, sentAt }: Reservation): number {
    const answerMs = this.#answerMs.get(peer) ?? Math.min(...this.#answerMs.values(), timing.bidWait)
    return sentAt + Math.max(timing.bidWaitLeast, 3 * answerMs)
  }

  /** Whoever is asked now has a slot; whoever was asked first and has not bid has none. */
  #takeBackOldest(key: string, frames: Frames): void {
    for (const { id, peer, class: of } of this.#byId.values()) {
      if (of !== key) continue
      this.#byId.delete(id)
      this.#offers.giveBack(peer)
      frames.push({ peer, body: frame('gone', { reservation: id }) })
      return
    }
  }

  #count(key: string, now: number): { all: number; young: number; perPeer: Map<string, number> } {
    const perPeer = new Map<string, number>()
    let all = 0
    let young = 0
    for (const reservation of this.#byId.values()) {
      if (reservation.class !== key) continue
      all += 1
      if (this.#youngUntil(reservation) > now) young += 1
      perPeer.set(reservation.peer, (perPeer.get(reservation.peer) ?? 0) + 1)
    }
    return { all, young, perPeer }
  }

  #takeAll(wanted: (reservation: Reservation) => boolean): Reservation[] {
    const taken = [...this.#byId.values()].filter(wanted)
    for (const reservation of taken) this.#byId.delete(reservation.id)
    return taken
  }
}

/** Tasks of one class can be taken by the same lenders. */
function classOf(task: Task): string {
  return `${task.toolchain} ${task.host} ${task.target}${task.links === true ? ' links' : ''}`
}

/** @param units those that the lender may get, the next one first */
function reserveFrame(reservation: bigint, units: readonly Unit[]): MarketBody {
  const task = units[0]?.task
  return frame('reserve', {
    reservation,
    ...(task && { build: task.build, toolchain: fromHex(task.toolchain), target: task.target }),
    waiting: units.length,
    expectedMs: clampU32(task?.expectedMs ?? 0),
    inputs: units.slice(0, marketLimits.inputs).map((unit) => unit.task.inputs),
  })
}
