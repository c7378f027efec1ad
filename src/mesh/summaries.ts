import type { Clock } from '../base/clock.ts'
import type { HoldingsSummary } from '../wire/generated/holdings_pb.ts'
import type { ControlMessage } from './control.ts'

export interface SummariesNeeds {
  clock: Clock
  peers(): string[]
  send(peerId: string, body: ControlMessage): boolean
  /** A peer has more than before, or can be asked about more. */
  onMore(peerId: string): void
}

interface PeerSummary {
  complete: boolean
  prefixes: Set<number>
  working: boolean
}

/** Changes are told together, at most so often: so long may a peer not know of the last ones. */
const gatherMs = 50
const retryMs = 1000
const prefixBytes = 4
const maxPrefixesPerFrame = 15_360
/** A peer that has more is asked about everything. */
const maxPrefixes = 250_000
/** Works follow each other closely in a build: so long after the last one a node counts as being at works. */
const restMs = 1000
/** So long after the first work others may not know of it. */
const freshMs = 1000

/**
 * Which action keys each connected member has something of, by four bytes of the key, so that nobody is asked in vain.
 * What is said of a peer errs on one side only: a key that it has is not missing here for longer than a change takes to
 * be told.
 */
export class Summaries {
  readonly #needs: SummariesNeeds
  /** Prefix → how many keys have it. */
  readonly #own = new Map<number, number>()
  readonly #added = new Set<number>()
  readonly #removed = new Set<number>()
  readonly #peers = new Map<string, PeerSummary>()
  /** Peers that were told everything, and are told of changes. */
  readonly #told = new Set<string>()
  #isKnown = false
  #working = false
  #workingSince = 0
  #cancelFlush: (() => void) | undefined
  #cancelRest: (() => void) | undefined
  #flushedAt = Number.NEGATIVE_INFINITY
  #stopped = false
  /** Bytes of prefixes sent, for all peers together. */
  sentBytes = 0

  constructor(needs: SummariesNeeds) {
    this.#needs = needs
  }

  /** This node has something of an action key (32 bytes) now. To be called once for each. */
  add(key: Uint8Array): void {
    const prefix = prefixOf(key)
    const count = (this.#own.get(prefix) ?? 0) + 1
    this.#own.set(prefix, count)
    if (count > 1) return
    if (!this.#removed.delete(prefix)) this.#added.add(prefix)
    this.#flushSoon()
  }

  /** It has nothing of it any more. */
  remove(key: Uint8Array): void {
    const prefix = prefixOf(key)
    const count = (this.#own.get(prefix) ?? 0) - 1
    if (count > 0) this.#own.set(prefix, count)
    if (count !== 0) return
    this.#own.delete(prefix)
    if (!this.#added.delete(prefix)) this.#removed.add(prefix)
    this.#flushSoon()
  }

  /** From now on what was added is all that this node has: before, it is asked about everything. */
  known(): void {
    this.#isKnown = true
    this.#flush()
  }

  /** Whether this node is at works. Told at once when it begins: those who ask must know of it first. */
  setWorking(working: boolean): void {
    this.#cancelRest?.()
    this.#cancelRest = undefined
    if (working === this.#working) return
    if (!working) {
      this.#cancelRest = this.#needs.clock.after(restMs, () => {
        this.#working = false
        this.#flush({ workingToo: true })
      })
      return
    }
    this.#working = true
    this.#workingSince = this.#needs.clock.now()
    this.#flush({ workingToo: true })
  }

  /** Others may not know yet that this node is at works: what it does must be asked of everybody. */
  get isFresh(): boolean {
    return this.#working && this.#needs.clock.now() - this.#workingSince < freshMs
  }

  /** Whether a peer may have something of a key. */
  mayHold(peerId: string, key: Uint8Array): boolean {
    const peer = this.#peers.get(peerId)
    return peer?.complete !== true || peer.prefixes.has(prefixOf(key))
  }

  /** Whether a peer may be at works. */
  mayWork(peerId: string): boolean {
    const peer = this.#peers.get(peerId)
    return peer?.complete !== true || peer.working
  }

  onUp(peerId: string): void {
    this.#peers.delete(peerId)
    this.#told.delete(peerId)
    if (this.#isKnown) this.#flush()
  }

  onDown(peerId: string): void {
    this.#peers.delete(peerId)
    this.#told.delete(peerId)
  }

  onSummary(peerId: string, { known, fresh, complete, added, removed, working }: HoldingsSummary): void {
    let peer = this.#peers.get(peerId)
    const wellFormed = added.length % prefixBytes === 0 && removed.length % prefixBytes === 0
    if (!known || !wellFormed || (peer === undefined && !fresh)) {
      this.#peers.delete(peerId)
      return
    }
    if (peer === undefined || fresh) peer = { complete: false, prefixes: new Set(), working }
    this.#peers.set(peerId, peer)
    for (const prefix of prefixesIn(added)) peer.prefixes.add(prefix)
    for (const prefix of prefixesIn(removed)) peer.prefixes.delete(prefix)
    peer.working = working
    if (complete) peer.complete = true
    if (peer.prefixes.size > maxPrefixes) this.#peers.delete(peerId)
    if (added.length > 0) this.#needs.onMore(peerId)
  }

  stop(): void {
    this.#stopped = true
    this.#cancelFlush?.()
    this.#cancelRest?.()
  }

  #flushSoon(): void {
    if (this.#cancelFlush !== undefined || !this.#isKnown || this.#stopped) return
    const waitMs = Math.max(0, this.#flushedAt + gatherMs - this.#needs.clock.now())
    this.#cancelFlush = this.#needs.clock.after(waitMs, () => this.#flush())
  }

  #flush({ workingToo = false } = {}): void {
    this.#cancelFlush?.()
    this.#cancelFlush = undefined
    if (!this.#isKnown || this.#stopped) return
    this.#flushedAt = this.#needs.clock.now()
    const [added, removed] = [[...this.#added], [...this.#removed]]
    this.#added.clear()
    this.#removed.clear()
    let refused = false
    const isNews = workingToo || added.length > 0 || removed.length > 0
    for (const peerId of this.#needs.peers()) {
      if (!isNews && this.#told.has(peerId)) continue
      const ok = this.#told.has(peerId)
        ? this.#tell(peerId, { added, removed, fresh: false })
        : this.#tell(peerId, { added: [...this.#own.keys()], removed: [], fresh: true })
      if (ok) this.#told.add(peerId)
      else this.#told.delete(peerId)
      refused ||= !ok
    }
    // A peer that takes nothing now is told everything when it does.
    if (refused) this.#cancelFlush = this.#needs.clock.after(retryMs, () => this.#flush())
  }

  #tell(peerId: string, { added, removed, fresh }: { added: number[]; removed: number[]; fresh: boolean }): boolean {
    const half = maxPrefixesPerFrame / 2
    const frames = Math.max(1, Math.ceil(added.length / half), Math.ceil(removed.length / half))
    for (let at = 0; at < frames; at++) {
      const value = {
        known: true,
        fresh: fresh && at === 0,
        complete: at === frames - 1,
        added: packed(added.slice(at * half, (at + 1) * half)),
        removed: packed(removed.slice(at * half, (at + 1) * half)),
        working: this.#working,
      }
      if (!this.#needs.send(peerId, { case: 'holdingsSummary', value })) return false
      this.sentBytes += value.added.length + value.removed.length
    }
    return true
  }
}

const prefixOf = (key: Uint8Array): number => new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(0)

function packed(prefixes: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(prefixes.length * prefixBytes)
  const view = new DataView(bytes.buffer)
  for (const [at, prefix] of prefixes.entries()) view.setUint32(at * prefixBytes, prefix)
  return bytes
}

function* prefixesIn(bytes: Uint8Array): Generator<number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at < bytes.length; at += prefixBytes) yield view.getUint32(at)
}
