import type { OfferView } from './offers.ts'
import type { MarketEvent } from './participant.ts'

interface Account {
  lentMs: number
  borrowedMs: number
}

/** What was exchanged with whom since the node started. */
export class Ledger {
  readonly #accounts = new Map<string, Account>()
  readonly #counts = { here: 0, away: 0, lent: 0 }
  readonly #returned = new Map<string, number>()

  record(event: MarketEvent): void {
    switch (event.kind) {
      case 'here':
        this.#counts.here += 1
        break
      case 'away':
        this.#counts.away += 1
        this.#account(event.peer).borrowedMs += event.awayMs
        break
      case 'returned':
        this.#returned.set(event.why, (this.#returned.get(event.why) ?? 0) + 1)
        break
      case 'ended':
        this.#counts.lent += 1
        this.#account(event.peer).lentMs += event.lentMs
        break
      case 'waiting':
      case 'metadata':
      case 'run':
      case 'kill':
        break
    }
  }

  counts(): { here: number; away: number; lent: number; returned: Record<string, number> } {
    return { ...this.#counts, returned: Object.fromEntries(this.#returned) }
  }

  peers(
    connected: Iterable<string>,
    offerOf: (peer: string) => OfferView | undefined,
  ): { peer: string; lentMs: number; borrowedMs: number; offer?: OfferView }[] {
    return [...new Set([...connected, ...this.#accounts.keys()])].map((peer) => {
      const account = this.#accounts.get(peer) ?? { lentMs: 0, borrowedMs: 0 }
      const offer = offerOf(peer)
      return offer ? { peer, ...account, offer } : { peer, ...account }
    })
  }

  #account(peer: string): Account {
    const known = this.#accounts.get(peer)
    if (known) return known
    const account = { lentMs: 0, borrowedMs: 0 }
    this.#accounts.set(peer, account)
    return account
  }
}
