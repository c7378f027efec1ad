/** Of what was exchanged a day ago half counts. */
const halfLifeMs = 86_400_000
/** Exchanged for nothing, so that a first favour does not count for everything. */
const grantMs = 600_000
/** Turns of who has lent much, for one of who never lends. */
const most = 2

/** What was exchanged with each peer lately, as far as it decides whose turn it is here. Only own experience: nobody can boast. */
export class Credit {
  readonly #accounts = new Map<string, { lentMs: number; borrowedMs: number; at: number }>()

  /** A peer has compiled so much for this node. */
  borrowed(peer: string, ms: number, now: number): void {
    this.#account(peer, now).borrowedMs += ms
  }

  /** This node has compiled so much for a peer. */
  lent(peer: string, ms: number, now: number): void {
    this.#account(peer, now).lentMs += ms
  }

  /** How many turns it gets where another gets one: between 1 and 2, the more the more it has lent than borrowed. */
  of(peer: string, now: number): number {
    const known = this.#accounts.get(peer)
    if (known === undefined) return 1
    const share = 0.5 ** ((now - known.at) / halfLifeMs)
    return Math.min(most, Math.max(1, (known.borrowedMs * share + grantMs) / (known.lentMs * share + grantMs)))
  }

  #account(peer: string, now: number): { lentMs: number; borrowedMs: number; at: number } {
    const known = this.#accounts.get(peer) ?? { lentMs: 0, borrowedMs: 0, at: now }
    const share = 0.5 ** ((now - known.at) / halfLifeMs)
    const account = { lentMs: known.lentMs * share, borrowedMs: known.borrowedMs * share, at: now }
    this.#accounts.set(peer, account)
    return account
  }
}
