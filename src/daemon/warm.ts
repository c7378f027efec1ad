import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Environment } from '../base/paths.ts'
import { links } from '../plan/classify.ts'
import type { Invocation } from '../plan/invocation.ts'
import { declaredOutputs } from '../plan/normalise.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { Rest, type RestNeeds } from './rest.ts'
import { findBubblewrap, runWarm } from './warm-run.ts'
import { finishedSessions, type SourceState, sameSources, sourceState } from './warm-sources.ts'

export interface WarmerNeeds {
  clock: Clock
  log: Logger
  machine: RestNeeds['machine']
  /** `PATH` says where bubblewrap is looked for. */
  env: Environment
  /** Whether no cargo is at work and no unit is in flight here, own or others'. */
  isQuiet(): boolean
  /** Whether what the unit is compiled against is still what it was planned with. */
  isUnchanged(planned: Pick<PlannedAction, 'build' | 'dependencies'>): Promise<boolean>
  /** Whether version control sees changes in a package directory. */
  isEdited(dir: string): Promise<boolean>
}

export interface WarmerInit {
  /** For what rustc writes besides; of no value, removed at start and stop. */
  scratchDir: string
  /** False: nothing is ever warmed. */
  enabled: boolean
  /** How long the machine has to be at rest first. Default 10,000. */
  quietMs?: number
}

/** What has to be known of a unit. */
export type ColdPlan = Pick<
  PlannedAction,
  'args' | 'build' | 'crate' | 'dependencies' | 'incremental' | 'reaches' | 'roots' | 'source'
>

interface ColdUnit {
  /** Its dep-info under cargo's out-dir: one unit, whatever it is compiled from. */
  id: string
  crate: string
  invocation: Invocation
  outDir: string
  incremental: string
  packageDir: string
  planned: Pick<PlannedAction, 'build' | 'dependencies'>
  /** Whether all that it is compiled against is known. */
  complete: boolean
  links: boolean
  /** Milliseconds since the Unix epoch. */
  deliveredAt: number
  attempts: number
}

type Ended = 'warmed' | 'failed' | 'given-way' | 'overtaken'

const maxWaiting = 512
const maxAttempts = 3
const lookMs = 1000
/** While one runs: whether it has become pointless. */
const watchMs = 500
/** How soon to look again when what is missing is mains power, memory or room on the disk. */
const scarceMs = 30_000
const deadlineMs = 15 * 60_000
/** Of a disk that is written to. */
const leastFreeBytes = 1 << 30

/**
 * A unit that is recalled, or compiled without its incremental directory, would have its first edit compiled from nothing.
 * So when the machine is at rest such directories are made: one rustc after the other, the likeliest to be edited first.
 * Whatever else begins has precedence: what runs is killed, and tried again later. cargo's own outputs are never touched.
 */
export class Warmer {
  readonly #needs: WarmerNeeds
  readonly #init: Required<WarmerInit>
  readonly #rest: Rest
  readonly #waiting = new Map<string, ColdUnit>()
  /** For which sources a unit's directory was made, and the sessions that were found then. */
  readonly #warmed = new Map<string, { sources: SourceState; sessions: readonly string[] }>()
  #bubblewrap: Promise<string | undefined> | undefined
  /** The best first; undefined when somebody has come since it was made. */
  #order: ColdUnit[] | undefined
  #cancelLook: (() => void) | undefined
  #running: { ended: Promise<void>; abort: AbortController } | undefined
  #atWork = 0
  #stopped = false

  private constructor(needs: WarmerNeeds, init: WarmerInit) {
    this.#needs = needs
    this.#init = { quietMs: 10_000, ...init }
    this.#rest = new Rest(needs, this.#init)
  }

  static async open(needs: WarmerNeeds, init: WarmerInit): Promise<Warmer> {
    await rm(init.scratchDir, { recursive: true, force: true })
    return new Warmer(needs, init)
  }

  /** Units that wait or are at work. */
  get pending(): number {
    return this.#waiting.size + this.#atWork
  }

  /** A unit was delivered without the incremental directory that cargo asked for. */
  add(planned: ColdPlan, invocation: Invocation): void {
    const { args, build, crate, dependencies, incremental, reaches, roots, source } = planned
    const outDir = roots.find(({ name }) => name === 'out')?.path
    const depInfo = declaredOutputs(args).find(([, kind]) => kind === 'dep-info')?.[0]
    if (!this.#init.enabled || this.#stopped) return
    if (incremental === undefined || outDir === undefined || depInfo === undefined) return
    const id = join(outDir, depInfo)
    this.#waiting.delete(id)
    this.#waiting.set(id, {
      id,
      crate,
      invocation,
      outDir,
      incremental,
      packageDir: source.dir,
      planned: { build, dependencies },
      complete: reaches !== undefined,
      links: links(args),
      deliveredAt: this.#needs.clock.wall(),
      attempts: 0,
    })
    for (const oldest of this.#waiting.keys()) {
      if (this.#waiting.size <= maxWaiting) break
      this.#waiting.delete(oldest)
    }
    this.#order = undefined
    this.giveWay()
    this.#lookAfter(lookMs)
  }

  /** A build has begun, or goes on. */
  giveWay(): void {
    this.#rest.broken()
    this.#running?.abort.abort('given-way')
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancelLook?.()
    this.#waiting.clear()
    this.#running?.abort.abort('given-way')
    await this.#running?.ended
    await rm(this.#init.scratchDir, { recursive: true, force: true, maxRetries: 5 })
  }

  #lookAfter(ms: number): void {
    this.#cancelLook?.()
    this.#cancelLook = undefined
    if (this.#stopped || this.#waiting.size === 0) return
    this.#cancelLook = this.#needs.clock.after(ms, () => this.#look())
  }

  #look(): void {
    if (this.#stopped || this.#running !== undefined) return
    const state = this.#rest.look()
    if (state !== 'at-rest') {
      this.#lookAfter(state === 'scarce' ? scarceMs : lookMs)
      return
    }
    const abort = new AbortController()
    const ended = this.#next(abort).catch((error: unknown) => {
      this.#needs.log.info('incremental directory not warmed', { code: codeOf(error), message: String(error) })
      return lookMs
    })
    this.#running = {
      abort,
      ended: ended.then((ms) => {
        this.#running = undefined
        this.#lookAfter(ms)
      }),
    }
  }

  /** @returns after how many milliseconds to go on */
  async #next(abort: AbortController): Promise<number> {
    this.#order ??= await this.#ranked()
    const unit = this.#order.shift()
    if (unit === undefined) this.#order = undefined
    if (unit === undefined || this.#waiting.get(unit.id) !== unit || abort.signal.aborted) return lookMs
    this.#waiting.delete(unit.id)
    this.#atWork = 1
    try {
      const sources = await this.#reasonToWarm(unit)
      if (sources === undefined) return 0
      const hasSpace = await hasRoom([dirname(unit.incremental), dirname(this.#init.scratchDir)])
      const ended = hasSpace ? await this.#run(unit, sources, abort) : 'put-off'
      if (ended === 'given-way') unit.attempts += 1
      if (ended === 'put-off' || (ended === 'given-way' && unit.attempts < maxAttempts)) this.#putBack(unit)
      return hasSpace ? 0 : scarceMs
    } finally {
      this.#atWork = 0
    }
  }

  #putBack(unit: ColdUnit): void {
    if (this.#stopped || this.#waiting.has(unit.id)) return
    this.#waiting.set(unit.id, unit)
    this.#order = undefined
  }

  /** @returns undefined when there is none */
  async #reasonToWarm(unit: ColdUnit): Promise<SourceState | undefined> {
    const skip = (reason: string): undefined => {
      this.#needs.log.debug('incremental directory left as it is', { crate: unit.crate, reason })
    }
    if (!isThere(unit)) return skip('target-gone')
    const sources = await sourceState(unit.packageDir)
    if (sources.changedAt > unit.deliveredAt) return skip('source-changed')
    const warmed = this.#warmed.get(unit.id)
    if (warmed !== undefined && sameSources(warmed.sources, sources)) {
      const now = finishedSessions(unit.incremental, unit.crate)
      if (warmed.sessions.some((session) => now.has(session))) return skip('warm')
    }
    if (!(await this.#needs.isUnchanged(unit.planned))) return skip('dependency-changed')
    return sources
  }

  async #run(unit: ColdUnit, sources: SourceState, abort: AbortController): Promise<Ended> {
    const { clock, env, log } = this.#needs
    this.#bubblewrap ??= findBubblewrap(env)
    const bubblewrap = await this.#bubblewrap
    const before = finishedSessions(unit.incremental, unit.crate)
    const from = clock.now()
    const unwatch = this.#watch(unit, sources, abort)
    try {
      const dependencies = unit.complete ? unit.planned.dependencies.map(({ path }) => path) : undefined
      const scratch = join(this.#init.scratchDir, randomUUID())
      const done = await runWarm({ ...unit, dependencies }, { scratch, bubblewrap, signal: abort.signal })
      const fields = { crate: unit.crate, ms: Math.round(clock.now() - from) }
      if (abort.signal.aborted) {
        log.debug('warming of an incremental directory ended early', { ...fields, reason: abort.signal.reason })
        return abort.signal.reason === 'given-way' ? 'given-way' : 'overtaken'
      }
      if (!done) {
        log.debug('incremental directory not warmed', fields)
        return 'failed'
      }
      const sessions = [...finishedSessions(unit.incremental, unit.crate)].filter((session) => !before.has(session))
      this.#warmed.delete(unit.id)
      this.#warmed.set(unit.id, { sources, sessions })
      if (this.#warmed.size > maxWaiting) this.#warmed.delete(this.#warmed.keys().next().value ?? '')
      log.info('incremental directory warmed', fields)
      return 'warmed'
    } finally {
      unwatch()
    }
  }

  /** Ends a run that has become pointless, or that does not end. */
  #watch(unit: ColdUnit, sources: SourceState, abort: AbortController): () => void {
    const { clock } = this.#needs
    const until = clock.now() + deadlineMs
    let cancel: (() => void) | undefined
    let over = false
    const watch = async (): Promise<void> => {
      const same = isThere(unit) && sameSources(await sourceState(unit.packageDir), sources)
      if (over) return
      if (!same) abort.abort('source-changed')
      else if (clock.now() > until) abort.abort('deadline')
      else later()
    }
    const later = (): void => {
      cancel = clock.after(watchMs, () => {
        watch().catch(() => abort.abort('source-unreadable'))
      })
    }
    later()
    return () => {
      over = true
      cancel?.()
    }
  }

  async #ranked(): Promise<ColdUnit[]> {
    const packages = new Map<string, { edited: boolean; minute: number; bytes: number }>()
    for (const { packageDir } of this.#waiting.values()) {
      if (packages.has(packageDir)) continue
      const { bytes, modifiedAt } = await sourceState(packageDir)
      const edited = await this.#needs.isEdited(packageDir)
      // A checkout writes its files within a minute; among those the largest package is the likeliest.
      packages.set(packageDir, { edited, minute: Math.floor(modifiedAt / 60_000), bytes })
    }
    const rank = (unit: ColdUnit): [number, number, number] => {
      const { edited, minute, bytes } = packages.get(unit.packageDir) ?? { edited: false, minute: 0, bytes: 0 }
      return [Number(edited), minute, bytes]
    }
    return [...this.#waiting.values()]
      .map((unit) => ({ unit, rank: rank(unit) }))
      .sort((a, b) => b.rank[0] - a.rank[0] || b.rank[1] - a.rank[1] || b.rank[2] - a.rank[2])
      .map(({ unit }) => unit)
  }
}

/** Whether the target directory still is as cargo left it, as far as this unit goes. */
const isThere = (unit: ColdUnit): boolean => existsSync(unit.id) && existsSync(dirname(unit.incremental))

async function hasRoom(dirs: readonly string[]): Promise<boolean> {
  for (const dir of dirs) {
    const { bavail, bsize } = await statfs(dir)
    if (bavail * bsize < leastFreeBytes) return false
  }
  return true
}
