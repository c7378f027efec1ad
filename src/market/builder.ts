import { ShoalError } from '../base/errors.ts'
import { type Bid, type Done, Phase, type Progress } from '../wire/generated/market_pb.ts'
import { Announcements } from './announcements.ts'
import { awardFrame, bytesByMetadata, failureOf, metadataOf } from './awarding.ts'
import { Breakers } from './breaker.ts'
import type { BuilderEffect, BuilderInit, BuilderInput, ReturnReason } from './builder-events.ts'
import { Builds } from './builds.ts'
import { frame, fromHex, type MarketBody, toHex } from './frames.ts'
import { marketLimits, timing } from './limits.ts'
import { Links } from './links.ts'
import { OfferBook, type OfferView } from './offers.ts'
import { Pace } from './pace.ts'
import { Reservations } from './reservations.ts'
import { Routes } from './routes.ts'
import { SlotsHere } from './slots-here.ts'
import type { HereReason, Task } from './task.ts'
import { type Attempt, keepOn, newAttempt, newUnit, spare, type Unit, WaitingQueue, whyHere } from './unit.ts'
import { Units } from './units.ts'

/**
 * Places the units of the builds on this machine: a slot here while one is free, else whichever comes first, a slot here
 * or a lender's bid. No I/O: `step` takes what happened and returns what to do.
 *
 * Invariant: a unit is in exactly one of: waiting (in the queue), here (holds a slot), away (has attempts, and with each
 * a lease that runs out), late (away, and in the queue as well). Each is left by something that is sure to come.
 */
export class Builder {
  readonly #units = new Units()
  readonly #queue = new WaitingQueue()
  readonly #here: SlotsHere
  readonly #offers = new OfferBook()
  readonly #reservations: Reservations
  readonly #breakers = new Breakers()
  readonly #builds = new Builds()
  readonly #links = new Links()
  readonly #pace = new Pace()
  readonly #routes: Routes
  readonly #announcements: Announcements
  #wakeAt = Number.POSITIVE_INFINITY
  #submitted = 0
  #stopped = false
  #effects: BuilderEffect[] = []

  constructor(init: BuilderInit) {
    this.#here = new SlotsHere(init.slots)
    this.#reservations = new Reservations(this.#offers, init.random)
    this.#routes = new Routes({
      offers: this.#offers,
      reservations: this.#reservations,
      breakers: this.#breakers,
      builds: this.#builds,
      links: this.#links,
      here: this.#here,
      pace: this.#pace,
      units: this.#units,
      speed: () => init.speed?.() ?? 1,
    })
    this.#announcements = new Announcements({
      builds: this.#builds,
      offers: this.#offers,
      reservations: this.#reservations,
      send: (peer, body) => this.#send(peer, body),
    })
  }

  get waiting(): number {
    return this.#queue.length
  }
  get here(): number {
    return this.#here.size
  }
  get away(): number {
    return this.#units.away
  }
  get reservations(): number {
    return this.#reservations.size
  }
  offer(peer: string, now: number): OfferView | undefined {
    return this.#offers.view(peer, now)
  }
  /** Whether a unit waits for which this peer would be asked if it offered a slot. */
  wants(peer: string, now: number): boolean {
    const mayAsk = this.#routes.among(now, this.#queue)
    return this.#queue.find((unit) => mayAsk(peer, unit) && this.#offers.suits(peer, unit.task)) !== undefined
  }
  /** Epoch of the attempt that this peer has of this unit. */
  leased(id: string, peer: string): number | undefined {
    return this.#units.leased(id, peer)
  }

  /**
   * @param now milliseconds, never less than in the step before
   * @throws ShoalError ERR_INTERNAL when a unit is submitted twice; nothing that a peer sends makes it throw
   */
  step(now: number, input: BuilderInput): BuilderEffect[] {
    this.#effects = []
    this.#apply(now, input)
    this.#fillSlots(now)
    const mayAsk = this.#routes.among(now, this.#queue)
    for (const { peer, body } of this.#reservations.update(now, this.#queue, mayAsk)) this.#send(peer, body)
    this.#arm(now)
    return this.#effects
  }

  #apply(now: number, input: BuilderInput): void {
    switch (input.kind) {
      case 'submit':
        this.#submit(now, input.id, input.task)
        break
      case 'withdraw':
        this.#end(this.#units.get(input.id))
        break
      case 'released': {
        const held = this.#here.release(input.id, now)
        if (held) this.#pace.endedHere(held, input.cpuMs)
        break
      }
      case 'moved':
        this.#links.moved(input.peer, input.bytes, input.ms, this.#reservations.answerMs(input.peer))
        break
      case 'settled':
        this.#links.settled(input.id)
        break
      case 'building':
        this.#announcements.building(now, input.build, input.active)
        break
      case 'frame':
        if (this.#offers.connected(input.peer)) this.#frame(now, input.peer, input.body)
        break
      case 'peer':
        if (input.state === 'up') this.#connect(now, input.peer)
        else if (input.state === 'lost') this.#disconnect(now, input.peer, 'lost')
        else this.#suspect(now, input.peer)
        break
      case 'fault':
        this.#breakers.fail(input.peer, now)
        break
      case 'leave':
        for (const peer of this.#offers.peers()) this.#disconnect(now, peer, 'goodbye')
        break
      case 'return':
        this.#announcements.tell(now, this.#offers.peers())
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
    const full = this.#here.isFull
    const lenders = !unit.stays && this.#offers.anybody(task, now, (peer) => this.#routes.mayHelp(now, peer, unit))
    if (!this.#stopped && (full || lenders)) this.#effects.push({ kind: 'waiting', id })
    if (this.#stopped) {
      this.#start(now, unit, 'stopping')
    } else if (!full && this.#routes.betterFree(now, unit) === 0) {
      this.#start(now, unit, unit.stays ? 'must-stay' : 'slot-free')
    } else {
      this.#units.add(unit)
      this.#queue.add(unit)
    }
  }

  #connect(now: number, peer: string): void {
    if (this.#offers.connected(peer)) return
    this.#offers.connect(peer)
    this.#announcements.tell(now, [peer])
  }

  #disconnect(now: number, peer: string, why: 'lost' | 'goodbye'): void {
    this.#reservations.forget(peer)
    this.#offers.forget(peer)
    if (why === 'lost') this.#offers.disconnect(peer)
    for (const [unit, attempt] of this.#units.awayAt(peer)) this.#lose(now, unit, attempt, why)
  }

  /** What was sent last may not have arrived: take back the awards that nothing was heard of. */
  #suspect(now: number, peer: string): void {
    this.#reservations.drop(peer)
    this.#offers.forget(peer)
    for (const [unit, attempt] of this.#units.awayAt(peer)) if (!attempt.heard) this.#lose(now, unit, attempt, 'unsent')
  }

  #stop(now: number): void {
    this.#stopped = true
    for (const unit of this.#units.values()) this.#start(now, unit, 'stopping')
    this.#announcements.end(now)
  }

  #tick(now: number): void {
    const stalled = now - this.#wakeAt > timing.stall
    // Armed anew even if nothing was due: timers may fire a little early.
    this.#wakeAt = Number.POSITIVE_INFINITY
    for (const unit of [...this.#units.values()]) {
      for (const attempt of [...unit.attempts]) this.#review(now, unit, attempt, stalled)
      // A bid for it may be in the socket as well.
      if (stalled) keepOn(unit, now)
    }
    this.#reservations.expire(now)
    this.#announcements.repeat(now)
  }

  #review(now: number, unit: Unit, attempt: Attempt, stalled: boolean): void {
    if (stalled) spare(attempt, now)
    if (attempt.leaseUntil <= now) this.#lose(now, unit, attempt, 'lease')
    else if (attempt.deadline <= now) this.#lose(now, unit, attempt, 'deadline')
    else if (attempt.judgeAt <= now) this.#judge(now, unit, attempt)
  }

  /** Of what takes too long, whoever is first now, a slot here or another lender, has it as well. */
  #judge(now: number, unit: Unit, attempt: Attempt): void {
    attempt.judgeAt = Math.max(attempt.awardedAt + timing.lateLeast, now + timing.heartbeat)
    if (unit.attempts.length > 1 || unit.late || unit.tries >= marketLimits.attempts || !this.#pace.maySpend) return
    if (!this.#pace.isLate(attempt, this.#routes.times(now, attempt.peer, unit), now)) return
    this.#queue.addReturned(unit)
    unit.late = true
  }

  #frame(now: number, peer: string, body: MarketBody): void {
    switch (body.case) {
      case 'offer':
        this.#offers.accept(peer, body.value, now)
        this.#reservations.offered(peer, now, body.value.free > 0)
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
        const found = this.#units.attemptOf(peer, toHex(body.value.task), body.value.epoch)
        if (found) this.#lose(now, ...found, 'cancelled')
        break
      }
      case 'goodbye':
        this.#disconnect(now, peer, 'goodbye')
        break
      default:
        // For the lender's half of this node.
        break
    }
  }

  #bid(now: number, peer: string, bid: Bid): void {
    const known = this.#reservations.answered(bid.reservation, peer, now)
    const unit = known ? this.#routes.next(now, peer, this.#queue) : undefined
    if (!unit) {
      if (known) this.#offers.giveBack(peer)
      if (known && this.#queue.length > 0) this.#links.refuse(peer, now)
      this.#send(peer, frame('gone', { reservation: bid.reservation }))
      return
    }
    this.#links.accept(peer)
    const attempt = newAttempt(unit, peer, now, this.#links.layOutMs(peer))
    attempt.onTrial = this.#routes.isTrial(now, peer, unit)
    unit.late = attempt.onTrial
    if (!unit.late) this.#queue.remove(unit)
    this.#send(peer, awardFrame(bid, unit, attempt))
  }

  #progress(now: number, peer: string, progress: Progress): void {
    const id = toHex(progress.task)
    const [unit, attempt] = this.#units.attemptOf(peer, id, progress.epoch) ?? []
    if (!unit || !attempt) {
      // It works on something that nobody waits for: a CANCEL was lost, or has crossed this frame.
      this.#cancel(peer, id, progress.epoch)
      return
    }
    attempt.heard = true
    attempt.leaseUntil = now + timing.lease
    attempt.spared = false
    this.#read(now, attempt, progress, { fetching: progress.phase === Phase.FETCHING })
    if (attempt.onTrial && this.#pace.isHealthy(peer)) this.#queue.endTrial(unit, attempt)
    this.#judge(now, unit, attempt)
    const metadata = attempt.announced || attempt.onTrial ? undefined : metadataOf(progress)
    // What is announced has to be waited for.
    if (!metadata || this.#routes.isFar(now, peer, unit, bytesByMetadata(metadata.rmeta), now - attempt.awardedAt))
      return
    attempt.announced = true
    this.#effects.push({ kind: 'metadata', id, peer, ...metadata })
  }

  #read(now: number, attempt: Attempt, frame: Progress | Done, is: { fetching?: boolean; made?: boolean }): void {
    const { peer, gauge } = attempt
    const { cpuMs, fetchedBytes, fetchMs } = frame
    const bytes = Number(fetchedBytes)
    const delay = this.#reservations.answerMs(peer)
    if (bytes > gauge.fetchedBytes) this.#links.moved(peer, bytes, Math.max(fetchMs / 2, fetchMs - (delay ?? 0)), delay)
    gauge.read(now, { cpuMs, fetchedBytes: bytes, fetchMs, isFetching: is.fetching === true })
    this.#pace.saw(attempt, now, is.made)
  }

  #done(now: number, peer: string, done: Done): void {
    const id = toHex(done.task)
    const [unit, attempt] = this.#units.attemptOf(peer, id, done.epoch) ?? []
    if (!unit || !attempt) return
    this.#offers.giveBack(peer)
    unit.attempts = unit.attempts.filter((other) => other !== attempt)
    const failure = failureOf(done)
    this.#read(now, attempt, done, { made: failure === undefined })
    const isFar = !attempt.announced && this.#routes.isFar(now, peer, unit, Number(done.outputBytes), done.wallMs)
    const why = failure ?? (isFar ? 'far' : undefined)
    if (why === undefined) {
      const awayMs = now - attempt.awardedAt
      this.#breakers.succeed(peer)
      this.#links.made(peer, id, done, awayMs)
      this.#pace.ended(unit.task.expectedMs, awayMs, done.cpuMs)
      this.#pace.givenUp(now, unit.attempts)
      this.#end(unit)
      this.#effects.push({ kind: 'away', id, peer, done, awayMs })
      return
    }
    unit.stays = true
    if (why === 'refused') this.#builds.refuse(unit.task.build, peer)
    if (why === 'error') this.#breakers.fail(peer, now)
    this.#requeue(unit, peer, why)
  }

  #lose(now: number, unit: Unit, attempt: Attempt, why: ReturnReason): void {
    const { peer, epoch } = attempt
    unit.attempts = unit.attempts.filter((other) => other !== attempt)
    // Whose owner was quicker than the award may be asked again: it has not given up anything.
    if (why !== 'cancelled' || attempt.heard) unit.avoid.add(peer)
    if (why === 'lease' || why === 'lost' || why === 'deadline') {
      unit.lostLenders += 1
      this.#breakers.fail(peer, now)
    }
    if (why === 'lease' || why === 'deadline' || why === 'unsent') this.#cancel(peer, unit.id, epoch)
    const worn = unit.tries >= marketLimits.attempts || unit.lostLenders >= marketLimits.lostLenders
    if (worn || why === 'deadline') unit.stays = true
    this.#requeue(unit, peer, why)
  }

  /** It waits again, unless it does already or another lender is at it. */
  #requeue(unit: Unit, peer: string, why: ReturnReason): void {
    if (unit.attempts.length === 0) this.#queue.addReturned(unit)
    else unit.returned = true
    this.#effects.push({ kind: 'returned', id: unit.id, peer, why })
  }

  /** Nobody's result of it counts any more. */
  #end(unit: Unit | undefined): void {
    if (!unit) return
    for (const { peer, epoch } of unit.attempts) this.#cancel(peer, unit.id, epoch)
    unit.attempts = []
    this.#units.remove(unit)
    this.#queue.remove(unit)
  }

  #fillSlots(now: number): void {
    while (!this.#here.isFull) {
      const unit = this.#routes.nextHere(now, this.#queue)
      if (!unit) return
      this.#pace.givenUp(now, unit.attempts)
      this.#start(now, unit, whyHere(unit))
    }
  }

  #start(now: number, unit: Unit, reason: HereReason): void {
    this.#end(unit)
    this.#here.take(unit, now)
    this.#effects.push({ kind: 'here', id: unit.id, reason })
  }

  #cancel(peer: string, id: string, epoch: number): void {
    if (this.#offers.connected(peer)) this.#send(peer, frame('cancel', { task: fromHex(id), epoch }))
  }

  #send(peer: string, body: MarketBody): void {
    this.#effects.push({ kind: 'send', peer, body })
  }

  #arm(now: number): void {
    let at = Math.min(this.#builds.announceAt, this.#reservations.nextChange(now), this.#units.nextDue())
    // Also what was not worth sending becomes so while it waits.
    if (this.#queue.length > 0)
      at = Math.min(at, this.#breakers.nextEnd(now), this.#queue.nextLeft(now), now + timing.look)
    if (at === this.#wakeAt) return
    this.#wakeAt = at
    this.#effects.push({ kind: 'wake', at })
  }
}
