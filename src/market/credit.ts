/** Of what was exchanged a day ago half counts. */
const halfLifeMs = 86_400_000
/** Exchanged for nothing, so that a first favour does not count for everything. */
const grantMs = 600_000
/** Turns of who has lent much, for one of who never lends. */
const most = 2

interface Account {
  lentMs: number
  borrowedMs: number
  at: number
}

/** What was exchanged with each peer lately, as far as it decides whose turn it is here. Only own experience: nobody can boast. */
export class Credit {
  readonly #accounts = new Map<string, Account>()

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
    const { lentMs, borrowedMs } = this.#left(peer, now)
    return Math.min(most, Math.max(1, (borrowedMs + grantMs) / (lentMs + grantMs)))
  }

  #account(peer: string, now: number): Account {
    const account = this.#left(peer, now)
    this.#accounts.set(peer, account)
    return account
  }

  /** What is left of it by now. */
  #left(peer: string, now: number): Account {
    const { lentMs, borrowedMs, at } = this.#accounts.get(peer) ?? { lentMs: 0, borrowedMs: 0, at: now }
    const share = 0.5 ** ((now - at) / halfLifeMs)
    return { lentMs: lentMs * share, borrowedMs: borrowedMs * share, at: now }
  }
}
