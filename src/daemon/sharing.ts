import type { Datastore } from 'interface-datastore'
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { type ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Holding } from '../recall/candidates.ts'
import type { HeldKey, Recall } from '../recall/recall.ts'
import type { SharedRuns } from '../recall/shared-runs.ts'
import type { BlockStore } from '../store/blocks.ts'
import type { TraceStore } from '../store/traces.ts'
import type { TrafficEvent } from '../watch/traffic.ts'
import { cidFromDigest, hexOf } from '../wire/cid.ts'
import { Announcing } from './announcing.ts'
import { type AskOptions, Lookups } from './ask-mesh.ts'
import { Inventory } from './inventory.ts'
import type { Machine } from './machine.ts'
import { Placing, withPlaced } from './placing.ts'
import { Prefetch } from './prefetch.ts'
import type { Supply } from './supply.ts'

export interface SharingNeeds {
  mesh: Mesh
  clock: Clock
  log: Logger
  datastore: Datastore
  blocks: BlockStore
  traces: TraceStore
  recall: Pick<Recall, 'holdings' | 'claimsAbout'>
  runs: Pick<SharedRuns, 'holdings' | 'keys'>
  supply: Pick<Supply, 'ensure' | 'bytes'>
  machine: Pick<Machine, 'onBattery'>
  /** What is kept of an action key (hex) is for this node alone. */
  isPrivate(key: string): boolean
  note(event: TrafficEvent): void
  /** No cargo is at work and no unit in flight here. */
  isQuiet(): boolean
  trouble(error: ShoalError): void
}

export interface SharingInit {
  /** For what others place here. */
  placedMaxBytes: number
}

type FetchOptions = Parameters<Supply['bytes']>[1]

/** How long members are asked what to prefetch: nobody waits for it. */
const prefetchAskMs = 300

/** What this node has for others and others have for it: who holds what, who keeps what, what will be asked for next. */
export class Sharing {
  readonly #needs: SharingNeeds
  readonly #inventory: Inventory
  readonly #lookups: Lookups
  readonly #announcing: Announcing
  readonly #prefetch: Prefetch
  readonly #placing: Placing
  /** What members were told that this node has. */
  readonly #told = new Set<string>()
  /** Of blocks that a unit needed from others: those that it had to wait for, and those that were here before it asked. */
  readonly #fetches = { awaited: 0, ready: 0 }

  private constructor(needs: SharingNeeds, inventory: Inventory, placing: Placing) {
    const { mesh, clock, log, datastore, supply } = needs
    this.#needs = needs
    this.#inventory = inventory
    this.#placing = placing
    this.#lookups = new Lookups(needs)
    this.#announcing = new Announcing({ mesh, clock, held: () => this.#held() })
    this.#prefetch = new Prefetch({
      datastore,
      log,
      has: (key) => inventory.has(key),
      askMany: (keys, signal) => this.#lookups.askMany(keys, { budgetMs: prefetchAskMs, signal }),
      fetch: (cid, options) => supply.bytes(cid, options),
      ensure: (cid, size, from, signal) => supply.ensure(cid, size, from, signal),
      onRemembered: (lockKey) => this.#tell(lockKey, true),
    })
    inventory.listen({
      onHeld: (key) => this.#changed(key),
      onGone: (key) => this.#changed(key),
    })
    placing.placed.listen((key) => this.#changed(key))
  }

  static async open(needs: SharingNeeds, { placedMaxBytes }: SharingInit): Promise<Sharing> {
    const claimsAbout = (trace: Uint8Array): Promise<Uint8Array[]> => needs.recall.claimsAbout(trace)
    const inventory = new Inventory({ ...needs, claimsAbout })
    const placing = await Placing.open({ ...needs, inventory, claimsAbout }, { maxBytes: placedMaxBytes })
    return new Sharing(needs, inventory, placing)
  }

  /** Looks at what is kept here, in the background, and tells the members. */
  start(): void {
    this.#load().catch((error: unknown) => this.#needs.trouble(toShoalError(error)))
  }

  stop(): void {
    this.#inventory.stop()
    this.#announcing.stop()
    this.#prefetch.stop()
    this.#placing.stop()
  }

  /** A result that holds for others has been kept. */
  made(key: CID): void {
    this.#inventory.learn(hexOf(key)).catch((error: unknown) => this.#needs.trouble(toShoalError(error)))
  }

  /** There may be nothing left of an action key (hex), or what there is may be private, or no longer. */
  gone(key: string): void {
    this.#inventory.learn(key).catch((error: unknown) => this.#needs.trouble(toShoalError(error)))
  }

  /** What a build script does may be asked for here, or no longer. */
  ranScript(key: CID | string, isHeld: boolean): void {
    this.#tell(typeof key === 'string' ? key : hexOf(key), isHeld)
  }

  /** What members placed here. */
  get placed(): Pick<Placing['placed'], 'makers' | 'release'> {
    return this.#placing.placed
  }

  /** Blocks (hex) have left the store. */
  evicted(blocks: readonly string[]): void {
    const done = Promise.all([this.#inventory.evicted(blocks), this.#placing.placed.evicted(blocks)])
    done.catch((error: unknown) => this.#needs.trouble(toShoalError(error)))
  }

  /** A toolchain whose files this node serves, or no longer. @param digest hex sha2-256 of its manifest */
  toolchain(digest: string, isHere: boolean): void {
    this.#announcing.toolchain(cidFromDigest(Buffer.from(digest, 'hex')), isHere)
  }

  /** A unit of a build will be looked for. @param dir where its cargo runs */
  planned(build: Uint8Array, dir: () => string, key: CID): void {
    this.#prefetch.planned(Buffer.from(build).toString('hex'), dir, key)
  }

  buildEnded(build: Uint8Array): void {
    this.#prefetch.ended(Buffer.from(build).toString('hex'))
  }

  /** What others have of an action key; what they placed here first, as their claim. */
  async ask(key: CID, options: AskOptions): Promise<Holding[]> {
    const here = await this.#placing.placed.claims(hexOf(key))
    return [...here, ...(await this.#lookups.ask(key, options))]
  }

  /** What this node answers when a member asks. */
  async lookup(asked: Uint8Array[]): Promise<HeldKey[]> {
    const keys = asked.filter((key) => !this.#needs.isPrivate(Buffer.from(key).toString('hex')))
    const compiled = await this.#needs.recall.holdings(keys)
    const made = [...compiled, ...(await this.#needs.runs.holdings(keys))]
    const found = await withPlaced(made, keys, this.#placing.placed)
    for (const key of keys) {
      if (found.some((holding) => holding.key === key)) continue
      const lists = await this.#prefetch.lists(Buffer.from(key).toString('hex'))
      if (lists.length > 0) found.push({ key, traces: lists, claims: [] })
    }
    return found
  }

  /** As `Supply.ensure`, for a unit that waits for it. */
  async ensure(...of: Parameters<Supply['ensure']>): Promise<number> {
    const bytes = await this.#needs.supply.ensure(...of)
    const [, , from] = of
    if (from.length > 0) this.#fetches[bytes > 0 ? 'awaited' : 'ready'] += 1
    return bytes
  }

  /** As `Supply.bytes`, for a unit that waits for it. */
  async bytes(cid: CID, options: FetchOptions): Promise<Uint8Array> {
    this.#fetches[(await this.#needs.blocks.has(cid)) ? 'ready' : 'awaited'] += 1
    return await this.#needs.supply.bytes(cid, options)
  }

  /** Counts since the start; for `status --json`. */
  view(): Record<string, unknown> {
    const { placed, placement } = this.#placing
    return {
      results: this.#inventory.size,
      placed: placed.stats,
      placing: placement.stats,
      lookups: { ...this.#lookups.stats },
      announced: this.#announcing.count,
      prefetched: { ...this.#prefetch.stats },
      fetches: { ...this.#fetches },
    }
  }

  async #load(): Promise<void> {
    for (const key of this.#placing.placed.keys()) this.#changed(key)
    for await (const key of this.#needs.runs.keys()) this.#tell(key, true)
    for await (const key of this.#prefetch.lockKeys()) this.#tell(key, true)
    await this.#inventory.load()
    this.#needs.mesh.holdsNothingElse()
  }

  #changed(key: string): void {
    this.#tell(key, this.#inventory.has(key) || this.#placing.placed.has(key))
    this.#announcing.changed()
  }

  #tell(key: string, isHeld: boolean): void {
    if (this.#told.has(key) === isHeld) return
    if (isHeld) this.#told.add(key)
    else this.#told.delete(key)
    this.#needs.mesh.holds(Buffer.from(key, 'hex'), isHeld)
  }

  *#held(): Generator<[key: string, item: { costMs: number }]> {
    yield* this.#inventory.entries()
    for (const key of this.#placing.placed.keys()) if (!this.#inventory.has(key)) yield [key, { costMs: 0 }]
  }
}
