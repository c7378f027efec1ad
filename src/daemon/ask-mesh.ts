import type { CID } from 'multiformats/cid'
import { BoundedMap } from '../base/bounded-map.ts'
import type { Clock } from '../base/clock.ts'
import type { AskOptions as MeshAskOptions } from '../mesh/holdings.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Holding } from '../recall/candidates.ts'
import { digestOf, hexOf } from '../wire/cid.ts'
import { DhtSearch } from './dht-search.ts'

export interface LookupsNeeds {
  mesh: Pick<Mesh, 'ask' | 'findProviders' | 'shouldAskDht' | 'peers' | 'onPeer' | 'onHoldings'>
  clock: Clock
}

export interface AskOptions {
  /** How long the answer is worth waiting for; never more than 300 ms. */
  budgetMs: number
  signal: AbortSignal
  /** Names what is claimed meanwhile. */
  work?: Uint8Array | undefined
  /** Answers after which nobody else is waited for. Default: 1. */
  enough?: number
  /** It is nothing that is announced in the DHT: only connected members can have it. Default: false. */
  isUnannounced?: boolean
}

/** Whoever hangs delays nobody for longer. */
const mostMs = 300
const positiveMs = 30_000
const maxKept = 10_000

interface Kept {
  until: number
  holdings: Holding[]
}

/**
 * Who has done this? The connected members that may have, then the DHT, while it can know more than they do: a member
 * that may hold something is not connected. Answers are kept for a moment.
 */
export class Lookups {
  readonly #needs: LookupsNeeds
  readonly #found = new BoundedMap<string, Kept>(maxKept)
  readonly #dht: DhtSearch
  /** Questions to the members, and answers that came from what was kept. */
  readonly #counts = { asked: 0, kept: 0 }

  constructor(needs: LookupsNeeds) {
    this.#needs = needs
    this.#dht = new DhtSearch(needs)
    needs.mesh.onHoldings(() => this.#dht.newsCame())
  }

  /** Counts since the start. */
  get stats(): { asked: number; kept: number; searched: number; found: number } {
    return { ...this.#counts, ...this.#dht.stats }
  }

  async ask(key: CID, { budgetMs, signal, work, enough = 1, isUnannounced }: AskOptions): Promise<Holding[]> {
    const { mesh, clock } = this.#needs
    const hex = hexOf(key)
    const kept = this.#take(hex)
    if (kept !== undefined) return kept
    const until = clock.now() + Math.min(mostMs, budgetMs)
    const left = (): number => Math.max(0, until - clock.now())
    const answers = await this.#askPeers(key, { budgetMs: left(), enough, signal, works: [work] })
    if (answers.length > 0 || isUnannounced || !mesh.shouldAskDht() || left() === 0) return answers
    const isUp = await this.#dht.find(key, left())
    signal.throwIfAborted()
    if (!isUp || left() === 0) return answers
    return await this.#askPeers(key, { budgetMs: left(), enough, signal, works: [work] })
  }

  /** Asks about many keys at once, and keeps the answers for the units that will ask. */
  async askMany(keys: readonly CID[], { budgetMs, signal }: AskOptions): Promise<Map<string, Holding[]>> {
    const fresh = keys.filter((key) => this.#found.get(hexOf(key)) === undefined)
    this.#counts.asked += 1
    const answers = await this.#needs.mesh.ask(fresh.map(digestOf), { budgetMs: Math.min(mostMs, budgetMs), signal })
    const found = new Map<string, Holding[]>()
    for (const { peerId, key, traces, claims } of answers) {
      const hex = Buffer.from(key).toString('hex')
      const holdings = found.get(hex) ?? []
      holdings.push({ peer: peerId, traces, claims })
      found.set(hex, holdings)
    }
    for (const [hex, holdings] of found) this.#keep(hex, holdings)
    return found
  }

  async #askPeers(key: CID, options: MeshAskOptions): Promise<Holding[]> {
    this.#counts.asked += 1
    const answers = await this.#needs.mesh.ask([digestOf(key)], options)
    return answers.map(({ peerId, traces, claims }) => ({ peer: peerId, traces, claims }))
  }

  /** What was found a moment ago serves once: who asks again was not helped by it. */
  #take(hex: string): Holding[] | undefined {
    const kept = this.#found.get(hex)
    if (kept === undefined) return undefined
    this.#found.delete(hex)
    if (kept.until <= this.#needs.clock.now()) return undefined
    this.#counts.kept += 1
    return kept.holdings
  }

  #keep(hex: string, holdings: Holding[]): void {
    this.#found.set(hex, { until: this.#needs.clock.now() + positiveMs, holdings })
  }
}
