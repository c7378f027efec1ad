import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Holding } from '../recall/recall.ts'
import { digestOf, hexOf } from '../wire/cid.ts'
import { rangesOf } from './ranges.ts'

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
}

/** Whoever hangs delays nobody for longer. */
const mostMs = 300
const positiveMs = 30_000
const negativeMs = 5000
/** Who has announced a range of keys, and that nobody has. */
const rangeMs = 60_000
const noRangeMs = 10_000
const maxKept = 10_000
const maxProviders = 20

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
  readonly #found = new Map<string, Kept>()
  /** Keys of which the DHT knew nothing, until when. */
  readonly #notFound = new Map<string, number>()
  readonly #ranges = new Map<string, { until: number; peers: Promise<string[]> }>()
  readonly #searches = new Map<string, Promise<boolean>>()
  /** Look-ups in the DHT, and those that found somebody who was not connected. */
  readonly stats = { asked: 0, kept: 0, searched: 0, found: 0 }

  constructor(needs: LookupsNeeds) {
    this.#needs = needs
    needs.mesh.onHoldings(() => this.#notFound.clear())
    needs.mesh.onPeer((_peer, up) => {
      if (up) this.#notFound.clear()
    })
  }

  async ask(key: CID, { budgetMs, signal, work }: AskOptions): Promise<Holding[]> {
    const { mesh, clock } = this.#needs
    const hex = hexOf(key)
    const kept = this.#take(hex)
    if (kept !== undefined) return kept
    const until = clock.now() + Math.min(mostMs, budgetMs)
    const left = (): number => Math.max(0, until - clock.now())
    const answers = await this.#askPeers(key, left(), signal, work)
    if (answers.length > 0 || !mesh.shouldAskDht() || left() === 0) return answers
    if ((this.#notFound.get(hex) ?? 0) > clock.now()) return answers
    const isUp = await this.#search(key, left)
    signal.throwIfAborted()
    if (!isUp || left() === 0) return answers
    return await this.#askPeers(key, left(), signal, work)
  }

  /** Asks about many keys at once, and keeps the answers for the units that will ask. */
  async askMany(keys: readonly CID[], { budgetMs, signal }: AskOptions): Promise<Map<string, Holding[]>> {
    const fresh = keys.filter((key) => this.#found.get(hexOf(key)) === undefined)
    this.stats.asked += 1
    const answers = await this.#needs.mesh.ask(fresh.map(digestOf), { budgetMs: Math.min(mostMs, budgetMs), signal })
    const found = new Map<string, Holding[]>()
    for (const { peerId, key, traces } of answers) {
      const hex = Buffer.from(key).toString('hex')
      const holdings = found.get(hex) ?? []
      holdings.push({ peer: peerId, traces })
      found.set(hex, holdings)
    }
    for (const [hex, holdings] of found) this.#keep(hex, holdings)
    return found
  }

  async #askPeers(key: CID, budgetMs: number, signal: AbortSignal, work: Uint8Array | undefined): Promise<Holding[]> {
    this.stats.asked += 1
    const answers = await this.#needs.mesh.ask([digestOf(key)], { budgetMs, enough: 1, signal, works: [work] })
    return answers.map(({ peerId, traces }) => ({ peer: peerId, traces }))
  }

  /** What was found a moment ago serves once: who asks again was not helped by it. */
  #take(hex: string): Holding[] | undefined {
    const kept = this.#found.get(hex)
    if (kept === undefined) return undefined
    this.#found.delete(hex)
    if (kept.until <= this.#needs.clock.now()) return undefined
    this.stats.kept += 1
    return kept.holdings
  }

  #keep(hex: string, holdings: Holding[]): void {
    this.#found.set(hex, { until: this.#needs.clock.now() + positiveMs, holdings })
    for (const oldest of this.#found.keys()) {
      if (this.#found.size <= maxKept) break
      this.#found.delete(oldest)
    }
  }

  /** Whether a member that may have it has come up. One search for all who ask about the same. */
  #search(key: CID, left: () => number): Promise<boolean> {
    const hex = hexOf(key)
    const running = this.#searches.get(hex)
    if (running !== undefined) return running
    const search = this.#searchOnce(key, left).finally(() => this.#searches.delete(hex))
    this.#searches.set(hex, search)
    return search
  }

  async #searchOnce(key: CID, left: () => number): Promise<boolean> {
    const { mesh, clock } = this.#needs
    this.stats.searched += 1
    const peers = new Set<string>()
    for (const range of await Promise.all(rangesOf(key).map((name) => this.#range(name, left())))) {
      for (const peer of range) peers.add(peer)
    }
    // Whoever has much or little is in one of these; only where they are too many, the key itself tells who.
    if (peers.size === 0 || peers.size >= maxProviders) {
      for (const peer of await mesh.findProviders(key, { deadlineMs: left() })) peers.add(peer)
    }
    const isUp = await this.#anyComesUp([...peers], left)
    if (isUp) this.stats.found += 1
    else if (left() > 0) this.#notFound.set(hexOf(key), clock.now() + negativeMs)
    if (this.#notFound.size > maxKept) this.#notFound.clear()
    return isUp
  }

  async #range(name: CID, deadlineMs: number): Promise<string[]> {
    const { clock, mesh } = this.#needs
    const hex = hexOf(name)
    const known = this.#ranges.get(hex)
    if (known !== undefined && known.until > clock.now()) return await known.peers
    const from = clock.now()
    const peers = mesh.findProviders(name, { limit: maxProviders, deadlineMs })
    this.#ranges.set(hex, { until: from + noRangeMs, peers })
    const found = await peers
    // Out of time is not the same as nobody.
    if (found.length === 0 && clock.now() - from >= deadlineMs) this.#ranges.delete(hex)
    if (found.length > 0) this.#ranges.set(hex, { until: clock.now() + rangeMs, peers })
    return found
  }

  /** Those that are connected have said no; the others are being dialled since they were found. */
  async #anyComesUp(providers: readonly string[], left: () => number): Promise<boolean> {
    const { mesh, clock } = this.#needs
    const connected = new Set(mesh.peers().flatMap((peer) => (peer.connected ? [peer.peerId] : [])))
    const awaited = providers.filter((peer) => !connected.has(peer))
    if (awaited.length === 0) return false
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const forget = mesh.onPeer((peer, up) => {
      if (up && awaited.includes(peer)) resolve(true)
    })
    const cancel = clock.after(left(), () => resolve(false))
    try {
      return await promise
    } finally {
      forget()
      cancel()
    }
  }
}
