import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import {
  type Action,
  decodeResult,
  encodeResult,
  encodeTrace,
  limits,
  type Result,
  type Trace,
} from '../plan/action.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { dagCborCodec, digestOf, hexOf } from '../wire/cid.ts'
import { answers, type DeclaredTree, holdsHere, readsOf, readTrace, type Unshareable } from './evidence.ts'

/** A result that holds for an invocation, and where its blocks are. */
export interface Recalled {
  result: Result
  /** Peers that said they hold it; empty when everything is here. */
  holders: readonly string[]
}

/** What a peer says it holds of an action key. */
export interface Holding {
  peer: string
  traces: readonly Uint8Array[]
}

export interface RecallNeeds {
  blocks: {
    get(cid: CID): Promise<Uint8Array | undefined>
    has(cid: CID): Promise<boolean>
    put(bytes: Uint8Array, codec: number): Promise<CID>
  }
  traces: {
    traces(keyHex: string): Promise<Uint8Array[]>
    add(keyHex: string, trace: Uint8Array): Promise<void>
    remove(keyHex: string, trace: Uint8Array): Promise<void>
  }
  /** Asks the mesh who has done this; returns what came in time. */
  ask(key: CID, options: { budgetMs: number; signal: AbortSignal }): Promise<readonly Holding[]>
  fetch(cid: CID, options: { from: readonly string[]; maxBytes: number; signal: AbortSignal }): Promise<Uint8Array>
  log: Logger
}

/**
 * How long peers are waited for, between these bounds half of what the compile is expected to take: all have usually
 * answered within a few milliseconds, but one that compiles with all its cores needs longer, and is worth waiting for.
 */
const leastAskMs = 50
const mostAskMs = 1000

/** Has anybody done this already? */
export class Recall {
  readonly #needs: RecallNeeds

  constructor(needs: RecallNeeds) {
    this.#needs = needs
  }

  /** A result kept here, complete, that holds for this invocation. */
  async own(planned: PlannedAction, env: ReadonlyMap<string, string>): Promise<Recalled | undefined> {
    const keyHex = hexOf(planned.key)
    for (const bytes of await this.#needs.traces.traces(keyHex)) {
      const trace = readTrace(bytes)
      if (trace === undefined) {
        this.#needs.log.warn('unreadable trace dropped', { code: 'ERR_DECODE', crate: planned.crate })
        await this.#needs.traces.remove(keyHex, bytes)
        continue
      }
      if (!holdsHere(trace, planned, env)) continue
      const result = await this.#result(trace, planned)
      if (result !== undefined) return { result, holders: [] }
    }
    return undefined
  }

  /**
   * A result that some peer holds; its blocks are still to be fetched from `holders`.
   * @param options expectedMs: what compiling it would take
   */
  async mesh(
    planned: PlannedAction,
    env: ReadonlyMap<string, string>,
    { expectedMs, signal }: { expectedMs: number; signal: AbortSignal },
  ): Promise<Recalled | undefined> {
    const budgetMs = Math.min(mostAskMs, Math.max(leastAskMs, expectedMs / 2))
    const holdings = await this.#needs.ask(planned.key, { budgetMs, signal })
    const holders = new Map<string, { trace: Trace; peers: string[] }>()
    for (const { peer, traces } of holdings) {
      for (const bytes of traces) {
        const trace = readTrace(bytes)
        if (trace === undefined || !holdsHere(trace, planned, env)) continue
        const name = hexOf(trace.result)
        const known = holders.get(name)
        if (known === undefined) holders.set(name, { trace, peers: [peer] })
        else known.peers.push(peer)
      }
    }
    for (const { trace, peers } of holders.values()) {
      try {
        const bytes = await this.#needs.fetch(trace.result, { from: peers, maxBytes: limits.result, signal })
        const result = decodeResult(bytes)
        if (answers(result, planned)) return { result, holders: peers }
      } catch (error) {
        signal.throwIfAborted()
        this.#needs.log.info('result could not be fetched', { code: codeOf(error), crate: planned.crate })
      }
    }
    return undefined
  }

  /**
   * Keeps a result whose outputs are in the store already, and what it was made from.
   * @param tree the package directory that was compiled
   * @returns the reason when it cannot be said where the result holds: then nothing is kept
   */
  async remember(
    result: Result,
    action: Action,
    tree: CID,
    trees: readonly DeclaredTree[],
  ): Promise<Unshareable | undefined> {
    const env = readsOf(result.depInfo, action, trees)
    if (typeof env === 'string') return env
    const cid = await this.#needs.blocks.put(encodeResult(result).bytes, dagCborCodec)
    const trace: Trace = { v: 1, action: result.action, tree, env, result: cid }
    await this.#needs.traces.add(hexOf(result.action), encodeTrace(trace).bytes)
    return undefined
  }

  /** What this node holds of the keys that a peer asks for: only results that are complete here. */
  async holdings(keys: readonly Uint8Array[]): Promise<{ key: Uint8Array; traces: Uint8Array[] }[]> {
    const held: { key: Uint8Array; traces: Uint8Array[] }[] = []
    for (const key of keys) {
      const traces: Uint8Array[] = []
      for (const bytes of await this.#needs.traces.traces(Buffer.from(key).toString('hex'))) {
        const trace = readTrace(bytes)
        if (trace === undefined || Buffer.compare(digestOf(trace.action), key) !== 0) continue
        if ((await this.#complete(trace)) !== undefined) traces.push(bytes)
      }
      if (traces.length > 0) held.push({ key, traces })
    }
    return held
  }

  async #result(trace: Trace, planned: PlannedAction): Promise<Result | undefined> {
    const result = await this.#complete(trace)
    return result !== undefined && answers(result, planned) ? result : undefined
  }

  async #complete(trace: Trace): Promise<Result | undefined> {
    const bytes = await this.#needs.blocks.get(trace.result)
    if (bytes === undefined) return undefined
    let result: Result
    try {
      result = decodeResult(bytes)
    } catch (error) {
      if (codeOf(error) === 'ERR_DECODE') return undefined
      throw error
    }
    for (const output of result.outputs) if (!(await this.#needs.blocks.has(output.cid))) return undefined
    return result
  }
}
