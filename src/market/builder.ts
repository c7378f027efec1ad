import type { Random } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'
import { type Bid, type Done, Outcome, Phase, type Progress } from '../wire/generated/market_pb.ts'
import { Breakers } from './breaker.ts'
import type { BuilderEffect, BuilderInput, ReturnReason } from './builder-events.ts'
import { Builds } from './builds.ts'
import { clampU32, frame, fromHex, type MarketBody, toHex } from './frames.ts'
import { marketLimits, timing } from './limits.ts'
import { OfferBook, type OfferView } from './offers.ts'
import { Reservations } from './reservations.ts'
import type { HereReason, Task } from './task.ts'
import { type Attempt, newUnit, type Unit, WaitingQueue } from './unit.ts'

export interface BuilderInit {
  /** Own units that may run here at once. */
  slots: number
  random: Random
}

/**
 * Places the units of the builds on this machine: a slot here while one is free, else whichever comes first, a slot here
 * or a lender's bid. No I/O: `step` takes what happened and returns what to do.
 *
 * Invariant: a unit is in exactly one of: waiting (in the queue), here (holds a slot), away (has an attempt, and with it
 * a lease that runs out). Each is left by something that is sure to come.
 */
export class Builder {
  readonly #slots: number
  readonly #units = new Map<string, Unit>()
  readonly #queue = new WaitingQueue()
  readonly #here = new Set<string>()
  readonly #offers = new OfferBook()
  readonly #reservations: Reservations
  readonly #breakers = new Breakers()
  readonly #builds = new Builds()
  #wakeAt = Number.POSITIVE_INFINITY
  #submitted = 0
  #stopped = false
  #effects: BuilderEffect[] = []

  constructor(init: BuilderInit) {
    this.#slots = init.slots
    this.#reservations = new Reservations(this.#offers, init.random)
  }

  get waiting(): number {
    return this.#queue.length
  }
  get here(): number {
    return this.#here.size
  }
  get away(): number {
    return this.#units.size - this.#queue.length
  }
  get reservations(): number {
    return this.#reservations.size
  }
  offer(peer: string, now: number): OfferView | undefined {
    return this.#offers.view(peer, now)
  }
  /** Epoch of the attempt that this peer has of this unit. */
  leased(id: string, peer: string): number | undefined {
    const attempt = this.#units.get(id)?.attempt
    return attempt?.peer === peer ? attempt.epoch : undefined
  }

  /**
   * @param now milliseconds, never less than in the step before
   * @throws ShoalError ERR_INTERNAL when a unit is submitted twice; nothing that a peer sends makes it throw
   */
  step(now: number, input: BuilderInput): BuilderEffect[] {
    this.#effects = []
    this.#apply(now, input)
    this.#fillSlots()
    const allowed = (peer: string, unit: Unit): boolean => this.#allowed(now, peer, unit)
    for (const { peer, body } of this.#reservations.update(now, this.#queue, allowed)) this.#send(peer, body)
    this.#arm(now)
    return this.#effects
  }

  #apply(now: number, input: BuilderInput): void {
    switch (input.kind) {
      case 'submit':
        this.#submit(now, input.id, input.task)
        break
      case 'withdraw':
        this.#withdraw(input.id)
        break
      case 'released':
        this.#here.delete(input.id)
        break
      case 'building':
        this.#building(now, input.build, input.active)
        break
      case 'frame':
        if (this.#offers.connected(input.peer)) this.#frame(now, input.peer, input.body)
        break
      case 'peer':
        if (input.state === 'up') this.#connect(input.peer)
        else if (input.state === 'lost') this.#disconnect(now, input.peer, 'lost')
        else this.#suspect(now, input.peer)
        break
      case 'fault':
        this.#breakers.fail(input.peer, now)
        break
      case 'stop':
        this.#stop(now)
        break
      case 'tick':
        this.#tick(now)
        break
    }
  }

  #submit(now: number, id: string, task: Task): void {
    if (this.#units.has(id) || this.#here.has(id)) throw new ShoalError('ERR_INTERNAL', 'unit submitted twice')
    const unit = newUnit(id, task, this.#submitted++)
    if (!unit.stays) this.#builds.uses(task.toolchain)
    const full = this.#here.size >= this.#slots
    const lenders = !unit.stays && this.#offers.anybody(task, now, (peer) => this.#allowed(now, peer, unit))
    if (!this.#stopped && (full || lenders)) this.#effects.push({ kind: 'waiting', id })
    if (this.#stopped) {
      this.#start(unit, 'stopping')
    } else if (!full) {
      this.#start(unit, unit.stays ? 'must-stay' : 'slot-free')
    } else {
      this.#units.set(id, unit)
      this.#queue.add(unit)
    }
  }

  #withdraw(id: string): void {
    const unit = this.#units.get(id)
    if (!unit) return
    if (unit.attempt) this.#cancel(unit.attempt.peer, id, unit.attempt.epoch)
    this.#units.delete(id)
    this.#queue.remove(unit)
  }

  #building(now: number, build: Uint8Array, active: boolean): void {
    if (!this.#builds.set(build, active, now)) return
    for (const peer of this.#offers.peers()) this.#send(peer, this.#buildingFrame(build, active))
  }

  #announce(peers: Iterable<string>): void {
    const builds = this.#builds.ids()
    for (const peer of peers) for (const build of builds) this.#send(peer, this.#buildingFrame(build, true))
  }

  #buildingFrame(build: Uint8Array, active: boolean): MarketBody {
    return frame('building', { build, active, toolchains: active ? this.#builds.toolchains() : [] })
  }

  #connect(peer: string): void {
    if (this.#offers.connected(peer)) return
    this.#offers.connect(peer)
    this.#announce([peer])
  }

  #disconnect(now: number, peer: string, why: 'lost' | 'goodbye'): void {
    this.#reservations.drop(peer)
    this.#offers.forget(peer)
    if (why === 'lost') this.#offers.disconnect(peer)
    for (const unit of this.#awayAt(peer)) this.#lose(now, unit, why)
  }

  /** What was sent last may not have arrived: take back the awards that nothing was heard of. */
  #suspect(now: number, peer: string): void {
    this.#reservations.drop(peer)
    this.#offers.forget(peer)
    for (const unit of this.#awayAt(peer)) if (!unit.attempt?.heard) this.#lose(now, unit, 'unsent')
  }

  #stop(now: number): void {
    this.#stopped = true
    for (const unit of this.#units.values()) {
      if (unit.attempt) this.#cancel(unit.attempt.peer, unit.id, unit.attempt.epoch)
      this.#queue.remove(unit)
      this.#start(unit, 'stopping')
    }
    for (const build of this.#builds.ids()) this.#building(now, build, false)
  }

  #tick(now: number): void {
    const stalled = now - this.#wakeAt > timing.stall
    // Armed anew even if nothing was due: timers may fire a little early.
    this.#wakeAt = Number.POSITIVE_INFINITY
    for (const unit of [...this.#units.values()]) {
      const attempt = unit.attempt
      if (!attempt) continue
      if (attempt.leaseUntil <= now && stalled && !attempt.spared) {
        // The frames that renew the lease are still in the socket. Only once: a slow process must not wait for ever.
        attempt.spared = true
        attempt.leaseUntil = now + timing.heartbeat
      }
      if (attempt.leaseUntil <= now) this.#lose(now, unit, 'lease')
      else if (attempt.deadline <= now) this.#lose(now, unit, 'deadline')
    }
    this.#reservations.expire(now)
    if (this.#builds.announceAt <= now) {
      this.#builds.announced(now)
      this.#announce(this.#offers.peers())
    }
  }

  #frame(now: number, peer: string, body: MarketBody): void {
    switch (body.case) {
      case 'offer':
        this.#offers.accept(peer, body.value, now)
        break
      case 'decline':
        if (this.#reservations.take(body.value.reservation, peer)) this.#offers.exhaust(peer)
        break
      case 'bid':
        this.#bid(now, peer, body.value)
        break
      case 'progress':
        this.#progress(now, peer, body.value)
        break
      case 'done':
        this.#done(now, peer, body.value)
        break
      case 'cancelled': {
        const unit = this.#attemptOf(peer, toHex(body.value.task), body.value.epoch)
        if (unit) this.#lose(now, unit, 'cancelled')
        break
      }
      case 'goodbye':
        this.#disconnect(now, peer, 'goodbye')
        break
      case 'building':
      case 'reserve':
      case 'award':
      case 'gone':
      case 'cancel':
        // For the lender's half of this node.
        break
    }
  }

  #bid(now: number, peer: string, bid: Bid): void {
    const known = this.#reservations.take(bid.reservation, peer)
    const unit =
      known && this.#queue.find((other) => this.#allowed(now, peer, other) && this.#offers.suits(peer, other.task))
    if (!unit) {
      if (known) this.#offers.giveBack(peer)
      this.#send(peer, frame('gone', { reservation: bid.reservation }))
      return
    }
    this.#queue.remove(unit)
    unit.attempts += 1
    const { task } = unit
    const longest = Math.max(timing.attemptFloor, timing.attemptFactor * task.expectedMs)
    unit.attempt = {
      peer,
      epoch: unit.attempts,
      awardedAt: now,
      leaseUntil: now + timing.lease,
      deadline: now + Math.min(longest, timing.attemptCeiling),
      heard: false,
      announced: false,
      spared: false,
    }
    this.#send(
      peer,
      frame('award', {
        reservation: bid.reservation,
        task: fromHex(unit.id),
        epoch: unit.attempt.epoch,
        leaseMs: timing.lease,
        action: task.action,
        inputs: task.inputs,
        expectedMs: clampU32(task.expectedMs),
        ...(task.observer && { observer: task.observer.cid, observerBytes: task.observer.bytes }),
      }),
    )
  }

  #progress(now: number, peer: string, progress: Progress): void {
    const id = toHex(progress.task)
    const unit = this.#attemptOf(peer, id, progress.epoch)
    if (!unit?.attempt) {
      // It works on something that nobody waits for: a CANCEL was lost, or has crossed this frame.
      this.#cancel(peer, id, progress.epoch)
      return
    }
    unit.attempt.heard = true
    unit.attempt.leaseUntil = now + timing.lease
    unit.attempt.spared = false
    const rmeta = progress.phase === Phase.METADATA && !unit.attempt.announced ? progress.rmeta : undefined
    if (!rmeta || rmeta.cid.length > marketLimits.cid || rmeta.name.length > marketLimits.name) return
    const { depInfo, trace } = progress
    if (depInfo.length > marketLimits.depInfo || trace.length > marketLimits.trace) return
    unit.attempt.announced = true
    this.#effects.push({ kind: 'metadata', id, peer, rmeta, depInfo, trace })
  }

  #done(now: number, peer: string, done: Done): void {
    const id = toHex(done.task)
    const unit = this.#attemptOf(peer, id, done.epoch)
    if (!unit?.attempt) return
    this.#offers.giveBack(peer)
    const { result, trace, claim } = done
    const fits = result.length <= marketLimits.result && trace.length <= marketLimits.trace
    const sound = result.length > 0 && fits && claim.length <= marketLimits.claim
    if (done.outcome === Outcome.OK && sound) {
      this.#breakers.succeed(peer)
      this.#effects.push({ kind: 'away', id, peer, done, awayMs: now - unit.attempt.awardedAt })
      this.#units.delete(id)
      return
    }
    unit.stays = true
    const why = returnReason(done.outcome)
    if (why === 'refused') this.#builds.refuse(unit.task.build, peer)
    if (why === 'error') this.#breakers.fail(peer, now)
    this.#requeue(unit, unit.attempt, why)
  }

  /** The unit that this peer has under a lease of this epoch. */
  #attemptOf(peer: string, id: string, epoch: number): Unit | undefined {
    return this.leased(id, peer) === epoch ? this.#units.get(id) : undefined
  }

  #awayAt(peer: string): Unit[] {
    return [...this.#units.values()].filter((unit) => unit.attempt?.peer === peer)
  }

  #lose(now: number, unit: Unit, why: ReturnReason): void {
    const { attempt } = unit
    if (!attempt) return
    const { peer, epoch } = attempt
    unit.avoid.add(peer)
    if (why === 'lease' || why === 'lost' || why === 'deadline') {
      unit.lostLenders += 1
      this.#breakers.fail(peer, now)
    }
    if (why === 'lease' || why === 'deadline' || why === 'unsent') this.#cancel(peer, unit.id, epoch)
    const worn = unit.attempts >= marketLimits.attempts || unit.lostLenders >= marketLimits.lostLenders
    if (worn || why === 'deadline') unit.stays = true
    this.#requeue(unit, attempt, why)
  }

  #requeue(unit: Unit, attempt: Attempt, why: ReturnReason): void {
    unit.attempt = undefined
    unit.returned = true
    this.#queue.add(unit)
    this.#effects.push({ kind: 'returned', id: unit.id, peer: attempt.peer, why })
  }

  #fillSlots(): void {
    while (this.#here.size < this.#slots) {
      const unit = this.#queue.shift()
      if (!unit) return
      this.#start(unit, unit.returned ? 'came-back' : unit.stays ? 'must-stay' : 'slot-first')
    }
  }

  #start(unit: Unit, reason: HereReason): void {
    this.#units.delete(unit.id)
    this.#here.add(unit.id)
    this.#effects.push({ kind: 'here', id: unit.id, reason })
  }

  #allowed(now: number, peer: string, unit: Unit): boolean {
    if (unit.stays || unit.avoid.has(peer)) return false
    return !this.#builds.refused(unit.task.build, peer) && !this.#breakers.paused(peer, now)
  }

  #cancel(peer: string, id: string, epoch: number): void {
    if (this.#offers.connected(peer)) this.#send(peer, frame('cancel', { task: fromHex(id), epoch }))
  }

  #send(peer: string, body: MarketBody): void {
    this.#effects.push({ kind: 'send', peer, body })
  }

  #arm(now: number): void {
    let at = Math.min(this.#builds.announceAt, this.#reservations.nextChange(now))
    for (const { attempt } of this.#units.values()) {
      if (attempt) at = Math.min(at, attempt.leaseUntil, attempt.deadline)
    }
    if (this.#queue.length > 0) at = Math.min(at, this.#breakers.nextEnd(now))
    if (at === this.#wakeAt) return
    this.#wakeAt = at
    this.#effects.push({ kind: 'wake', at })
  }
}

/** An OK without a usable result is the lender's trouble like any other. */
function returnReason(outcome: Outcome): ReturnReason {
  if (outcome === Outcome.FAILED) return 'failed'
  if (outcome === Outcome.REFUSED) return 'refused'
  return outcome === Outcome.UNUSABLE ? 'unusable' : 'error'
}
