import { Gauge } from './gauge.ts'
import { marketLimits, timing } from './limits.ts'
import type { HereReason, Task } from './task.ts'

/** One attempt away. Frames about any other epoch, or from anybody else, are not about it. */
export interface Attempt {
  peer: string
  epoch: number
  awardedAt: number
  expectedMs: number
  leaseUntil: number
  /** However lively the lender is, it ends by then. */
  deadline: number
  /** When to look whether it takes too long. */
  judgeAt: number
  /** A frame about it has come back, so the award has arrived. */
  heard: boolean
  /** Its rmeta was passed on. */
  announced: boolean
  /** Its lender was found slow: its unit waits for a slot here, too, until that turns out to be over. */
  onTrial: boolean
  /** How it advances. */
  gauge: Gauge
  /** Its lease ran out while this process stood still, and got some more time. */
  spared: boolean
}

/** A task and how it fares: it waits (here or for a bid), runs here, or is away. */
export interface Unit {
  /** 16 random bytes as hex; one for the whole life of the unit, whatever the number of attempts. */
  readonly id: string
  readonly task: Task
  /** Order of submission. */
  readonly order: number
  /** Leases that go on: a second one when the first takes too long. */
  attempts: Attempt[]
  /** Leases there ever were. */
  tries: number
  /** Waits although an attempt goes on. */
  late: boolean
  lostLenders: number
  /** Was away and came back: goes before all others. */
  returned: boolean
  /** A free slot here is left alone until then, because somebody faster was seen to have one; undefined as long as none was. */
  leftUntil: number | undefined
  /** It was left alone for longer, because this process stood still. */
  keptOn: boolean
  /** Goes nowhere any more, whatever the task says. */
  stays: boolean
  /** Lenders that lost it or gave it up. */
  readonly avoid: Set<string>
}

export function newUnit(id: string, task: Task, order: number): Unit {
  const stays = !task.mayGoAway || task.action.length > marketLimits.action
  const fresh = {
    attempts: [],
    tries: 0,
    late: false,
    lostLenders: 0,
    returned: false,
    leftUntil: undefined,
    keptOn: false,
    avoid: new Set<string>(),
  }
  return { id, task, order, stays, ...fresh }
}

/** A new attempt, the next of its unit. @param layOutMs as `Gauge` takes it */
export function newAttempt(unit: Unit, peer: string, now: number, layOutMs = 0): Attempt {
  unit.tries += 1
  const { expectedMs } = unit.task
  const longest = Math.max(timing.attemptFloor, timing.attemptFactor * expectedMs)
  const attempt: Attempt = {
    peer,
    epoch: unit.tries,
    awardedAt: now,
    expectedMs,
    leaseUntil: now + timing.lease,
    deadline: now + Math.min(longest, timing.attemptCeiling),
    judgeAt: now + timing.lateLeast,
    heard: false,
    announced: false,
    onTrial: false,
    gauge: new Gauge(now, layOutMs),
    spared: false,
  }
  unit.attempts.push(attempt)
  return attempt
}

/** Its lease ran out while this process stood still: what renews it is still in the socket. Once, it must not wait for ever. */
export function spare(attempt: Attempt, now: number): void {
  if (attempt.leaseUntil > now || attempt.spared) return
  attempt.spared = true
  attempt.leaseUntil = now + timing.heartbeat
}

/** A free slot here was to be left alone until a moment in which this process stood still: once, a bid has as long again. */
export function keepOn(unit: Unit, now: number): void {
  if (unit.keptOn || unit.leftUntil === undefined || unit.leftUntil > now) return
  unit.keptOn = true
  unit.leftUntil = now + timing.left
}

/** Whether cargo was told of metadata that one of its lenders has made. */
export function isAnnounced(unit: Unit): boolean {
  return unit.attempts.some(({ announced }) => announced)
}

/** Why a unit that has waited is compiled here. */
export function whyHere({ attempts, returned, stays }: Unit): HereReason {
  if (attempts.length > 0) return 'taken-back'
  if (returned) return 'came-back'
  return stays ? 'must-stay' : 'slot-first'
}

/** Units that wait, the next one first: those that came back, then the highest rank, then the oldest. */
export class WaitingQueue {
  readonly #units: Unit[] = []

  get length(): number {
    return this.#units.length
  }

  [Symbol.iterator](): IterableIterator<Unit> {
    return this.#units.values()
  }

  add(unit: Unit): void {
    let low = 0
    let high = this.#units.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = this.#units[middle]
      if (other && goesBefore(other, unit)) low = middle + 1
      else high = middle
    }
    this.#units.splice(low, 0, unit)
  }

  /** It has lost who was at it, or that takes too long: it goes before others. It may wait already, behind them. */
  addReturned(unit: Unit): void {
    this.remove(unit)
    unit.returned = true
    unit.late = false
    this.add(unit)
  }

  /** A lender that was slow is so no longer: what it has waits no more. */
  endTrial(unit: Unit, attempt: Attempt): void {
    attempt.onTrial = false
    unit.late = false
    this.remove(unit)
  }

  remove(unit: Unit): void {
    const at = this.#units.indexOf(unit)
    if (at >= 0) this.#units.splice(at, 1)
  }

  /** When a unit for which a slot here was left alone may have it; Infinity when there is none. */
  nextLeft(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const { leftUntil = now } of this.#units) if (leftUntil > now) next = Math.min(next, leftUntil)
    return next
  }

  find(wanted: (unit: Unit) => boolean): Unit | undefined {
    return this.#units.find(wanted)
  }
}

function goesBefore(a: Unit, b: Unit): boolean {
  if (a.returned !== b.returned) return a.returned
  if (a.task.rank !== b.task.rank) return a.task.rank > b.task.rank
  return a.order < b.order
}
