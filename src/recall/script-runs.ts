import { codeOf, ShoalError } from '../base/errors.ts'
import { encodeTrace, limits, type ReadSet, type Trace } from '../plan/action.ts'
import { decodeScriptResult, encodeScriptResult, type ScriptResult } from '../plan/script-action.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import { dagCborCodec, hexOf } from '../wire/cid.ts'
import { type Difference, firstDifference, type Ground, readTrace } from './evidence.ts'
import type { RecallNeeds } from './recall.ts'

/** `traces`: of runs alone, nobody else is told of them. */
export type ScriptRunsNeeds = Pick<RecallNeeds, 'blocks' | 'traces' | 'log'>

/** What this node has seen build scripts do. */
export class ScriptRuns {
  readonly #needs: ScriptRunsNeeds

  constructor(needs: ScriptRunsNeeds) {
    this.#needs = needs
  }

  /** What a script would do here and now, complete; else how what is kept differs, if anything is. */
  async find(
    { key, call }: Pick<PlannedScript, 'key' | 'call'>,
    place: Ground,
  ): Promise<ScriptResult | { difference: Difference | undefined }> {
    const keyHex = hexOf(key)
    let difference: Difference | undefined
    for (const [age, bytes] of (await this.#needs.traces.traces(keyHex)).entries()) {
      const trace = readTrace(bytes)
      if (trace === undefined || !trace.action.equals(key)) {
        this.#needs.log.warn('unreadable trace dropped', { code: 'ERR_DECODE', script: call.program })
        await this.#needs.traces.remove(keyHex, bytes)
        continue
      }
      const different = await firstDifference(trace, place)
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
      if (age > 0) await this.#needs.traces.add(keyHex, bytes)
      return result
    }
    return { difference }
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
