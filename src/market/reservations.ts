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
    const room = marketLimits.reservationsPerUnit * units.length - all
    const missing = Math.min(room, marketLimits.choices * units.length - young)
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
      perPeer.set(peer, (perPeer.get(peer) ?? 0) + 1)
      this.#offers.take(peer)
      const id = this.#next++
      this.#byId.set(id, { id, peer, class: key, sentAt: now })
      frames.push({ peer, body: reserveFrame(id, unitsFor(peer)) })
    }
  }

  /** When the next one ceases to be young or to be at all. */
  nextChange(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const { sentAt } of this.#byId.values()) {
      const aged = sentAt + timing.bidWait
      next = Math.min(next, aged > now ? aged : sentAt + timing.reservation)
    }
    return next
  }

  #count(key: string, now: number): { all: number; young: number; perPeer: Map<string, number> } {
    const perPeer = new Map<string, number>()
    let all = 0
    let young = 0
    for (const reservation of this.#byId.values()) {
      if (reservation.class !== key) continue
      all += 1
      if (reservation.sentAt + timing.bidWait > now) young += 1
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
