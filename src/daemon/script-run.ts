import { randomUUID } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { ReadSet } from '../plan/action.ts'
import type { Reason } from '../plan/classify.ts'
import { placeRoots } from '../plan/roots.ts'
import type { ScriptResult } from '../plan/script-action.ts'
import { arePlain, type PlannedScript, type ScriptCall } from '../plan/script-plan.ts'
import type { Difference, Ground } from '../recall/evidence.ts'
import { shellsDigest } from '../recall/script-evidence.ts'
import { readSetOfScript, withTimes } from '../recall/script-reads.ts'
import { hexOf } from '../wire/cid.ts'
import { type CollectedScript, type CollectScriptBlocks, collectScript } from './script-collect.ts'
import type { ScriptLink } from './script-connection.ts'
import { type LayoutBlocks, layOut } from './script-layout.ts'
import type { ScriptMesh } from './script-mesh.ts'
import { readNotes, scopeOf } from './script-notes.ts'
import { lookThrough, type Seen } from './script-tree.ts'
import type { Ran } from './shim-link.ts'

/** How a run ended, for the report. */
export interface ScriptEnd {
  outcome: 'recalled-here' | 'recalled-mesh' | 'compiled-here' | 'passed-through'
  /** The peer that had what was recalled. */
  from?: string
  /** What crossed the network for it. */
  bytesIn?: number
  /** A reason code, or the code of an error on the way. */
  reason: string
  /** Of what was not recalled: how it differs from what is kept of the same script. */
  difference?: Difference
  planned?: PlannedScript
}

export interface ScriptNeeds {
  /** Why a package's script is not asked about. */
  objection(call: ScriptCall): Promise<Reason | undefined>
  plan(call: ScriptCall): Promise<PlannedScript | Reason>
  groundOf(planned: PlannedScript): Ground
  runs: {
    find(planned: PlannedScript, ground: Ground): Promise<ScriptResult | { difference: Difference | undefined }>
    remember(result: ScriptResult, reads: ReadSet): Promise<void>
  }
  blocks: LayoutBlocks & CollectScriptBlocks
  /** Path of the observer's library; '' when there is none. */
  observer(): string
  /** Whether what a script finds before rustc is the shim of this node. */
  isShim(path: string): boolean
  /** A directory for notes of its own for each run; its parent is there. */
  notesDir: string
  /** The time of the file system's clock, ms. */
  stamp(): number
  /** Whether the toolchain is still the one that the run was named with. */
  isStill(planned: PlannedScript): Promise<boolean>
  /** What others say that it would do here; why that is not used. */
  others(planned: PlannedScript, ground: Ground): ReturnType<ScriptMesh['find']>
  /** To be called before a run is kept: what is private is for nobody else. Whether it is. */
  keeping(planned: PlannedScript, result: ScriptResult, reads: ReadSet): Promise<boolean>
  /** A run is kept: others may be told. */
  seen: ScriptMesh['seen']
  /** Runs that failed while they were observed. */
  failing: Failing
  log: Logger
}

/** How often a script runs by itself after it has failed while it was observed: that may be why. */
const timesAlone = 8
const maxFailing = 1024

/** Runs that failed while they were observed, and how often they are still to run without that. */
export class Failing {
  readonly #left = new Map<string, number>()

  failed(circumstances: string): void {
    if (this.#left.size >= maxFailing) this.#left.clear()
    this.#left.set(circumstances, timesAlone)
  }

  /** Whether this run is one of those without. @param circumstancesNow takes a millisecond, and mostly nothing has failed */
  runsAlone(circumstancesNow: () => string): boolean {
    if (this.#left.size === 0) return false
    const circumstances = circumstancesNow()
    const left = this.#left.get(circumstances) ?? 0
    if (left <= 1) this.#left.delete(circumstances)
    else this.#left.set(circumstances, left - 1)
    return left > 0
  }
}

/** The same script, called the same, with the same variables. */
const circumstancesOf = ({ key }: PlannedScript, ground: Ground): string =>
  `${hexOf(key)} ${shellsDigest(ground).toString()}`

/**
 * The life of a build script's run: what it did the last time, if all that it looked at is as it was; else it runs here, observed. In
 * doubt it just runs.
 */
export async function runScript(link: ScriptLink, needs: ScriptNeeds): Promise<ScriptEnd> {
  const { call } = link
  const plainly = (reason: Reason, more: Partial<ScriptEnd> = {}): ScriptEnd => {
    link.refuse(reason)
    return { outcome: 'passed-through', reason, ...more }
  }
  // cargo waits meanwhile, so a script that runs each time is not planned.
  const objection = await needs.objection(call)
  if (objection !== undefined) return plainly(objection)
  const planned = await needs.plan(call)
  if (typeof planned === 'string') return plainly(planned)
  const ground = needs.groundOf(planned)
  const found = await needs.runs.find(planned, ground)
  if ('entries' in found && (await recall(found, planned, link, needs)))
    return { outcome: 'recalled-here', reason: '', planned }
  const theirs = await needs.others(planned, ground)
  if (theirs !== undefined && 'result' in theirs && (await recall(theirs.result, planned, link, needs))) {
    const { from, bytes } = theirs
    return from === undefined
      ? { outcome: 'recalled-here', reason: '', planned }
      : { outcome: 'recalled-mesh', reason: '', from, bytesIn: bytes, planned }
  }
  const difference = 'entries' in found ? undefined : found.difference
  const isNewPlace = difference?.kind === 'place'
  const refused = theirs !== undefined && 'refused' in theirs ? theirs.refused : isNewPlace ? 'new-place' : ''
  const missed = { planned, ...(difference === undefined ? {} : { difference }) }
  // What it finds there is made by itself or by another script: nothing that could be named.
  if (readdirSync(call.outDir).length > 0) return plainly('out-dir-in-use', missed)
  const observer = needs.observer()
  if (observer === '') return plainly('unobserved', missed)
  if (needs.failing.runsAlone(() => circumstancesOf(planned, ground))) return plainly('failed', missed)
  const reason = await observe({ planned, ground, observer }, link, needs)
  return { outcome: 'compiled-here', reason: reason || refused, ...missed }
}

async function recall(
  result: ScriptResult,
  { roots, call }: PlannedScript,
  link: ScriptLink,
  needs: ScriptNeeds,
): Promise<boolean> {
  // What has paths in it was written where they needed no quotes.
  if (!arePlain(roots) && result.entries.some((entry) => entry.kind === 'file' && entry.named)) return false
  try {
    await layOut(result, { dir: link.spare, outDir: call.outDir, roots }, needs.blocks)
  } catch (error) {
    const { code, message } = toShoalError(error)
    needs.log.warn('run not recalled', { code, message, script: call.program })
    return false
  }
  if (link.signal.aborted) {
    // It runs by itself, and puts nothing in place any more.
    rmSync(link.spare, { recursive: true, force: true })
    link.signal.throwIfAborted()
  }
  const placed = (bytes: Uint8Array): Buffer => Buffer.from(placeRoots(Buffer.from(bytes).toString(), roots))
  link.recalled({ stdout: placed(result.stdout), stderr: placed(result.stderr) })
  return true
}

async function observe(
  { planned, ground, observer }: { planned: PlannedScript; ground: Ground; observer: string },
  link: ScriptLink,
  needs: ScriptNeeds,
): Promise<string> {
  const { call } = planned
  const dir = join(needs.notesDir, randomUUID())
  const named = call.env.get('RUSTC_WRAPPER') ?? ''
  const wrapper = named !== '' && needs.isShim(named) ? named : ''
  const since = needs.stamp()
  try {
    const ran = await link.watch({ observer, dir, wrapper })
    let seen: Seen[] | undefined
    const until = needs.stamp() + 1
    try {
      // Nobody else can touch it yet: cargo waits for the launcher, and that for this.
      seen = lookThrough(call.outDir)
      if (link.signal.aborted) return 'source-changed'
    } finally {
      link.finish()
    }
    if (ran.code !== 0) {
      needs.failing.failed(circumstancesOf(planned, ground))
      return 'failed'
    }
    if (seen === undefined) return 'too-large'
    if (ran.truncated) return 'unusual-output'
    return await keep({ planned, ground, dir, since, until, ran, seen }, needs)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

interface Observed {
  planned: PlannedScript
  ground: Ground
  dir: string
  since: number
  until: number
  ran: Ran
  seen: Seen[]
}

async function keep({ planned, ground, dir, since, until, ran, seen }: Observed, needs: ScriptNeeds): Promise<string> {
  const { attached, complete, events } = readNotes(dir)
  if (!attached || !complete) return 'unobserved'
  const reads = (boundTo: readonly string[]): Promise<ReadSet | Reason> =>
    readSetOfScript(planned, { events, scope: scopeOf(planned, dir), since, boundTo }, ground)
  try {
    // What it read says most often that it is not kept, and is looked at sooner than what it left.
    const looked = await reads([])
    if (typeof looked === 'string') return looked
    const collected: CollectedScript = await collectScript(
      planned,
      { ran, seen, since, until, ours: [dir] },
      needs.blocks,
    )
    if ('reason' in collected) return collected.reason
    const { result, boundTo } = collected
    const bound = boundTo.length === 0 ? looked : await reads(boundTo)
    if (typeof bound === 'string') return bound
    const kept = withTimes(bound, result.entries, ground)
    if (!(await needs.isStill(planned))) return 'source-changed'
    const isPrivate = await needs.keeping(planned, result, kept)
    await needs.runs.remember(result, kept)
    await needs.seen(planned, result, kept, { ground, isPrivate })
    return boundTo.length === 0 ? '' : 'path-bound'
  } catch (error) {
    const { code, message } = toShoalError(error)
    needs.log.warn('run not kept', { code, message, script: planned.call.program })
    return code === 'ERR_LIMIT' ? 'too-large' : code
  }
}
