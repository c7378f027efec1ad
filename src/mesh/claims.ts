import { createHash } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { abortable } from './abortable.ts'
import { Patience, waitBoundMs } from './patience.ts'
import { hex } from './statement.ts'

/** A peer that is at the same work and may be worth waiting for. */
export interface Pending {
  peerId: string
  /** What it says it still needs; never believed beyond twice what the work takes here. */
  expectedMs: number
}

/** This node is at a work: members that are about to do the same learn of it and may wait. */
export interface Claim {
  /** Whom to wait for, as the last `ask` with this work found. Nobody: the work is this node's to do. */
  readonly pending: readonly Pending[]
  /**
   * Waits until one of `pending` says that it is done, or none of them is left. Bounded, for all waits of a claim
   * together, by ten seconds or twice what the work takes here, whichever is longer. Then ask again, whatever came out.
   * @throws the signal's reason
   */
  wait(options?: { signal?: AbortSignal }): Promise<'held' | 'gone'>
  /** From now on others wait for this node, never the other way round. An `ask` that finds nobody pending does the same. */
  commit(): void
  /** The work is over. `held`: the result can be asked for. Calls after the first do nothing. */
  done(held: boolean): void
}

export interface ClaimsNeeds {
  clock: Clock
  /** This node's peerId: of two that start at the same moment the lower one goes on. */
  self: string
  /** Asks a peer to tell when it is done; false when it cannot be reached. */
  sendWait(peerId: string, work: Uint8Array): boolean
  sendDone(peerId: string, work: Uint8Array, held: boolean): void
  /** The first work begins, or the last one has ended. */
  onWorking?(working: boolean): void
}

interface OwnClaim {
  startedAt: number
  expectedMs: number
  working: boolean
}

/** All that is known of a work while this node is at it. */
interface Work {
  bytes: Uint8Array
  claims: Set<OwnClaim>
  /** Peers that want to hear of the end. */
  watchers: Set<string>
  /** Questions under way. */
  asks: number
  /** Milliseconds that each is expected to need. */
  pending: Map<string, number>
  /** Peers that have been waited for, to whatever end: each gets one wait. */
  spent: Set<string>
  waiting: Waiting | undefined
  /** When no more is waited; set by the first wait. */
  until: number | undefined
}

interface Waiting {
  ended: PromiseWithResolvers<'held' | 'gone'>
  /** Peers still waited for, with what stops their timer. */
  timers: Map<string, () => void>
}

const maxWatchedPerPeer = 4096
const maxExpectedMs = 2 ** 32 - 1

/**
 * What one work is called among members: equal when both the action and the sources are, and opaque.
 * @param actionKey 32 bytes
 * @param tree 32 bytes, the digest of the package directory
 */
export function workKey(actionKey: Uint8Array, tree: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(actionKey).update(tree).digest())
}

/**
 * Who is at which work, and who waits for whom. A claim begins open and may end up waiting; once committed it never
 * waits. An open claim waits only for committed ones and for those of lower peerIds, so there is no circle of waiting,
 * and of all that begin at once the lowest goes on.
 */
export class Claims {
  readonly #needs: ClaimsNeeds
  readonly #works = new Map<string, Work>()
  /** Peer → works whose end it wants to hear of. */
  readonly #watched = new Map<string, Set<string>>()
  readonly #patience: Patience

  constructor(needs: ClaimsNeeds) {
    this.#needs = needs
    this.#patience = new Patience(needs.clock)
  }

  claim(bytes: Uint8Array, expectedMs: number): Claim {
    const work = this.#works.get(hex(bytes)) ?? newWork(bytes)
    this.#works.set(hex(bytes), work)
    this.#needs.onWorking?.(true)
    const own: OwnClaim = { startedAt: this.#needs.clock.now(), expectedMs, working: false }
    work.claims.add(own)
    return {
      get pending() {
        return own.working ? [] : [...work.pending].map(([peerId, ms]) => ({ peerId, expectedMs: ms }))
      },
      wait: ({ signal } = {}) => this.#wait(work, own, signal),
      commit: () => {
        own.working = true
      },
      done: (held) => this.#done(work, own, held),
    }
  }

  /** A question about a work begins. Returns how to end it, or undefined when nothing here would wait for the answer. */
  startAsk(bytes: Uint8Array): (() => void) | undefined {
    const work = this.#works.get(hex(bytes))
    if (work === undefined || [...work.claims].every((own) => own.working)) return undefined
    if (work.asks === 0) work.pending.clear()
    work.asks += 1
    return () => {
      work.asks -= 1
      if (work.asks === 0 && work.pending.size === 0) for (const own of work.claims) own.working = true
    }
  }

  /**
   * A peer is about to do a work and asks: who of us goes on is decided here, once. Returns the milliseconds for which
   * the peer is expected to wait, or undefined when it need not.
   */
  onAsked(peerId: string, bytes: Uint8Array): number | undefined {
    const work = this.#works.get(hex(bytes))
    if (work === undefined) return undefined
    const open = ![...work.claims].some((own) => own.working)
    if (open && peerId < this.#needs.self && this.#mayWaitFor(work, peerId)) {
      // Without a question under way, the next one will find it.
      if (work.asks > 0) work.pending.set(peerId, leastExpected(work))
      return undefined
    }
    return this.#remainingMs(work)
  }

  /** A peer that was asked says that it is at the work. */
  onPending(peerId: string, bytes: Uint8Array, expectedMs: number): void {
    const work = this.#works.get(hex(bytes))
    if (work !== undefined && work.asks > 0 && this.#mayWaitFor(work, peerId)) work.pending.set(peerId, expectedMs)
  }

  /** A peer wants to hear of the end; at once when there is nothing to wait for. */
  onWait(peerId: string, bytes: Uint8Array): void {
    const key = hex(bytes)
    const work = this.#works.get(key)
    const watched = this.#watched.get(peerId) ?? new Set()
    if (work === undefined || (watched.size >= maxWatchedPerPeer && !watched.has(key))) {
      this.#needs.sendDone(peerId, bytes, work === undefined)
      return
    }
    this.#watched.set(peerId, watched.add(key))
    work.watchers.add(peerId)
  }

  /** A peer says that a work has ended there. */
  onDone(peerId: string, bytes: Uint8Array, held: boolean): void {
    const work = this.#works.get(hex(bytes))
    if (work?.waiting === undefined || !work.waiting.timers.has(peerId)) return
    if (held) this.#patience.restore(peerId)
    this.#settle(work, peerId, held)
  }

  /** A peer is gone: it waits for nothing and is not waited for. */
  onDown(peerId: string): void {
    for (const key of this.#watched.get(peerId) ?? []) this.#works.get(key)?.watchers.delete(peerId)
    this.#watched.delete(peerId)
    for (const work of this.#works.values()) {
      work.pending.delete(peerId)
      if (work.waiting?.timers.has(peerId)) this.#settle(work, peerId, false)
    }
  }

  async #wait(work: Work, own: OwnClaim, signal: AbortSignal | undefined): Promise<'held' | 'gone'> {
    signal?.throwIfAborted()
    const idle = work.waiting === undefined && work.pending.size === 0
    if (idle || own.working || !work.claims.has(own)) return 'gone'
    const waiting = work.waiting ?? this.#startWaiting(work)
    return await abortable(waiting.ended.promise, signal)
  }

  #startWaiting(work: Work): Waiting {
    const waiting: Waiting = { ended: Promise.withResolvers(), timers: new Map() }
    work.waiting = waiting
    const now = this.#needs.clock.now()
    const oursMs = leastExpected(work)
    work.until ??= now + waitBoundMs(oursMs)
    const leftMs = work.until - now
    for (const [peerId, theirsMs] of work.pending) {
      const boundMs = waitBoundMs(Math.min(theirsMs, oursMs))
      const expire = (): void => {
        if (boundMs <= leftMs) this.#patience.lose(peerId)
        this.#settle(work, peerId, false)
      }
      waiting.timers.set(peerId, this.#needs.clock.after(Math.min(boundMs, leftMs), expire))
    }
    for (const peerId of work.pending.keys()) {
      if (!this.#needs.sendWait(peerId, work.bytes)) this.#settle(work, peerId, false)
    }
    return waiting
  }

  /** Nothing more is expected of a peer that was waited for. */
  #settle(work: Work, peerId: string, held: boolean): void {
    work.waiting?.timers.get(peerId)?.()
    work.waiting?.timers.delete(peerId)
    work.pending.delete(peerId)
    work.spent.add(peerId)
    if (held) endWaiting(work, 'held')
    else if (work.waiting?.timers.size === 0) endWaiting(work, 'gone')
  }

  #done(work: Work, own: OwnClaim, held: boolean): void {
    if (!work.claims.delete(own)) return
    const over = work.claims.size === 0
    if (over) {
      endWaiting(work, 'gone')
      this.#works.delete(hex(work.bytes))
      if (this.#works.size === 0) this.#needs.onWorking?.(false)
    }
    if (!over && !held) return
    const watchers = [...work.watchers]
    work.watchers.clear()
    for (const peerId of watchers) {
      const watched = this.#watched.get(peerId)
      watched?.delete(hex(work.bytes))
      if (watched?.size === 0) this.#watched.delete(peerId)
      this.#needs.sendDone(peerId, work.bytes, held)
    }
  }

  #mayWaitFor(work: Work, peerId: string): boolean {
    const exhausted = work.until !== undefined && this.#needs.clock.now() >= work.until
    return !exhausted && !work.spent.has(peerId) && this.#patience.has(peerId)
  }

  /** Until the end of a work. One that takes longer than expected is expected to need half as long again as it took. */
  #remainingMs(work: Work): number {
    const now = this.#needs.clock.now()
    const remaining = [...work.claims].map(({ startedAt, expectedMs }) => {
      const elapsedMs = now - startedAt
      return Math.max(expectedMs - elapsedMs, elapsedMs / 2)
    })
    return Math.min(Math.ceil(Math.min(...remaining)), maxExpectedMs)
  }
}

function newWork(bytes: Uint8Array): Work {
  return {
    bytes,
    claims: new Set(),
    watchers: new Set(),
    asks: 0,
    pending: new Map(),
    spent: new Set(),
    waiting: undefined,
    until: undefined,
  }
}

function endWaiting(work: Work, end: 'held' | 'gone'): void {
  const { waiting } = work
  if (waiting === undefined) return
  work.waiting = undefined
  work.pending.clear()
  for (const stop of waiting.timers.values()) stop()
  waiting.ended.resolve(end)
}

const leastExpected = (work: Work): number => Math.min(...[...work.claims].map(({ expectedMs }) => expectedMs))
