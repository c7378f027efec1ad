import { codeOf, ShoalError } from '../base/errors.ts'
import { encodeTrace, limits, type ReadSet, type Trace } from '../plan/action.ts'
import { decodeScriptResult, encodeScriptResult, type ScriptResult } from '../plan/script-action.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import type { TraceStore } from '../store/traces.ts'
import { dagCborCodec, digestOf, hexOf } from '../wire/cid.ts'
import { areAtOne, type Candidate, candidatesAmong, type Holding, saidOf } from './candidates.ts'
import { type Ground, isBound, readTrace } from './evidence.ts'
import { isRunForOthers, objectionTo } from './foreign-run.ts'
import { contradict, type Judge, maxClaims, packageOf } from './judge.ts'
import { allowsRun, answersWanted, mayTakeRuns, mayVouchForPlaces, type Policy, policiesOfRuns } from './policy.ts'
import type { HeldKey, RecallNeeds } from './recall.ts'
import { firstCovering, isSamePlace, placeHere, type RunPlace, readPlace } from './run-place.ts'
import { type SignedClaim, sameOutputs } from './signed-claim.ts'

/** `traces`: of runs that others may have, or have seen. What holds here alone is elsewhere. */
export interface SharedRunsNeeds extends Pick<RecallNeeds, 'blocks' | 'ask' | 'fetch' | 'log'> {
  traces: Pick<TraceStore, 'traces' | 'add' | 'remove' | 'keys'>
  judge: Judge
  /** Whether packages of this name are for nobody else, by now. */
  isPrivate(name: string): boolean
}

/** What a build script did elsewhere, and would do here. */
export interface ForeignRun {
  result: ScriptResult
  trace: Trace
  /** Peers that have what it left; none when that is all here. */
  holders: readonly string[]
  /** Who says so, the claim about this very result first. */
  claims: readonly SignedClaim[]
}

export type RefusedRun = { refused: 'policy' | 'conflict' | 'new-place' }
type Found = ForeignRun | RefusedRun | undefined
type Planned = Pick<PlannedScript, 'key' | 'action' | 'roots' | 'call'>

interface PlacedClaim {
  claim: SignedClaim
  place: RunPlace
}

/** Claims that say where the roots lay; of others it is not known where they hold. */
const placed = (claims: readonly SignedClaim[]): PlacedClaim[] =>
  claims.flatMap((claim) => (claim.body.place === undefined ? [] : { claim, place: readPlace(claim.body.place) }))

/** Whether two say different things of one place. */
const disagree = (said: readonly PlacedClaim[]): boolean =>
  said.some(({ claim }) => said.some((other) => contradict(claim, other.claim)))

/** How long peers are waited for. What a script takes is not known; one that is worth sharing takes seconds. */
const askMs = 300
/** The list of what a run left, and what it said. */
const maxResultBytes = 4 << 20

/** What build scripts did on other machines of the mesh, and what they did here that others may use. */
export class SharedRuns {
  readonly #needs: SharedRunsNeeds

  constructor(needs: SharedRunsNeeds) {
    this.#needs = needs
  }

  /** What others say that a script would do here, if enough of them do. Its blocks are still to be fetched from `holders`. */
  async find(
    planned: Planned,
    place: Ground,
    { policies: asked, signal }: { policies: readonly Policy[]; signal: AbortSignal },
  ): Promise<Found> {
    if (!mayTakeRuns(asked)) return undefined
    const policies = policiesOfRuns(asked)
    const here = { peer: '', traces: await this.#needs.traces.traces(hexOf(planned.key)), claims: [] }
    const known = await this.#judge([here], planned, place, { policies, signal })
    if (known !== undefined && 'result' in known) return known
    const options = { budgetMs: askMs, signal, work: undefined, enough: answersWanted(policies) }
    const holdings = await this.#needs.ask(planned.key, options)
    return holdings.length === 0 ? known : await this.#judge([here, ...holdings], planned, place, { policies, signal })
  }

  async #judge(
    holdings: readonly Holding[],
    planned: Planned,
    place: Ground,
    { policies, signal }: { policies: readonly Policy[]; signal: AbortSignal },
  ): Promise<Found> {
    const { judge } = this.#needs
    // What is kept of a run here for others does not say what it saw in a home.
    const admission = { isForUs: isRunForOthers, known: new Set<string>() }
    const candidates = await candidatesAmong(holdings, planned.key, place, admission)
    if (candidates.length === 0) return undefined
    const said = placed(await saidOf(judge, planned, holdings, candidates))
    const here = placeHere(planned.roots)
    const inThisPlace = said.filter(({ place }) => isSamePlace(place, here))
    // What was done elsewhere says nothing where something else was done here, or elsewhere again.
    const alike = areAtOne(said.map(({ claim }) => claim)) ? said : inThisPlace
    const claims = alike.map(({ claim }) => claim)
    if (said.length === 0) return undefined
    // Once the script has run here it is known who was right.
    const refused = async (why: RefusedRun['refused']): Promise<RefusedRun> => {
      await judge.keep(said.map(({ claim }) => claim))
      return { refused: why }
    }
    if (claims.length === 0) return await refused(disagree(said) ? 'conflict' : 'new-place')
    if (!areAtOne(claims)) return await refused('conflict')
    const witnesses = claims.map((claim) => judge.witness(claim))
    if (!allowsRun(policies, witnesses)) return await refused('policy')
    // That it does the same in other places is nobody else's word either.
    const counts = ({ claim }: PlacedClaim): boolean => mayVouchForPlaces(policies, judge.witness(claim))
    if (firstCovering(alike.filter(counts), here) === undefined) return await refused('new-place')
    for (const candidate of candidates) {
      const about = claims.find((claim) => judge.isAbout(claim, candidate.trace))
      if (about === undefined) continue
      const found = await this.#fetch(candidate, about, planned, signal)
      if (found !== undefined) return { ...found, claims: [about, ...claims.filter((claim) => claim !== about)] }
    }
    return undefined
  }

  async #fetch(
    { trace, peers }: Candidate,
    about: SignedClaim,
    { key, roots, call }: Planned,
    signal: AbortSignal,
  ): Promise<Omit<ForeignRun, 'claims'> | undefined> {
    const holders = peers.filter((peer) => peer !== '')
    try {
      const bytes = await this.#needs.fetch(trace.result, { from: holders, maxBytes: maxResultBytes, signal })
      const result = decodeScriptResult(bytes)
      if (!result.action.equals(key) || !sameOutputs(about, result)) return undefined
      const objection = objectionTo(result, { umask: call.umask, roots })
      if (objection !== undefined) {
        this.#needs.log.warn('a run of others is not used', { code: 'ERR_CLAIM', script: call.program, objection })
        return undefined
      }
      return holders.length > 0 || (await this.#isHere(result)) ? { result, trace, holders } : undefined
    } catch (error) {
      signal.throwIfAborted()
      this.#needs.log.info('run could not be fetched', { code: codeOf(error), script: call.program })
      return undefined
    }
  }

  /**
   * This node has seen a script run, and puts its name to it.
   * @param set what it looked at, in the form for others
   * @param where at: milliseconds since the Unix epoch
   * @returns what others have said of the same that cannot be true as well; undefined when this node itself has
   * @throws ShoalError ERR_LIMIT when there is too much of it to be given, and what the store throws
   */
  async give(
    { key, action }: Pick<PlannedScript, 'key' | 'action'>,
    result: ScriptResult,
    { reads, env }: ReadSet,
    { at, place }: { at: number; place: RunPlace },
  ): Promise<SignedClaim[] | undefined> {
    const { judge, traces, blocks } = this.#needs
    const { bytes, cid } = encodeScriptResult(result)
    const trace = encodeTrace({ v: 2, action: key, reads, env, result: cid })
    if (bytes.length > maxResultBytes || trace.bytes.length > limits.trace)
      throw new ShoalError('ERR_LIMIT', 'more than others take')
    const about = { package: packageOf({ action }), tier: 'host' as const, at, place }
    const claim = await judge.signOwn({ ...result, cid }, { reads, env }, about)
    if (claim === undefined) return undefined
    await blocks.put(bytes, dagCborCodec)
    await traces.add(hexOf(key), trace.bytes)
    return await judge.against(claim)
  }

  /** Keeps what others have seen, whose blocks are in the store by now: for the next time here, and for others. */
  async remember({ result, trace, claims }: ForeignRun): Promise<void> {
    const { judge, traces, blocks } = this.#needs
    await judge.keep(claims)
    await blocks.put(encodeScriptResult(result).bytes, dagCborCodec)
    await traces.add(hexOf(trace.action), encodeTrace(trace).bytes)
  }

  /** Nothing that is kept of a run (hex of its key) is for others any more. Whether there was anything. */
  async withdraw(key: string): Promise<boolean> {
    const kept = (await this.#needs.traces.traces(key)).length
    if (kept > 0) await this.#needs.traces.remove(key)
    return kept > 0
  }

  /** Hex of each key of which there is something. */
  keys(): AsyncIterable<string> {
    return this.#needs.traces.keys()
  }

  /** As `Recall.holdings`, of runs. */
  async holdings(keys: readonly Uint8Array[]): Promise<HeldKey[]> {
    const held: HeldKey[] = []
    for (const key of keys) {
      const traces: Uint8Array[] = []
      const told: SignedClaim[] = []
      for (const bytes of await this.#needs.traces.traces(Buffer.from(key).toString('hex'))) {
        const trace = readTrace(bytes)
        if (trace === undefined || isBound(trace) || Buffer.compare(digestOf(trace.action), key) !== 0) continue
        const claims = await this.#needs.judge.about(trace)
        if (claims.some(({ body }) => this.#needs.isPrivate(body.package.split(' ')[0] ?? ''))) continue
        if (claims.length === 0 || !(await this.#isComplete(trace))) continue
        traces.push(bytes)
        told.push(...claims)
      }
      const claims = [...new Set(told)].slice(0, maxClaims).map((claim) => claim.bytes)
      if (traces.length > 0) held.push({ key, traces, claims })
    }
    return held
  }

  async #isComplete(trace: Trace): Promise<boolean> {
    const bytes = await this.#needs.blocks.get(trace.result)
    if (bytes === undefined) return false
    try {
      return await this.#isHere(decodeScriptResult(bytes))
    } catch (error) {
      if (codeOf(error) === 'ERR_DECODE') return false
      throw error
    }
  }

  async #isHere({ entries }: ScriptResult): Promise<boolean> {
    for (const entry of entries) if (entry.kind === 'file' && !(await this.#needs.blocks.has(entry.cid))) return false
    return true
  }
}
