import type { Random } from '../base/clock.ts'
import { type Award, Phase, type Reserve, Tier } from '../wire/generated/market_pb.ts'
import { Credit } from './credit.ts'
import { FairQueue } from './fair-queue.ts'
import { clampU32, frame, fromHex, type MarketBody, toHex } from './frames.ts'
import type { Reading } from './gauge.ts'
import { bidKey, doneFrame, guestKey, heartbeat } from './guest-frames.ts'
import type { LenderEffect, LenderInput, LendTerms } from './lender-events.ts'
import { marketLimits, timing } from './limits.ts'
import { Offering } from './offering.ts'
import type { MetadataReady, WorkResult } from './task.ts'

/** A task of another node that runs here. It holds a slot until nothing of it runs any more. */
interface Guest {
  peer: string
  task: Uint8Array
  epoch: number
  startedAt: number
  expectedMs: number
  beatMs: number
  beatAt: number
  /** Set once it is killed: whether to tell the builder that it has ended, and how long to wait for that. */
  killed: { tell: boolean; until: number } | undefined
}

export interface LenderInit {
  /** Compiles that may run here at once, own and guests' together. */
  slots: number
  /** Guests that may run here at once. */
  lendSlots: number
  random: Random
  /** How the work on a guest's task advances; asked at each heartbeat. */
  reading?(guest: string): Reading | undefined
}

const closed: LendTerms = {
  tier: Tier.NONE,
  host: '',
  toolchains: [],
  speedPermille: 1000,
  memoryFreeMib: 0,
  onBattery: false,
  links: false,
  room: 0,
}

/**
 * Lends slots to nodes that build. The owner comes first: own units take slots without asking, and no guest is admitted
 * while own units and guests fill them. No I/O: `step` takes what happened and returns what to do.
 *
 * Invariant: guests + bids ≤ lendSlots at any time, and each bid and each guest is left by something that is sure to come.
 */
export class Lender {
  readonly #reading: (guest: string) => Reading | undefined
  readonly #slots: number
  readonly #lendSlots: number
  readonly #guests = new Map<string, Guest>()
  /** Slots that are kept for an answer: peer and reservation → until when. */
  readonly #bids = new Map<string, { peer: string; until: number; spared: boolean }>()
  readonly #queue = new FairQueue()
  readonly #credit = new Credit()
  readonly #connected = new Set<string>()
  readonly #offering: Offering
  #terms = closed
  #termsVersion = 0
  #own = 0
  #seq = 0n
  #stopped = false
  #left = false
  #wakeAt = Number.POSITIVE_INFINITY
  #effects: LenderEffect[] = []

  constructor(init: LenderInit) {
    this.#reading = (guest) => init.reading?.(guest)
    this.#slots = init.slots
    this.#lendSlots = Math.min(init.lendSlots, init.slots)
    this.#offering = new Offering(init.random)
  }

  get guests(): number {
    return this.#guests.size
  }
  get bids(): number {
    return this.#bids.size
  }
  get queued(): number {
    return this.#queue.length
  }
  /** Slots that nobody has and that may be lent. */
  get room(): number {
    return this.#room()
  }
  /** Builders that are sent offers. */
  get audience(): number {
    return this.#offering.size
  }

  /** Nothing that a peer sends makes it throw. @param now milliseconds, never less than in the step before */
  step(now: number, input: LenderInput): LenderEffect[] {
    this.#effects = []
    this.#apply(now, input)
    this.#bidNext(now)
    this.#offer(now)
    this.#arm()
    return this.#effects
  }

  #apply(now: number, input: LenderInput): void {
    switch (input.kind) {
      case 'terms':
        this.#changeTerms(input.terms)
        this.#giveBack(now)
        break
      case 'own':
        this.#own = input.running
        break
      case 'frame':
        if (this.#connected.has(input.peer)) this.#frame(now, input.peer, input.body)
        break
      case 'peer':
        if (input.state === 'up') this.#connected.add(input.peer)
        else this.#connected.delete(input.peer)
        if (input.state === 'lost') this.#forget(now, input.peer)
        break
      case 'metadata':
        this.#metadata(now, input.guest, input)
        break
      case 'finished':
        this.#finish(now, input.guest, input.result)
        break
      case 'borrowed':
        this.#credit.borrowed(input.peer, input.ms, now)
        break
      case 'return':
        this.#left = false
        break
      case 'leave':
      case 'stop':
        this.#left = true
        this.#stopped ||= input.kind === 'stop'
        for (const peer of [...this.#connected]) this.#forget(now, peer)
        break
      case 'tick':
        this.#tick(now)
        break
    }
  }

  #frame(now: number, peer: string, body: MarketBody): void {
    switch (body.case) {
      case 'building':
        if (!this.#stopped) this.#offering.announce(peer, body.value.build, body.value.active, now)
        if (!body.value.active) {
          const build = toHex(body.value.build)
          this.#queue.removeWhere(peer, (held) => toHex(held.reserve.build) === build)
        }
        break
      case 'reserve':
        this.#reserve(now, peer, body.value)
        break
      case 'award':
        this.#award(now, peer, body.value)
        break
      case 'gone':
        this.#bids.delete(bidKey(peer, body.value.reservation))
        this.#queue.removeWhere(peer, (held) => held.reserve.reservation === body.value.reservation)
        break
      case 'cancel':
        this.#cancel(now, peer, body.value.task, body.value.epoch)
        break
      case 'goodbye':
        this.#forget(now, peer)
        break
      case 'offer':
      case 'decline':
      case 'bid':
      case 'progress':
      case 'done':
      case 'cancelled':
        // For the builder's half of this node.
        break
    }
  }

  #reserve(now: number, peer: string, reserve: Reserve): void {
    const { reservation } = reserve
    // The same frame twice.
    if (this.#bids.has(bidKey(peer, reservation)) || this.#queue.has(peer, reservation)) return
    this.#offering.asked(peer)
    const objection = this.#objection(reserve)
    if (objection !== undefined) {
      this.#decline(peer, reservation, objection)
      return
    }
    if (this.#queue.length >= 2 * this.#lendSlots) {
      const fairShareUsed = this.#queue.count(peer) + 1 >= this.#queue.longest
      const displaced = fairShareUsed ? undefined : this.#queue.evict()
      this.#decline(displaced?.peer ?? peer, displaced?.reserve.reservation ?? reservation, 'busy')
      if (!displaced) return
    }
    this.#queue.add({ peer, reserve, expiresAt: now + timing.reservation })
  }

  #objection(reserve: Reserve): string | undefined {
    if (!this.#lends) return 'closed'
    return this.#terms.toolchains.includes(toHex(reserve.toolchain)) ? undefined : 'toolchain'
  }

  #decline(peer: string, reservation: bigint, reason: string): void {
    this.#offering.declined(peer)
    this.#send(peer, frame('decline', { reservation, reason }))
  }

  #award(now: number, peer: string, award: Award): void {
    const guest = guestKey(peer, award.task, award.epoch)
    // The same frame twice.
    if (this.#guests.has(guest)) return
    const bid = this.#bids.delete(bidKey(peer, award.reservation))
    const sound = award.task.length === 16 && award.epoch > 0 && award.action.length <= marketLimits.action
    // The owner may have taken the slot since the bid.
    if (!bid || !sound || this.#room() <= 0) {
      this.#send(peer, frame('cancelled', { task: award.task.subarray(0, 16), epoch: award.epoch }))
      return
    }
    for (const [key, other] of this.#guests) {
      if (other.peer === peer && Buffer.compare(other.task, award.task) === 0) this.#kill(now, key, other, false)
    }
    const beatMs = Math.min(timing.heartbeat, Math.max(timing.heartbeat / 5, award.leaseMs / 4))
    this.#guests.set(guest, {
      peer,
      task: award.task,
      epoch: award.epoch,
      startedAt: now,
      expectedMs: award.expectedMs,
      beatMs,
      beatAt: now + beatMs,
      killed: undefined,
    })
    this.#effects.push({ kind: 'run', guest, peer, award })
  }

  #cancel(now: number, peer: string, task: Uint8Array, epoch: number): void {
    const key = guestKey(peer, task, epoch)
    const guest = this.#guests.get(key)
    if (guest) this.#kill(now, key, guest, true)
    else this.#send(peer, frame('cancelled', { task: task.subarray(0, 16), epoch }))
  }

  #kill(now: number, key: string, guest: Guest, tell: boolean): void {
    if (guest.killed) return
    guest.killed = { tell, until: now + timing.kill }
    this.#effects.push({ kind: 'kill', guest: key })
  }

  #metadata(now: number, key: string, { rmeta, depInfo, trace }: MetadataReady): void {
    const guest = this.#guests.get(key)
    if (!guest || guest.killed || depInfo.length + trace.length > marketLimits.depInfo) return
    guest.beatAt = now + guest.beatMs
    const { task, epoch } = guest
    this.#send(guest.peer, frame('progress', { task, epoch, phase: Phase.METADATA, rmeta, depInfo, trace }))
  }

  #finish(now: number, key: string, result: WorkResult): void {
    const guest = this.#guests.get(key)
    if (!guest) return
    const { peer, task, epoch } = guest
    if (guest.killed?.tell) this.#send(peer, frame('cancelled', { task, epoch }))
    else if (!guest.killed) this.#send(peer, doneFrame(guest, result, this.#reading(key)))
    this.#release(now, key, guest, false)
  }

  #release(now: number, key: string, guest: Guest, overdue: boolean): void {
    this.#guests.delete(key)
    if (!guest.killed) this.#offering.returned(guest.peer, this.#lendSlots)
    const lentMs = now - guest.startedAt
    this.#credit.lent(guest.peer, lentMs, now)
    this.#effects.push({ kind: 'ended', guest: key, peer: guest.peer, lentMs, overdue })
  }

  /** The builder is gone, or we are: nothing is done for it any more, and it is told nothing. */
  #forget(now: number, peer: string): void {
    this.#offering.forget(peer)
    this.#queue.forget(peer)
    for (const [key, bid] of this.#bids) if (bid.peer === peer) this.#bids.delete(key)
    for (const [key, guest] of this.#guests) {
      if (guest.peer !== peer) continue
      this.#kill(now, key, guest, false)
      if (guest.killed) guest.killed.tell = false
    }
  }

  #tick(now: number): void {
    const stalled = now - this.#wakeAt > timing.stall
    // Armed anew even if nothing was due: timers may fire a little early.
    this.#wakeAt = Number.POSITIVE_INFINITY
    for (const [key, bid] of this.#bids) {
      if (bid.until <= now && stalled && !bid.spared) {
        // The answer is still in the socket. Only once: a slow process must not wait for ever.
        bid.spared = true
        bid.until = now + timing.bidAnswer
      }
      if (bid.until <= now) this.#bids.delete(key)
    }
    this.#queue.expire(now)
    this.#offering.expire(now)
    for (const [key, guest] of this.#guests) {
      if (guest.killed && guest.killed.until <= now) this.#release(now, key, guest, true)
      if (guest.killed || guest.beatAt > now) continue
      guest.beatAt = now + guest.beatMs
      this.#send(guest.peer, heartbeat(guest, this.#reading(key)))
    }
  }

  #bidNext(now: number): void {
    while (this.#queue.length > 0 && this.#room() > 0) {
      const held = this.#queue.next((peer) => ({ load: this.#load(peer), credit: this.#credit.of(peer, now) }))
      if (!held) return
      const { peer, reserve } = held
      this.#bids.set(bidKey(peer, reserve.reservation), { peer, until: now + timing.bidAnswer, spared: false })
      const finishInMs = clampU32((reserve.expectedMs * 1000) / Math.max(1, this.#terms.speedPermille))
      this.#send(peer, frame('bid', { reservation: reserve.reservation, startInMs: 0, finishInMs }))
    }
  }

  /** Slots that this peer has here, or is about to have. */
  #load(peer: string): number {
    let load = 0
    for (const guest of this.#guests.values()) if (guest.peer === peer) load += 1
    for (const bid of this.#bids.values()) if (bid.peer === peer) load += 1
    return load
  }

  get #lends(): boolean {
    const { tier } = this.#terms
    return !this.#left && this.#lendSlots > 0 && (tier === Tier.WATCHED || tier === Tier.CONFINED)
  }

  #room(): number {
    if (!this.#lends) return 0
    const most = Math.min(this.#slots - this.#own, this.#lendSlots, this.#terms.room)
    return Math.max(0, most - this.#guests.size - this.#bids.size)
  }

  /** The owner is back. Of those that have to go, the latest has the least to lose. */
  #giveBack(now: number): void {
    const running = [...this.#guests].filter(([, guest]) => !guest.killed)
    for (const [key, guest] of running.slice(Math.max(0, this.#terms.room))) this.#kill(now, key, guest, true)
  }

  #changeTerms(terms: LendTerms): void {
    const told = (of: LendTerms): string => [of.tier, of.host, of.onBattery, of.links, ...of.toolchains].join(' ')
    if (told(terms) !== told(this.#terms)) this.#termsVersion += 1
    this.#terms = terms
  }

  #offer(now: number): void {
    const free = this.#room()
    const peers = this.#offering.due(now, free, `${this.#lends} ${this.#termsVersion}`)
    for (const peer of peers) this.#send(peer, frame('offer', { ...this.#offerFields(now, free), seq: ++this.#seq }))
  }

  #offerFields(now: number, free: number) {
    const terms = this.#terms
    let wait = free > 0 ? 0 : 0xffffffff
    for (const guest of this.#guests.values()) wait = Math.min(wait, guest.startedAt + guest.expectedMs - now)
    return {
      free,
      total: this.#lends ? this.#lendSlots : 0,
      queueWaitMs: clampU32(wait),
      speedPermille: clampU32(terms.speedPermille),
      memoryFreeMib: clampU32(terms.memoryFreeMib),
      toolchains: terms.toolchains.slice(0, marketLimits.toolchains).map(fromHex),
      host: terms.host,
      tier: this.#lends ? terms.tier : Tier.NONE,
      onBattery: terms.onBattery,
      links: terms.links,
      ttlMs: timing.offerTtl,
    }
  }

  #send(peer: string, body: MarketBody): void {
    this.#effects.push({ kind: 'send', peer, body })
  }

  #arm(): void {
    let at = Math.min(this.#offering.nextDue, this.#queue.nextExpiry())
    for (const bid of this.#bids.values()) at = Math.min(at, bid.until)
    for (const guest of this.#guests.values()) at = Math.min(at, guest.killed?.until ?? guest.beatAt)
    if (at === this.#wakeAt) return
    this.#wakeAt = at
    this.#effects.push({ kind: 'wake', at })
  }
}
