import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { hexOf } from '../wire/cid.ts'
import { rangesOf } from './ranges.ts'

export interface DhtSearchNeeds {
  mesh: Pick<Mesh, 'findProviders' | 'peers' | 'onPeer'>
  clock: Clock
}

/** A question to the DHT goes on for so long though nobody waits for it any more: its answer serves the next. */
const questionMs = 2000
/** While the DHT does not answer in time, it is asked so often, and not waited for. */
const probeMs = 5000
const negativeMs = 5000
/** Who has announced a range of keys, and that nobody has. */
const rangeMs = 60_000
const noRangeMs = 10_000
const maxKept = 10_000
const maxProviders = 20

/**
 * Finds members that are not connected and may have something, through the DHT, and waits until one has come up. What
 * hung once (the DHT, because it asks somebody who hangs, or a member that does not come up) is not waited for again until
 * it was heard.
 */
export class DhtSearch {
  readonly #needs: DhtSearchNeeds
  /** Keys of which the DHT knew nothing, until when. */
  readonly #notFound = new Map<string, number>()
  readonly #ranges = new Map<string, { until: number; peers: Promise<string[]> }>()
  readonly #questions = new Map<string, Promise<string[]>>()
  /** Members that were waited for in vain, until they come up. */
  readonly #lost = new Set<string>()
  #isOverdue = false
  #probeAt = Number.NEGATIVE_INFINITY
  /** Look-ups in the DHT, and those that found somebody who was not connected. */
  readonly stats = { searched: 0, found: 0 }

  constructor(needs: DhtSearchNeeds) {
    this.#needs = needs
    needs.mesh.onPeer((peer, up) => {
      if (!up) return
      this.#lost.delete(peer)
      this.#isOverdue = false
      this.newsCame()
    })
  }

  /** Somebody has something new: what was not found may be there by now. */
  newsCame(): void {
    this.#notFound.clear()
  }

  /** Whether a member that may have it has come up; waits for `waitMs` at most. One question for all who ask about the same. */
  async find(key: CID, waitMs: number): Promise<boolean> {
    const { clock } = this.#needs
    const hex = hexOf(key)
    const until = clock.now() + waitMs
    if ((this.#notFound.get(hex) ?? 0) > clock.now()) return false
    const question = this.#questions.get(hex) ?? this.#ask(key)
    if (question === undefined || this.#isOverdue) return false
    const providers = await this.#inTime(question, waitMs)
    if (providers === undefined) {
      this.#isOverdue = true
      this.#probeAt = clock.now() + probeMs
      return false
    }
    const isUp = await this.#anyComesUp(providers, until - clock.now())
    if (isUp) this.stats.found += 1
    else this.#notFound.set(hex, clock.now() + negativeMs)
    if (this.#notFound.size > maxKept) this.#notFound.clear()
    return isUp
  }

  #ask(key: CID): Promise<string[]> | undefined {
    const { clock } = this.#needs
    const from = clock.now()
    if (this.#isOverdue) {
      if (from < this.#probeAt || this.#questions.size > 0) return undefined
      this.#probeAt = from + probeMs
    }
    const hex = hexOf(key)
    this.stats.searched += 1
    const question = this.#providersOf(key, () => Math.max(0, from + questionMs - clock.now())).finally(() =>
      this.#questions.delete(hex),
    )
    this.#questions.set(hex, question)
    question.then(
      () => {
        if (clock.now() - from < questionMs) this.#isOverdue = false
      },
      // Whoever waits for it is told.
      () => undefined,
    )
    return question
  }

  async #providersOf(key: CID, left: () => number): Promise<string[]> {
    const peers = new Set<string>()
    for (const range of await Promise.all(rangesOf(key).map((name) => this.#range(name, left())))) {
      for (const peer of range) peers.add(peer)
    }
    // Whoever has much or little is in one of these; only where they are too many, the key itself tells who.
    if (peers.size === 0 || peers.size >= maxProviders) {
      for (const peer of await this.#needs.mesh.findProviders(key, { deadlineMs: left() })) peers.add(peer)
    }
    return [...peers]
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

  async #inTime<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
    const late = Promise.withResolvers<undefined>()
    const cancel = this.#needs.clock.after(ms, () => late.resolve(undefined))
    try {
      return await Promise.race([promise, late.promise])
    } finally {
      cancel()
    }
  }

  /** Those that are connected have said no; the others are being dialled since they were found. */
  async #anyComesUp(providers: readonly string[], ms: number): Promise<boolean> {
    const { mesh } = this.#needs
    const connected = new Set(mesh.peers().flatMap((peer) => (peer.connected ? [peer.peerId] : [])))
    const awaited = new Set(providers.filter((peer) => !connected.has(peer) && !this.#lost.has(peer)))
    if (awaited.size === 0) return false
    const { promise, resolve } = Promise.withResolvers<true>()
    const forget = mesh.onPeer((peer, up) => {
      if (up && awaited.has(peer)) resolve(true)
    })
    try {
      if (await this.#inTime(promise, ms)) return true
      if (this.#lost.size > maxKept) this.#lost.clear()
      for (const peer of awaited) this.#lost.add(peer)
      return false
    } finally {
      forget()
    }
  }
}
