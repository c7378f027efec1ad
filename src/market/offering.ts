import type { Random } from '../base/clock.ts'
import { toHex } from './frames.ts'
import { marketLimits, timing } from './limits.ts'

interface Interest {
  /** Build → when it ceases to count unless announced again. */
  builds: Map<string, number>
  sentAt: number
  sent: string
  dueAt: number
}

/** Who is told what this machine lends, and when: only those who build, at once, on change, and every second. */
export class Offering {
  readonly #interests = new Map<string, Interest>()
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  get size(): number {
    return this.#interests.size
  }

  announce(peer: string, build: Uint8Array, active: boolean, now: number): void {
    const interest = this.#interests.get(peer) ?? { builds: new Map(), sentAt: now, sent: '', dueAt: now }
    const key = toHex(build.subarray(0, 16))
    if (!active) interest.builds.delete(key)
    else if (interest.builds.has(key) || interest.builds.size < marketLimits.builds) {
      interest.builds.set(key, now + timing.interest)
    }
    if (interest.builds.size > 0) this.#interests.set(peer, interest)
    else this.#interests.delete(peer)
  }

  forget(peer: string): void {
    this.#interests.delete(peer)
  }

  expire(now: number): void {
    for (const [peer, { builds }] of this.#interests) {
      for (const [build, until] of builds) if (until <= now) builds.delete(build)
      if (builds.size === 0) this.#interests.delete(peer)
    }
  }

  /**
   * Who is to be sent an offer now.
   * @param state what the offer would say, in short: told soon when it differs from what was told last
   */
  due(now: number, state: string): string[] {
    const peers: string[] = []
    for (const [peer, interest] of this.#interests) {
      const first = interest.sent === ''
      const refreshAt = interest.sentAt + timing.offerRefresh
      if (first) interest.dueAt = now
      else if (interest.sent === state) interest.dueAt = refreshAt
      else if (interest.dueAt >= refreshAt) {
        const soon = now + timing.offerCoalesce * (1 + this.#random())
        interest.dueAt = Math.min(refreshAt, Math.max(soon, interest.sentAt + timing.offerSpacing))
      }
      if (interest.dueAt > now) continue
      peers.push(peer)
      interest.sent = state
      interest.sentAt = now
      interest.dueAt = now + timing.offerRefresh
    }
    return peers
  }

  get nextDue(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { dueAt } of this.#interests.values()) next = Math.min(next, dueAt)
    return next
  }
}
