import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { makeScriptNotes, observationFile } from '../plan/observation.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import type { StatDigests } from '../plan/stat-digests.ts'
import { firstDifference, type Ground } from '../recall/evidence.ts'
import { splitPlace } from '../recall/run-place.ts'
import { isFlagsOfMake, shimName, withoutJobs } from '../recall/script-evidence.ts'
import { readSetOfScript } from '../recall/script-reads.ts'
import { outputsDigest } from '../recall/signed-claim.ts'
import { hashing } from './hashing.ts'
import { collectScript } from './script-collect.ts'
import { readNotes, scopeOf } from './script-notes.ts'
import { lookThrough } from './script-tree.ts'
import type { Rerun } from './verdict.ts'
import { asItIs, type Command, runNicely } from './warm-run.ts'
import type { MakeAgain } from './whole-audit.ts'

export interface ScriptAgainInit {
  /** New directory for everything that the script writes; gone afterwards. */
  scratch: string
  bubblewrap: string
  /** Path of the observer's library. */
  observer: string
  ground: Ground
  /** The time of the file system's clock, ms. */
  stamp(): number
  /** Kills it at once. */
  signal: AbortSignal
}

/** What it has of its own. */
interface Dirs {
  /** In the place of OUT_DIR. */
  out: string
  /** Of the observer. */
  notes: string
  temporary: string
}

/** Gets what nobody else wants of the processor. Not by niceness: that a script can ask for, and cargo's has none. */
const idly = ['chrt', '--idle', '0'] as const

/**
 * Runs a build script once more as its launcher did, with another directory in the place of OUT_DIR, which it sees under the same path. It can
 * write nowhere else and reaches nobody, and nothing of it is kept. That what goes into it is still the same is left to the caller.
 * @returns undefined when it does not succeed, cannot be observed, or does what no run that is kept does
 */
export async function runScriptAgain(planned: PlannedScript, init: ScriptAgainInit): Promise<Rerun | undefined> {
  const { scratch, signal, stamp, ground } = init
  const dirs: Dirs = { out: join(scratch, 'out'), notes: join(scratch, 'notes'), temporary: join(scratch, 'tmp') }
  const { out, notes, temporary } = dirs
  try {
    for (const dir of Object.values(dirs)) await mkdir(dir, { recursive: true, mode: 0o700 })
    makeScriptNotes(join(notes, observationFile))
    const since = stamp()
    const ran = await runNicely(commandOf(planned, init, dirs), called(planned, ground, temporary), {
      signal,
      hears: ['stdout', 'stderr'],
      lowered: idly,
    })
    if (!ran.succeeded || ran.isCut || signal.aborted) return undefined
    const until = stamp() + 1
    const seen = lookThrough(out)
    const { attached, complete, events } = readNotes(notes)
    if (seen === undefined || !attached || !complete) return undefined
    const usual = scopeOf(planned, notes)
    const scope = { ...usual, temporary: [...usual.temporary, temporary] }
    const reads = await readSetOfScript(planned, { events, scope, since, boundTo: [] }, ground)
    if (typeof reads === 'string') return undefined
    const there = { ...planned, call: { ...planned.call, outDir: out } }
    const said = { ...ran, code: 0, wallMs: 0, cpuMs: undefined, truncated: false }
    // What holds the name of a directory that it has this one time says nothing.
    const left = { ran: said, seen, since, until, ours: [scratch] }
    const collected = await collectScript(there, left, hashing)
    return 'reason' in collected
      ? undefined
      : { outputs: outputsDigest(collected.result), reads: splitPlace(reads).set }
  } finally {
    await rm(scratch, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Its launcher, which becomes it under the name that it has for cargo, with cargo's mask for what it makes. */
function commandOf({ call }: PlannedScript, { bubblewrap, scratch, observer }: ScriptAgainInit, dirs: Dirs): string[] {
  const masked = ['/bin/sh', '-c', 'umask "$0" && exec "$@"', call.umask.toString(8)]
  const mounts = ['--bind', scratch, scratch, '--bind', dirs.out, realpathSync(call.outDir), '--chdir', call.cwd]
  const others = call.env.get('LD_PRELOAD') ?? ''
  // Told inside only: what starts it there is not to be observed.
  const told = [
    ...['--setenv', 'LD_PRELOAD', others === '' ? observer : `${observer}:${others}`],
    ...['--setenv', 'SHOAL_OBSERVE', join(dirs.notes, observationFile)],
  ]
  return [...masked, bubblewrap, ...asItIs, '--unshare-net', ...mounts, ...told, '--', launcherOf(call.program)]
}

function launcherOf(script: string): string {
  const dir = dirname(script)
  const name = readdirSync(dir).find((each) => /^build[-_]script[-_][^.]*$/.test(each))
  return name === undefined ? script : join(dir, name)
}

function called({ call }: PlannedScript, ground: Ground, temporary: string): Command {
  const env = new Map<string, string>()
  for (const [name, value] of call.env) {
    const kept = isFlagsOfMake(name) ? withoutJobs(value) : value
    if (name !== 'CARGO_MAKEFLAGS' && (kept === value || kept !== '')) env.set(name, kept)
  }
  env.set('SHOAL_WRAPPER', ground.env.get('RUSTC_WRAPPER') === shimName ? (call.env.get('RUSTC_WRAPPER') ?? '') : '')
  env.set('SHOAL', 'off')
  env.set('TMPDIR', temporary)
  return { cwd: call.cwd, env: Object.fromEntries(env) }
}

export interface ScriptsAgainNeeds {
  digests: StatDigests
  /** Path of the observer's library; '' when there is none. */
  observer(): string
  bubblewrap(): Promise<string | undefined>
  /** Whether the toolchain is still the one that a run was named with. */
  isStill(planned: PlannedScript): Promise<boolean>
  stamp(): number
}

/** Runs build scripts again that others have seen, as long as all that went into them is what it was. */
export class ScriptsAgain {
  readonly #needs: ScriptsAgainNeeds
  readonly #scratchDir: string
  #bubblewrap: Promise<string | undefined> | undefined

  private constructor(needs: ScriptsAgainNeeds, scratchDir: string) {
    this.#needs = needs
    this.#scratchDir = scratchDir
  }

  /** @param init scratchDir: nobody else's; what a node that was killed has left there goes */
  static async open(needs: ScriptsAgainNeeds, { scratchDir }: { scratchDir: string }): Promise<ScriptsAgain> {
    await rm(scratchDir, { recursive: true, force: true, maxRetries: 5 })
    return new ScriptsAgain(needs, scratchDir)
  }

  of(planned: PlannedScript, ground: Ground): MakeAgain {
    return async (reads, signal) => {
      const isStill = async (): Promise<boolean> =>
        (await this.#isStill(planned)) && (await firstDifference(reads, ground)) === undefined
      const observer = this.#needs.observer()
      this.#bubblewrap ??= this.#needs.bubblewrap()
      const bubblewrap = await this.#bubblewrap
      // Where nothing can be mounted it would write into the very directory that cargo has it for.
      if (bubblewrap === undefined || observer === '' || !existsSync(planned.call.outDir)) return undefined
      if (!(await isStill())) return undefined
      const { stamp } = this.#needs
      const init = { scratch: join(this.#scratchDir, randomUUID()), bubblewrap, observer, ground, stamp, signal }
      const made = await runScriptAgain(planned, init)
      return made !== undefined && (await isStill()) ? made : undefined
    }
  }

  async #isStill(planned: PlannedScript): Promise<boolean> {
    try {
      const { cid } = await this.#needs.digests.digest(planned.call.program)
      return cid.equals(planned.action.script) && (await this.#needs.isStill(planned))
    } catch (error) {
      // Gone, with the target directory.
      if (codeOf(error) === undefined) throw error
      return false
    }
  }
}
