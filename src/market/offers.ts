import type { Random } from '../base/clock.ts'
import { type Offer, Tier } from '../wire/generated/market_pb.ts'
import { toHex } from './frames.ts'
import { marketLimits, timing } from './limits.ts'
import type { Task } from './task.ts'

/** What a peer last offered. `free` is our copy: using the offer decrements it. */
interface Lender {
  seq: bigint
  free: number
  total: number
  host: string
  tier: Tier
  links: boolean
  /** Of the reference machine's; see `speedMost`. */
  speed: number
  toolchains: ReadonlySet<string>
  expiresAt: number
}

/** What people see of a lender's standing offer. */
export interface OfferView {
  free: number
  total: number
  tier: Tier
  host: string
  toolchains: string[]
}

type Needs = Pick<Task, 'toolchain' | 'host' | 'links'>

/** What a lender can claim to be, and who says nothing is taken for. */
const [speedLeast, speedMost, speedUsual] = [0.25, 4, 1]
/** A lender that is half as fast again is asked so much the rather: a hundred times and more. Of equals it is who has more slots. */
const speedPower = 16

/** The offers of connected peers, as tokens: one is used up when a reservation is sent on it. */
export class OfferBook {
  /** Holds exactly the connected peers; null until the first offer. */
  readonly #lenders = new Map<string, Lender | null>()

  connect(peer: string): void {
    this.#lenders.set(peer, null)
  }

  disconnect(peer: string): void {
    this.#lenders.delete(peer)
  }

  connected(peer: string): boolean {
    return this.#lenders.has(peer)
  }

  peers(): IterableIterator<string> {
    return this.#lenders.keys()
  }

  /** Takes over an offer unless it is older than the one at hand. Numbers out of range are cut, not believed. */
  accept(peer: string, offer: Offer, now: number): void {
    const before = this.#lenders.get(peer)
    if (before === undefined || (before !== null && offer.seq <= before.seq)) return
    const total = Math.min(offer.total, marketLimits.slots)
    const lends = offer.tier === Tier.WATCHED || offer.tier === Tier.CONFINED
    this.#lenders.set(peer, {
      seq: offer.seq,
      free: lends ? Math.min(offer.free, total) : 0,
      total: lends ? total : 0,
      host: offer.host.slice(0, marketLimits.triple),
      tier: lends ? offer.tier : Tier.NONE,
      links: offer.links,
      speed: Math.min(speedMost, Math.max(speedLeast, offer.speedPermille / 1000 || speedUsual)),
      toolchains: new Set(offer.toolchains.slice(0, marketLimits.toolchains).map(toHex)),
      expiresAt: now + Math.min(offer.ttlMs, timing.offerTtlMax),
    })
  }

  /** Forgets what the peer offered; its next offer counts again. */
  forget(peer: string): void {
    const lender = this.#lenders.get(peer)
    if (lender) lender.expiresAt = Number.NEGATIVE_INFINITY
  }

  take(peer: string): void {
    const lender = this.#lenders.get(peer)
    if (lender) lender.free = Math.max(0, lender.free - 1)
  }

  /** A slot that we were given or promised is free again. */
  giveBack(peer: string): void {
    const lender = this.#lenders.get(peer)
    if (lender) lender.free = Math.min(lender.total, lender.free + 1)
  }

  exhaust(peer: string): void {
    const lender = this.#lenders.get(peer)
    if (lender) lender.free = 0
  }

  /** Whether the peer has what the task needs, as far as it ever told. */
  suits(peer: string, needs: Needs): boolean {
    const lender = this.#lenders.get(peer)
    if (!lender || (needs.links === true && !lender.links)) return false
    return lender.toolchains.has(needs.toolchain) && lender.host === needs.host
  }

  /** Whether anybody whom `allowed` lets pass currently lends what the task needs, busy or not. */
  anybody(needs: Needs, now: number, allowed: (peer: string) => boolean): boolean {
    for (const [peer, lender] of this.#lenders) {
      if (lender && lender.total > 0 && lender.expiresAt > now && this.suits(peer, needs) && allowed(peer)) return true
    }
    return false
  }

  /** How fast the peer says that its processors are, compared to the reference machine's. */
  speed(peer: string): number {
    return this.#lenders.get(peer)?.speed ?? speedUsual
  }

  /** How many slots it has for such tasks, as far as is known. @param asked for so many more it was asked */
  free(peer: string, needs: Needs, now: number, asked: number): number {
    const lender = this.#lenders.get(peer)
    if (!lender || lender.expiresAt <= now || !this.suits(peer, needs)) return 0
    return Math.min(lender.total, lender.free + asked)
  }

  /** A random lender with a free slot, weighted by how many it has and how fast it is; undefined when there is none. */
  pick(needs: Needs, now: number, random: Random, allowed: (peer: string) => boolean): string | undefined {
    const candidates: { peer: string; weight: number }[] = []
    let sum = 0
    for (const [peer, lender] of this.#lenders) {
      if (!lender || lender.free <= 0 || lender.expiresAt <= now) continue
      if (!this.suits(peer, needs) || !allowed(peer)) continue
      const weight = lender.free * lender.speed ** speedPower
      candidates.push({ peer, weight })
      sum += weight
    }
    let left = random() * sum
    for (const { peer, weight } of candidates) {
      left -= weight
      if (left < 0) return peer
    }
    return candidates.at(-1)?.peer
  }

  view(peer: string, now: number): OfferView | undefined {
    const lender = this.#lenders.get(peer)
    if (!lender || lender.expiresAt <= now) return undefined
    const { free, total, tier, host } = lender
    return { free, total, tier, host, toolchains: [...lender.toolchains] }
  }
}
