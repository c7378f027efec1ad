import type { Reserve } from '../wire/generated/market_pb.ts'

/** A builder's place-holder at this lender. */
export interface Held {
  peer: string
  reserve: Reserve
  expiresAt: number
}

/** Turns in a row that a builder can have which asked for none in a while. */
const mostOwed = 2

/** What is known of a builder: how many tasks of it run here, and how often it is its turn, compared to others: see `Credit`. */
interface Standing {
  load: number
  credit: number
}

/**
 * Reservations that wait for a slot, served fairly: who runs least comes first, and of those one after the other, who has lent more
 * proportionally more often.
 */
export class FairQueue {
  readonly #byPeer = new Map<string, Held[]>()
  /** What each has had: a turn is the less the more credit it has. */
  readonly #had = new Map<string, number>()
  /** What the one had before that was served last: who is new here has had as much. */
  #level = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  count(peer: string): number {
    return this.#byPeer.get(peer)?.length ?? 0
  }

  has(peer: string, reservation: bigint): boolean {
    return this.#byPeer.get(peer)?.some((held) => held.reserve.reservation === reservation) ?? false
  }

  add(held: Held): void {
    const queue = this.#byPeer.get(held.peer)
    if (queue) queue.push(held)
    else this.#byPeer.set(held.peer, [held])
    this.#length += 1
  }

  next(standingOf: (peer: string) => Standing): Held | undefined {
    let best: ({ peer: string; had: number } & Standing) | undefined
    for (const peer of this.#byPeer.keys()) {
      const standing = standingOf(peer)
      const had = Math.max(this.#had.get(peer) ?? this.#level, this.#level - mostOwed) + 1 / standing.credit
      const { load } = standing
      if (!best || load < best.load || (load === best.load && had < best.had)) best = { peer, had, ...standing }
    }
    if (!best) return undefined
    this.#level = best.had - 1 / best.credit
    this.#had.set(best.peer, best.had)
    return this.removeWhere(best.peer, (_, index) => index === 0)[0]
  }

  /** Removes and returns the newest reservation of the peer that has the most. */
  evict(): Held | undefined {
    const longest = [...this.#byPeer.values()].reduce((a, b) => (b.length > a.length ? b : a), [])
    const newest = longest.at(-1)
    return newest && this.removeWhere(newest.peer, (held) => held === newest)[0]
  }

  removeWhere(peer: string, wanted: (held: Held, index: number) => boolean): Held[] {
    const queue = this.#byPeer.get(peer) ?? []
    const removed = queue.filter(wanted)
    const kept = queue.filter((held) => !removed.includes(held))
    this.#length -= removed.length
    if (kept.length > 0) this.#byPeer.set(peer, kept)
    else this.#byPeer.delete(peer)
    return removed
  }

  expire(now: number): void {
    for (const peer of [...this.#byPeer.keys()]) this.removeWhere(peer, (held) => held.expiresAt <= now)
  }

  /** Most reservations that one peer has. */
  get longest(): number {
    let longest = 0
    for (const queue of this.#byPeer.values()) longest = Math.max(longest, queue.length)
    return longest
  }

  forget(peer: string): void {
    this.removeWhere(peer, () => true)
    this.#had.delete(peer)
  }

  nextExpiry(): number {
    let next = Number.POSITIVE_INFINITY
    for (const queue of this.#byPeer.values()) next = Math.min(next, queue[0]?.expiresAt ?? next)
    return next
  }
}
