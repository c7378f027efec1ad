import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import {
  decodeResult,
  encodeResult,
  encodeTrace,
  limits,
  type ReadSet,
  type Result,
  type Trace,
} from '../plan/action.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { dagCborCodec, digestOf, hexOf } from '../wire/cid.ts'
import { areAtOne, type Candidate, candidatesAmong, type Holding, namedBy, nameOf, saidOf } from './candidates.ts'
import { answers, type Difference, firstDifference, isBound, type Place, readTrace } from './evidence.ts'
import { contradict, type Judge, maxClaims } from './judge.ts'
import { allows, answersWanted, asksWhatIsSaid, type Policy, takesAnyWord } from './policy.ts'
import { tellsOfSources } from './read-set.ts'
import { sayTheSame } from './said.ts'
import { evidenceOf, type SignedClaim, sameOutputs } from './signed-claim.ts'

/** A result that holds for an invocation, and where its blocks are. */
export interface Recalled {
  result: Result
  /** What it was made from. */
  reads: ReadSet
  /** Peers that said they hold it; empty when everything is here. */
  holders: readonly string[]
  /** Who says so: the claim about this very result, then those of others that say the same. None for what is kept here. */
  claims: readonly SignedClaim[]
}

/** Somebody has it, and it is not used. */
export interface Refused {
  refused: 'policy' | 'conflict'
  /** Of a conflict, who says what and what it was made from. */
  disputed: readonly Disputed[]
}

/** What somebody says who is contradicted by others. */
export interface Disputed {
  claim: SignedClaim
  reads: ReadSet
}

/** Nothing kept here holds. */
export interface Missed {
  /** How the kept trace that came nearest differs; undefined when there is none. */
  difference: Difference | undefined
}

/** What this node answers of one action key. */
export interface HeldKey {
  key: Uint8Array
  traces: Uint8Array[]
  claims: Uint8Array[]
}

export interface MeshOptions {
  expectedMs: number
  signal: AbortSignal
  work: Uint8Array | undefined
  policies: readonly Policy[]
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
  ask(
    key: CID,
    options: { budgetMs: number; signal: AbortSignal; work: Uint8Array | undefined; enough: number },
  ): Promise<readonly Holding[]>
  fetch(cid: CID, options: { from: readonly string[]; maxBytes: number; signal: AbortSignal }): Promise<Uint8Array>
  judge: Judge
  log: Logger
}

/**
 * How long peers are waited for, between these bounds half of what the compile is expected to take: all have usually
 * answered within a few milliseconds, but one that compiles with all its cores needs longer, and is worth waiting for.
 */
const leastAskMs = 125
const mostAskMs = 1000

const nothing: ReadonlySet<string> = new Set()
/** Results that are fetched to hold one against them. */
const mostCompared = 8

/** Has anybody done this already? */
export class Recall {
  readonly #needs: RecallNeeds
  /** What bytes that are in memory anyway decode to. */
  readonly #decoded = new WeakMap<Uint8Array, Trace>()
  readonly #results = new WeakMap<Trace, Result>()

  constructor(needs: RecallNeeds) {
    this.#needs = needs
  }

  /** A result kept here, complete, that holds for this place and may be used. */
  async own(planned: PlannedAction, place: Place, policies: readonly Policy[]): Promise<Recalled | Missed> {
    const keyHex = hexOf(planned.key)
    const kept = takesAnyWord(policies, planned.kind) ? undefined : await this.#needs.judge.keptOf(planned)
    let nearest: { difference: Difference; agreed: number } | undefined
    for (const [age, bytes] of (await this.#needs.traces.traces(keyHex)).entries()) {
      const trace = this.#decoded.get(bytes) ?? readTrace(bytes)
      if (trace === undefined || !trace.action.equals(planned.key)) {
        this.#needs.log.warn('unreadable trace dropped', { code: 'ERR_DECODE', crate: planned.crate })
        await this.#needs.traces.remove(keyHex, bytes)
        continue
      }
      this.#decoded.set(bytes, trace)
      const difference = await firstDifference(trace, place)
      if (difference !== undefined) {
        const agreed = agreedBefore(trace, difference)
        if (nearest === undefined || agreed > nearest.agreed) nearest = { difference, agreed }
        continue
      }
      const result = await this.#complete(trace)
      if (result === undefined || !answers(result, planned)) continue
      if (kept !== undefined && !(await this.#isOwn(trace, planned)) && !this.#mayUse(trace, kept, planned, policies))
        continue
      // The one used longest ago goes first when there are too many.
      if (age > 0) await this.#needs.traces.add(keyHex, bytes)
      return { result, reads: trace, holders: [], claims: [] }
    }
    return { difference: nearest?.difference }
  }

  /**
   * A result that some peer holds and that may be used; its blocks are still to be fetched from `holders`.
   * @param options expectedMs: what compiling it would take; work: names what is claimed meanwhile, 32 bytes
   */
  async mesh(
    planned: PlannedAction,
    place: Place,
    { expectedMs, signal, work, policies }: MeshOptions,
  ): Promise<Recalled | Refused | undefined> {
    const budgetMs = Math.min(mostAskMs, Math.max(leastAskMs, expectedMs / 2))
    const enough = answersWanted(policies)
    const holdings = await this.#needs.ask(planned.key, { budgetMs, signal, work, enough })
    const known = holdings.length === 0 ? nothing : namedBy(await this.#needs.traces.traces(hexOf(planned.key)))
    const candidates = await candidatesAmong(holdings, planned.key, place, { known })
    if (candidates.length === 0) return undefined
    const claims = await saidOf(this.#needs.judge, planned, holdings, candidates)
    if (!areAtOne(claims)) {
      await this.#needs.judge.keep(claims)
      const traces = new Map(candidates.map(({ trace }) => [nameOf(evidenceOf(trace)), trace]))
      const disputed = claims.flatMap((claim) => {
        const reads = traces.get(nameOf(claim.body.evidence))
        return reads === undefined ? [] : [{ claim, reads }]
      })
      return { refused: 'conflict', disputed }
    }
    let isRefused = false
    for (const { trace, peers } of candidates) {
      const about = claims.find((claim) => this.#needs.judge.isAbout(claim, trace))
      if (about === undefined) continue
      if (!this.#isAllowed(claims, planned, policies)) {
        isRefused = true
        continue
      }
      try {
        const bytes = await this.#needs.fetch(trace.result, { from: peers, maxBytes: limits.result, signal })
        const result = decodeResult(bytes)
        const isSaid = sameOutputs(about, result)
        if (isSaid && answers(result, planned) && tellsOfSources(result.depInfo, trace, planned, place)) {
          let others = claims.filter((claim) => claim !== about)
          if (asksWhatIsSaid(policies)) {
            const more = candidates.filter((candidate) => candidate.trace !== trace)
            others = await this.#sayingSame(result, others, more, signal)
          }
          const voices = [about, ...others]
          if (this.#isAllowed(voices, planned, policies))
            return { result, reads: trace, holders: peers, claims: voices }
          isRefused = true
        }
      } catch (error) {
        signal.throwIfAborted()
        this.#needs.log.info('result could not be fetched', { code: codeOf(error), crate: planned.crate })
      }
    }
    return isRefused ? { refused: 'policy', disputed: [] } : undefined
  }

  /** Those of the claims that are about a result which has rustc say the same: no claim tells what that is. */
  async #sayingSame(
    { stderr }: Result,
    claims: readonly SignedClaim[],
    candidates: readonly Candidate[],
    signal: AbortSignal,
  ): Promise<SignedClaim[]> {
    const same: SignedClaim[] = []
    for (const { trace, peers } of candidates.slice(0, mostCompared)) {
      const about = claims.find((claim) => this.#needs.judge.isAbout(claim, trace))
      if (about === undefined) continue
      try {
        const bytes = await this.#needs.fetch(trace.result, { from: peers, maxBytes: limits.result, signal })
        const result = decodeResult(bytes)
        if (sameOutputs(about, result) && sayTheSame(stderr, result.stderr)) same.push(about)
      } catch (error) {
        signal.throwIfAborted()
        if (codeOf(error) === undefined) throw error
      }
    }
    return same
  }

  /** Whose word is behind a result that is kept here: this node's own, else that of others. */
  async whose({ key }: Pick<PlannedAction, 'key'>, { result, reads }: Recalled): Promise<SignedClaim[]> {
    const trace: Trace = { v: 2, action: key, ...reads, result: encodeResult(result).cid }
    const own = (await this.#needs.judge.ownOf({ key })).filter((claim) => this.#needs.judge.isAbout(claim, trace))
    return own.length > 0 ? own : await this.#needs.judge.about(trace)
  }

  async #isOwn(trace: Trace, planned: PlannedAction): Promise<boolean> {
    return (await this.#needs.judge.ownOf(planned)).some((claim) => this.#needs.judge.isAbout(claim, trace))
  }

  /** Whether what was kept may be used by a workspace that does not use everything. */
  #mayUse(trace: Trace, kept: readonly SignedClaim[], planned: PlannedAction, policies: readonly Policy[]): boolean {
    const about = kept.find((claim) => this.#needs.judge.isAbout(claim, trace))
    if (about === undefined) return false
    const same = kept.filter(
      (claim) => !contradict(claim, about) && nameOf(claim.body.evidence) === nameOf(about.body.evidence),
    )
    return this.#isAllowed(same, planned, policies)
  }

  #isAllowed(claims: readonly SignedClaim[], { kind }: PlannedAction, policies: readonly Policy[]): boolean {
    return allows(
      policies,
      kind,
      claims.map((claim) => this.#needs.judge.witness(claim)),
    )
  }

  /**
   * Keeps a result whose outputs are in the store already, and what it was made from.
   * @param claims whose word it is; those of others are kept as they came
   * @throws ShoalError ERR_LIMIT when it was made from too much to be named, and what the store throws
   */
  async remember(result: Result, { reads, env }: ReadSet, claims: readonly SignedClaim[]): Promise<void> {
    const encoded = encodeResult(result)
    const trace: Trace = { v: 2, action: result.action, reads, env, result: encoded.cid }
    const { bytes } = encodeTrace(trace)
    if (bytes.length > limits.trace) throw new ShoalError('ERR_LIMIT', 'made from too much to be named')
    await this.#needs.judge.keep(claims)
    await this.#needs.blocks.put(encoded.bytes, dagCborCodec)
    await this.#needs.traces.add(hexOf(result.action), bytes)
  }

  /** Whose word is behind a trace that is kept here: the claims, none when nobody's is. */
  async claimsAbout(bytes: Uint8Array): Promise<Uint8Array[]> {
    const trace = readTrace(bytes)
    const claims = trace === undefined ? [] : await this.#needs.judge.about(trace)
    return claims.slice(0, maxClaims).map((claim) => claim.bytes)
  }

  /** What this node holds of the keys that a peer asks for: only results that are complete here, and that are somebody's word. */
  async holdings(keys: readonly Uint8Array[]): Promise<HeldKey[]> {
    const held: HeldKey[] = []
    for (const key of keys) {
      const keyHex = Buffer.from(key).toString('hex')
      const traces: Uint8Array[] = []
      const told: SignedClaim[] = []
      for (const bytes of await this.#needs.traces.traces(keyHex)) {
        const trace = readTrace(bytes)
        if (trace === undefined || isBound(trace) || Buffer.compare(digestOf(trace.action), key) !== 0) continue
        const claims = await this.#needs.judge.about(trace)
        if (claims.length === 0 || (await this.#complete(trace)) === undefined) continue
        traces.push(bytes)
        told.push(...claims)
      }
      const claims = [...new Set(told)].slice(0, maxClaims).map((claim) => claim.bytes)
      if (traces.length > 0) held.push({ key, traces, claims })
    }
    return held
  }

  async #complete(trace: Trace): Promise<Result | undefined> {
    const bytes = await this.#needs.blocks.get(trace.result)
    if (bytes === undefined) return undefined
    // These bytes have the name that the trace gives, so they are those that were decoded before.
    let result = this.#results.get(trace)
    try {
      result ??= decodeResult(bytes)
    } catch (error) {
      if (codeOf(error) === 'ERR_DECODE') return undefined
      throw error
    }
    this.#results.set(trace, result)
    for (const output of result.outputs) if (!(await this.#needs.blocks.has(output.cid))) return undefined
    return result
  }
}

/** How much of a trace holds before the first thing that does not. */
function agreedBefore({ env, reads }: ReadSet, { kind, name }: Difference): number {
  if (kind === 'variable') return env.findIndex(([known]) => known === name)
  return env.length + reads.findIndex((read) => read[0] === kind && read[1] === name)
}
