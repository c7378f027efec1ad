import type { PeerId } from '@libp2p/interface'
import type { KadDHT } from '@libp2p/kad-dht'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { checkCid, hexOf } from '../wire/cid.ts'

export interface ProviderNeeds {
  clock: Clock
  log: Logger
  dht: KadDHT
  self: PeerId
  /** Members connected now; without any, announcing waits. */
  connected(): number
  /** An address of a member has come by; `wanted` when it is one that was searched for. */
  onFound(peerId: string, addresses: readonly Multiaddr[], wanted: boolean): void
}

export interface FindOptions {
  signal?: AbortSignal
  /** Stop at so many providers. Default: 3. */
  limit?: number
  /** Default: 2000. */
  deadlineMs?: number
}

const maxRecords = 1024
const maxWaiting = 4096
const announceTimeoutMs = 5000
const exploreTimeoutMs = 3000
/** After an announcement that took t, nothing is announced for 4 t: at most a fifth of the time is spent on it. */
const restFactor = 4
const minRestMs = 200
const nobodyRestMs = 2000

/**
 * Provider records in the mesh's DHT: which member has what. Announcing is background work, one at a time with rests;
 * nothing here belongs on the path of a compile without a deadline of its own.
 */
export class ProviderRecords {
  readonly #needs: ProviderNeeds
  readonly #waiting = new Map<string, CID>()
  /** Announced in this session, oldest first. The DHT renews each until it is withdrawn. */
  readonly #announced = new Map<string, CID>()
  readonly #stop = new AbortController()
  #cancelRest: (() => void) | undefined
  #busy = false

  constructor(needs: ProviderNeeds) {
    this.#needs = needs
  }

  /**
   * Tells the mesh, some time soon, that this node has what `key` names. Does nothing for what has been announced or
   * waits already, or when 4096 wait. Of more than 1024 announced, the oldest is withdrawn.
   */
  announce(key: CID): void {
    checkCid(key)
    const name = hexOf(key)
    if (this.#announced.has(name) || this.#waiting.has(name) || this.#waiting.size >= maxWaiting) return
    this.#waiting.set(name, key)
    this.poke()
  }

  /** Keys that have not been announced yet. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** This node no longer has it. Copies of the record at other members run out by themselves. */
  withdraw(key: CID): void {
    const name = hexOf(key)
    this.#waiting.delete(name)
    if (this.#announced.delete(name)) this.#forget(key)
  }

  /** Something may be possible that was not before: a member has connected. */
  poke(): void {
    if (this.#busy || this.#cancelRest !== undefined || this.#stop.signal.aborted) return
    if (this.#waiting.size > 0 && this.#needs.connected() > 0) void this.#next()
  }

  /** Members that announced `key` and are not this node, until the limit or the deadline; never throws for want of any. */
  async find(key: CID, options: FindOptions = {}): Promise<string[]> {
    const { limit = 3, deadlineMs = 2000, signal } = options
    checkCid(key)
    const found = new Set<string>()
    const bounded = this.#bounded(deadlineMs, signal)
    try {
      for await (const event of this.#needs.dht.findProviders(key, { signal: bounded })) {
        if (event.name !== 'PROVIDER') continue
        for (const { id, multiaddrs } of event.providers) {
          if (id.equals(this.#needs.self)) continue
          this.#needs.onFound(id.toString(), multiaddrs, true)
          found.add(id.toString())
        }
        if (found.size >= limit) break
      }
    } catch (error) {
      signal?.throwIfAborted()
      if (!bounded.aborted) this.#logFailure('providers not found', error)
    }
    return [...found].slice(0, limit)
  }

  /** Asks the members we know for those nearest to us, and so gets to know them. */
  async explore(): Promise<void> {
    const signal = this.#bounded(exploreTimeoutMs)
    try {
      for await (const event of this.#needs.dht.getClosestPeers(this.#needs.self.toMultihash().bytes, { signal })) {
        if (event.name !== 'PEER_RESPONSE') continue
        for (const { id, multiaddrs } of event.closer) {
          if (!id.equals(this.#needs.self)) this.#needs.onFound(id.toString(), multiaddrs, false)
        }
      }
    } catch (error) {
      if (!signal.aborted) this.#logFailure('members not explored', error)
    }
  }

  stop(): void {
    this.#stop.abort()
    this.#cancelRest?.()
    this.#waiting.clear()
  }

  async #next(): Promise<void> {
    const [entry] = this.#waiting
    if (entry === undefined) return
    const [name, key] = entry
    this.#busy = true
    const startedAt = this.#needs.clock.now()
    const holders = await this.#provide(key)
    this.#busy = false
    if (this.#stop.signal.aborted) return
    if (!this.#waiting.delete(name)) this.#forget(key)
    else if (holders > 0) this.#announced.set(name, key)
    // The members connected now do not take records yet. At the end of the queue, so that others have their turn.
    else this.#waiting.set(name, key)
    this.#dropOldest()
    const tookMs = this.#needs.clock.now() - startedAt
    const restMs = holders > 0 ? Math.max(minRestMs, restFactor * tookMs) : nobodyRestMs
    this.#cancelRest = this.#needs.clock.after(restMs, () => {
      this.#cancelRest = undefined
      this.poke()
    })
  }

  /** How many members were given the record. */
  async #provide(key: CID): Promise<number> {
    const signal = this.#bounded(announceTimeoutMs)
    let holders = 0
    try {
      for await (const event of this.#needs.dht.provide(key, { signal })) {
        if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') holders += 1
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#logFailure('not announced', error)
    }
    return holders
  }

  #dropOldest(): void {
    for (const [name, key] of this.#announced) {
      if (this.#announced.size <= maxRecords) return
      this.#announced.delete(name)
      this.#forget(key)
    }
  }

  #forget(key: CID): void {
    this.#needs.dht.cancelReprovide(key).catch((error: unknown) => this.#logFailure('not withdrawn', error))
  }

  #bounded(ms: number, signal?: AbortSignal): AbortSignal {
    const signals = [this.#stop.signal, AbortSignal.timeout(Math.ceil(ms))]
    return AbortSignal.any(signal === undefined ? signals : [...signals, signal])
  }

  #logFailure(message: string, error: unknown): void {
    this.#needs.log.debug(message, { error: toShoalError(error).message })
  }
}
