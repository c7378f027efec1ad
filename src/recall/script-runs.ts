import { codeOf, ShoalError } from '../base/errors.ts'
import { encodeTrace, limits, type ReadSet, type Trace } from '../plan/action.ts'
import { decodeScriptResult, encodeScriptResult, type ScriptResult } from '../plan/script-action.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import { dagCborCodec, hexOf } from '../wire/cid.ts'
import { type Difference, firstDifference, type Ground, readTrace } from './evidence.ts'
import type { RecallNeeds } from './recall.ts'
import { firstCovering, isSamePlace, placeHere, type RunPlace, splitPlace, uncovered } from './run-place.ts'
import { outputsDigest } from './signed-claim.ts'

/** `traces`: of runs alone, nobody else is told of them. */
export type ScriptRunsNeeds = Pick<RecallNeeds, 'blocks' | 'traces' | 'log'>

/** What a script did elsewhere, having looked at what is the same here. */
interface KeptRun {
  bytes: Uint8Array
  trace: Trace
  result: ScriptResult
  place: RunPlace
}

/** Whether it left and said the same in all of these places. */
const areAlike = (runs: readonly KeptRun[]): boolean =>
  new Set(runs.map(({ result }) => Buffer.from(outputsDigest(result)).toString('hex'))).size === 1

/** The roots that may lie elsewhere than in any two of these places, and how long their paths are. */
function whereItDiffers(newest: KeptRun, all: readonly KeptRun[], here: RunPlace): Difference {
  const open = all.map(({ place }) => uncovered([newest.place, place], here))
  const [first, ...others] = areAlike(all) ? open : [uncovered([newest.place, newest.place], here)]
  const fewest = others.reduce((least, each) => (each.length < least.length ? each : least), first ?? [])
  const lengths = (place: RunPlace): string => fewest.map((root) => place.get(root)?.length ?? 0).join(', ')
  return { kind: 'place', name: fewest.join(', '), recorded: lengths(newest.place), here: lengths(here) }
}

/** What this node has seen build scripts do. */
export class ScriptRuns {
  readonly #needs: ScriptRunsNeeds

  constructor(needs: ScriptRunsNeeds) {
    this.#needs = needs
  }

  /**
   * What a script would do here and now, complete: what it did here, or alike in places that cover this one. Else how what is kept differs, if
   * anything is.
   */
  async find(
    { key, call, roots }: Pick<PlannedScript, 'key' | 'call' | 'roots'>,
    place: Ground,
  ): Promise<ScriptResult | { difference: Difference | undefined }> {
    const keyHex = hexOf(key)
    const here = placeHere(roots)
    const elsewhere: KeptRun[] = []
    let difference: Difference | undefined
    for (const [age, bytes] of (await this.#needs.traces.traces(keyHex)).entries()) {
      const trace = readTrace(bytes)
      if (trace === undefined || !trace.action.equals(key)) {
        this.#needs.log.warn('unreadable trace dropped', { code: 'ERR_DECODE', script: call.program })
        await this.#needs.traces.remove(keyHex, bytes)
        continue
      }
      const kept = splitPlace(trace)
      const different = await firstDifference(kept.set, place)
      if (different !== undefined) {
        difference ??= different
        continue
      }
      const result = await this.#complete(trace)
      if (result === undefined) {
        // Nobody else has what it left.
        await this.#needs.traces.remove(keyHex, bytes)
        continue
      }
      if (!isSamePlace(kept.place, here)) {
        elsewhere.push({ bytes, trace, result, place: kept.place })
        continue
      }
      if (age > 0) await this.#needs.traces.add(keyHex, bytes)
      return result
    }
    const [newest] = elsewhere
    if (newest === undefined) return { difference }
    const covering = areAlike(elsewhere) ? firstCovering(elsewhere, here) : undefined
    if (covering === undefined) return { difference: whereItDiffers(newest, elsewhere, here) }
    if (covering !== newest) await this.#needs.traces.add(keyHex, covering.bytes)
    return covering.result
  }

  /**
   * Keeps what a run left, whose blocks are in the store already.
   * @throws ShoalError ERR_LIMIT when it looked at too much, and what the store throws
   */
  async remember(result: ScriptResult, { reads, env }: ReadSet): Promise<void> {
    const encoded = encodeScriptResult(result)
    const trace: Trace = { v: 2, action: result.action, reads, env, result: encoded.cid }
    const { bytes } = encodeTrace(trace)
    if (bytes.length > limits.trace) throw new ShoalError('ERR_LIMIT', 'made from too much to be named')
    await this.#needs.blocks.put(encoded.bytes, dagCborCodec)
    await this.#needs.traces.add(hexOf(result.action), bytes)
  }

  async #complete(trace: Trace): Promise<ScriptResult | undefined> {
    const bytes = await this.#needs.blocks.get(trace.result)
    if (bytes === undefined) return undefined
    try {
      const result = decodeScriptResult(bytes)
      if (!result.action.equals(trace.action)) return undefined
      for (const entry of result.entries)
        if (entry.kind === 'file' && !(await this.#needs.blocks.has(entry.cid))) return undefined
      return result
    } catch (error) {
      if (codeOf(error) === 'ERR_DECODE') return undefined
      throw error
    }
  }
}
