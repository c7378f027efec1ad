import type { Random } from '../base/clock.ts'
import { toHex } from './frames.ts'
import { marketLimits, timing } from './limits.ts'

interface Interest {
  /** Build → when it ceases to count unless announced again. */
  builds: Map<string, number>
  sentAt: number
  sent: string
  /** Free slots that it believes there are, or fewer: those that it was told of, less those that it has asked for since. */
  free: number
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
    const interest = this.#interests.get(peer) ?? { builds: new Map(), sentAt: now, sent: '', free: 0, dueAt: now }
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

  /** It has asked for a slot, and counts one less from then on. */
  asked(peer: string): void {
    const interest = this.#interests.get(peer)
    if (interest) interest.free = Math.max(0, interest.free - 1)
  }

  /** It is given a result, and counts a slot more, of at most so many. What it says with GONE may have crossed an offer. */
  returned(peer: string, most: number): void {
    const interest = this.#interests.get(peer)
    if (interest) interest.free = Math.min(most, interest.free + 1)
  }

  /** It was told that there is none. */
  declined(peer: string): void {
    const interest = this.#interests.get(peer)
    if (interest) interest.free = 0
  }

  expire(now: number): void {
    for (const [peer, { builds }] of this.#interests) {
      for (const [build, until] of builds) if (until <= now) builds.delete(build)
      if (builds.size === 0) this.#interests.delete(peer)
    }
  }

  /**
   * Who is to be sent an offer now.
   * @param free slots: more of them are told at once, because work may wait for them; fewer when there is time
   * @param state what else the offer would say, in short: told soon when it differs from what was told last
   */
  due(now: number, free: number, state: string): string[] {
    const peers: string[] = []
    for (const [peer, interest] of this.#interests) {
      const first = interest.sent === ''
      const refreshAt = interest.sentAt + timing.offerRefresh
      if (first) interest.dueAt = now
      else if (interest.sent === state && interest.free === free) interest.dueAt = refreshAt
      else if (free > interest.free) {
        interest.dueAt = Math.min(interest.dueAt, Math.max(now, interest.sentAt + timing.gainSpacing))
      } else if (interest.dueAt >= refreshAt) {
        const soon = now + timing.offerCoalesce * (1 + this.#random())
        interest.dueAt = Math.min(refreshAt, Math.max(soon, interest.sentAt + timing.offerSpacing))
      }
      if (interest.dueAt > now) continue
      peers.push(peer)
      interest.sent = state
      interest.free = free
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
