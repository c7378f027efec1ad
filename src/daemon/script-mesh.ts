import { hostname, machine, release, type, version } from 'node:os'
import type { Clock } from '../base/clock.ts'
import { codeOf, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { ReadSet } from '../plan/action.ts'
import { encodeScriptResult, type ScriptResult } from '../plan/script-action.ts'
import { ownPlace } from '../plan/script-place.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import type { Ground } from '../recall/evidence.ts'
import { formForOthers, mayBeTold, objectionTo } from '../recall/foreign-run.ts'
import { packageOf } from '../recall/judge.ts'
import type { Policy } from '../recall/policy.ts'
import { placeHere } from '../recall/run-place.ts'
import { ofMachine } from '../recall/script-evidence.ts'
import type { ForeignRun, RefusedRun, SharedRuns } from '../recall/shared-runs.ts'
import { subjectOf } from '../recall/signed-claim.ts'
import { hexOf } from '../wire/cid.ts'
import type { Given } from './given.ts'
import type { GivenFile } from './given-files.ts'
import type { PrivateUnits } from './private-units.ts'
import { type RunAuditNeeds, runAudit } from './run-audit.ts'
import type { ScriptsAgain } from './script-again.ts'
import type { Sharing } from './sharing.ts'
import type { Trust } from './trust.ts'

export interface ScriptMeshNeeds {
  runs: SharedRuns
  sharing: Pick<Sharing, 'ensure' | 'ranScript'>
  given: Pick<Given, 'note' | 'drop'>
  trust: Pick<Trust, 'giver' | 'determinism' | 'standings' | 'isToBeTried' | 'audits'> & RunAuditNeeds['trust']
  again: Pick<ScriptsAgain, 'of'>
  privateUnits: Pick<PrivateUnits, 'isPrivatePackage'>
  clock: Clock
  log: Logger
}

/** What somebody else's script did, which is here by now. */
export interface TakenRun {
  result: ScriptResult
  /** The peer that had it; undefined when it was here. */
  from: string | undefined
  /** What crossed the network for it. */
  bytes: number
}

/** Blocks of one run that are fetched at once. */
const atOnce = 8

/** The runs of build scripts between this node and others. */
export class ScriptMesh {
  readonly #needs: ScriptMeshNeeds

  constructor(needs: ScriptMeshNeeds) {
    this.#needs = needs
  }

  /**
   * What others say that a script would do here, with all its blocks, and written down on whose word; else why what there is is not used, if
   * there is something. Rejects with the signal's reason only.
   * @param dir of the package
   */
  async find(
    planned: PlannedScript,
    ground: Ground,
    { dir, policies, signal }: { dir: string; policies: readonly Policy[]; signal: AbortSignal },
  ): Promise<TakenRun | RefusedRun | undefined> {
    const { runs, privateUnits, trust } = this.#needs
    if (privateUnits.isPrivatePackage(dir) || ownPlace(planned.roots).length > 0) return undefined
    if (trust.determinism.isUnsteady(packageOf(planned))) return undefined
    try {
      const found = await runs.find(planned, ground, { policies, signal })
      if (found === undefined || 'refused' in found) return found
      const bytes = await this.#fetch(found, signal)
      await this.#accept(found, planned)
      if (found.holders.length > 0) this.#mayTry(found, planned, ground)
      return { result: found.result, from: found.holders[0], bytes }
    } catch (error) {
      signal.throwIfAborted()
      const { code, message } = toShoalError(error)
      this.#needs.log.info('a run of others could not be had', { code, message, script: planned.call.program })
      return undefined
    }
  }

  async #fetch({ result, holders }: ForeignRun, signal: AbortSignal): Promise<number> {
    const wanted = new Map(
      result.entries.flatMap((entry) => (entry.kind === 'file' ? [[hexOf(entry.cid), entry] as const] : [])),
    )
    const left = wanted.values()
    let bytes = 0
    const fetchNext = async (): Promise<void> => {
      for (const { cid, size } of left) {
        const moved = await this.#needs.sharing.ensure(cid, size, holders, signal)
        bytes += moved
      }
    }
    await Promise.all(Array.from({ length: atOnce }, fetchNext))
    return bytes
  }

  /** It is written down before anything of it is used: whoever is found out later, all of it can be undone. */
  async #accept(run: ForeignRun, { key, call }: PlannedScript): Promise<void> {
    const { runs, given, trust, sharing } = this.#needs
    const { cid } = encodeScriptResult(run.result)
    const outputs = run.result.entries.flatMap((entry): GivenFile[] =>
      entry.kind === 'file' && entry.path.length <= 512 ? [[entry.path, entry.cid]] : [],
    )
    for (const claim of run.claims) {
      const by = trust.giver(claim)
      if (by === undefined) continue
      await given.note({ key: hexOf(key), result: cid, outputs, dir: call.outDir }, by, true)
      if (run.holders.length > 0) trust.standings.accepted(by)
    }
    await runs.remember(run)
    sharing.ranScript(key, true)
  }

  /** Has it run again here, when there is time for that, if anybody whose word it is has yet to be tried. */
  #mayTry({ result, trace, claims }: ForeignRun, planned: PlannedScript, ground: Ground): void {
    const { trust, again, given } = this.#needs
    const theirs = claims.filter((claim) => trust.giver(claim) !== undefined)
    if (!theirs.some((claim) => trust.isToBeTried(trust.giver(claim) ?? ''))) return
    const { cid } = encodeScriptResult(result)
    const makeAgain = again.of(planned, ground)
    const word = { planned, claims: theirs, reads: trace, result: cid }
    trust.audits.add(runAudit(word, { trust, makeAgain, drop: (key, of) => given.drop(key, of) }))
  }

  /**
   * A script was seen running here, and is kept: puts this node's name to it, and tells others, if it may be told.
   * @param set what it looked at
   * @param isPrivate whether what it left is for nobody else
   */
  async seen(
    planned: PlannedScript,
    result: ScriptResult,
    set: ReadSet,
    { ground, isPrivate }: { ground: Ground; isPrivate: boolean },
  ): Promise<void> {
    const { runs, trust, clock, sharing, log } = this.#needs
    const { roots, call, key, action } = planned
    const kernel = ground.env.get(ofMachine.kernel)
    if (isPrivate || kernel === undefined || ownPlace(roots).length > 0) return
    const told = formForOthers(set, kernel)
    if (!mayBeTold(told, call.env) || objectionTo(result, { umask: call.umask, roots }) !== undefined) return
    try {
      const others = await runs.give(planned, result, told, { at: clock.wall(), place: placeHere(roots) })
      if (others === undefined) {
        // The same script, having looked at the same, did something else before.
        await trust.determinism.note(packageOf({ action }), action.toolchain, false)
        if (await runs.withdraw(hexOf(key))) sharing.ranScript(key, false)
        return
      }
      // Nobody can say who is wrong, but what came out here is what counts here.
      for (const claim of others) await trust.standings.doubt(subjectOf(claim))
      sharing.ranScript(key, true)
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      log.info('a run is not told to others', { code: codeOf(error), script: call.program })
    }
  }
}

/** As the observer calls what a program asks for that is in no variable, and what no program asks for. */
export const namesOfMachine = (): [string, string][] => [
  [ofMachine.host, hostname()],
  [ofMachine.system, [type(), hostname(), release(), version(), machine()].join(' ')],
  [ofMachine.kernel, [type(), release(), machine()].join(' ')],
]
