import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Reason } from '../plan/classify.ts'
import { runsAlways } from '../plan/declared-inputs.ts'
import type { PlanNeeds } from '../plan/plan.ts'
import { encodeScriptResult } from '../plan/script-action.ts'
import { isStillToolchain, type PlannedScript, planScript, type ScriptCall } from '../plan/script-plan.ts'
import type { StatDigests } from '../plan/stat-digests.ts'
import { LocalView } from '../plan/view.ts'
import type { Cause } from '../recall/cause.ts'
import { explainScript } from '../recall/explain-script.ts'
import type { Policy } from '../recall/policy.ts'
import { shimName } from '../recall/script-evidence.ts'
import type { ScriptRuns } from '../recall/script-runs.ts'
import type { BlockStore } from '../store/blocks.ts'
import type { SubjectStore } from '../store/subjects.ts'
import type { Sessions } from '../watch/sessions.ts'
import { cidOf, dagCborCodec } from '../wire/cid.ts'
import { workingDirectory } from './cargo-process.ts'
import type { ObserverHere } from './observer-here.ts'
import type { PrivateUnits } from './private-units.ts'
import type { ScriptLink } from './script-connection.ts'
import { namesOfMachine, type ScriptMesh } from './script-mesh.ts'
import { Failing, runScript, type ScriptEnd, type ScriptNeeds } from './script-run.ts'

export interface ScriptsNeeds {
  digests: StatDigests
  toolchain: PlanNeeds['toolchain']
  cargoEnvironment: PlanNeeds['cargoEnvironment']
  processor: PlanNeeds['processor']
  blocks: BlockStore
  runs: ScriptRuns
  subjects: SubjectStore
  sessions: Pick<Sessions, 'begin'>
  observer: Pick<ObserverHere, 'path'>
  privateUnits: Pick<PrivateUnits, 'keepingRun'>
  /** What is between this node and others. */
  mesh: Pick<ScriptMesh, 'find' | 'seen'>
  /** Whose word counts in a build. @param build names it */
  policies(build: string, call: ScriptCall): Promise<readonly Policy[]>
  /** The name that a member gave itself. */
  nameOf(peer: string): string
  stamp(): number
  log: Logger
}

export interface ScriptsInit {
  salt: string
  /** For the notes of runs; empty, and nobody else's. */
  notesDir: string
  /** The program that cargo calls in place of rustc. */
  shim: string
  /** Packages whose scripts are to run each time. */
  alwaysRun: readonly string[]
}

const maxKnown = 4096

/** The runs of build scripts on this machine. */
export class Scripts {
  readonly #needs: ScriptsNeeds
  readonly #init: ScriptsInit
  /** What a build script is, by the directory that it was put into: the launcher has given it another name since. */
  readonly #made = new Map<string, { cid: CID; identity: string }>()
  readonly #failing = new Failing()
  readonly #underWay = new Set<Promise<unknown>>()
  /** Looked at once: it takes a while where there are many. */
  readonly #processor: string | undefined

  constructor(needs: ScriptsNeeds, init: ScriptsInit) {
    this.#needs = needs
    this.#init = init
    this.#processor = needs.processor()
  }

  /** A file was delivered, or compiled: if it is a build script, its content is known when it runs. */
  made(path: string, cid: CID, identity: string): void {
    if (!basename(path).startsWith('build_script_')) return
    if (this.#made.size >= maxKnown) this.#made.clear()
    this.#made.set(dirname(path), { cid, identity })
  }

  async run(link: ScriptLink): Promise<void> {
    const running = this.#run(link)
    this.#underWay.add(running)
    try {
      await running
    } finally {
      this.#underWay.delete(running)
    }
  }

  /** Resolves when nothing is under way, what was made of it kept. To be called when no more is to come. */
  async drained(): Promise<void> {
    await Promise.allSettled(this.#underWay)
    await rm(this.#init.notesDir, { recursive: true, force: true })
  }

  async #run(link: ScriptLink): Promise<void> {
    const { env, cwd, cargoPid } = link.call
    const unit = this.#needs.sessions.begin(cargoPid, workingDirectory(cargoPid) ?? cwd)
    try {
      const end = await this.#needs.blocks.leasing(() => runScript(link, this.#storyNeeds(link, unit.session)))
      const causes = await this.#causes(end)
      const [name, version] = [env.get('CARGO_PKG_NAME') ?? '', env.get('CARGO_PKG_VERSION') ?? '']
      unit.finish({
        crate: name.replaceAll('-', '_'),
        kind: 'build-script-run',
        outcome: end.outcome,
        where: end.from === undefined ? 'here' : this.#needs.nameOf(end.from),
        ...(end.from === undefined ? {} : { peer: end.from }),
        reason: end.reason,
        bytesIn: end.bytesIn ?? 0,
        bytesOut: 0,
        package: `${name}@${version}`,
        ...(causes.length === 0 ? {} : { causes }),
      })
    } catch (error) {
      unit.abandon()
      if (!link.signal.aborted) throw error
    }
  }

  #storyNeeds(link: ScriptLink, build: string): ScriptNeeds {
    const { digests, blocks, runs, observer, privateUnits, mesh, toolchain, stamp, log } = this.#needs
    const policies = this.#needs.policies(build, link.call)
    // Who needs them hears of it.
    policies.catch(() => undefined)
    return {
      objection: (call) => this.#objection(call),
      plan: async (call) => {
        const known = this.#made.get(dirname(call.program))
        if (known !== undefined) digests.prime(call.program, known.cid, known.identity)
        return await planScript(call, this.#init.salt, { ...this.#needs, processor: () => this.#processor })
      },
      groundOf: ({ call, roots }) => ({
        roots,
        dependencyDirs: [],
        env: new Map([...call.env, ...namesOfMachine(), ...this.#wrapperOf(call)]),
        view: new LocalView(digests, call.env.get('PATH') ?? '', call.cwd),
        tree: async () => undefined,
      }),
      runs,
      blocks,
      observer: () => observer.path(),
      isShim: (path) => isSameFile(path, this.#init.shim),
      notesDir: this.#init.notesDir,
      failing: this.#failing,
      stamp,
      isStill: (planned) => isStillToolchain(planned, toolchain),
      others: async (planned, ground) => {
        const whose = { dir: directoryOf(planned.call), policies: await policies, signal: link.signal }
        return await mesh.find(planned, ground, whose)
      },
      keeping: async (planned, result, reads) => {
        const cids = result.entries.flatMap((entry) => (entry.kind === 'file' ? [entry.cid] : []))
        const own = cidOf(encodeScriptResult(result).bytes, dagCborCodec)
        const { call, roots } = planned
        return await privateUnits.keepingRun([...cids, own], reads, { dir: directoryOf(call), roots, env: call.env })
      },
      seen: (...of) => mesh.seen(...of),
      log,
    }
  }

  /** Wherever it lies, the shim is the same to a script: it becomes rustc. */
  #wrapperOf({ env }: ScriptCall): [string, string][] {
    return isSameFile(env.get('RUSTC_WRAPPER') ?? '', this.#init.shim) ? [['RUSTC_WRAPPER', shimName]] : []
  }

  async #objection(call: ScriptCall): Promise<Reason | undefined> {
    if (this.#init.alwaysRun.includes(call.env.get('CARGO_PKG_NAME') ?? '')) return 'always-run'
    return (await runsAlways(directoryOf(call))) ? 'always-run' : undefined
  }

  /** In what a run differs from what was seen of the same package's script; none when it was recalled. */
  async #causes({ outcome, planned, difference }: ScriptEnd): Promise<Cause[]> {
    if (planned === undefined) return []
    try {
      const { subjects } = this.#needs
      const subject = subjectOf(planned)
      const mine = { variant: 'run', action: planned.actionBytes, outDir: null, besides: null }
      const seen = await subjects.add(subject, mine)
      return outcome.startsWith('recalled') ? [] : explainScript(planned, difference, seen)
    } catch (error) {
      this.#needs.log.info('no cause found', { code: codeOf(error), script: planned.call.program })
      return []
    }
  }
}

const directoryOf = ({ env, cwd }: ScriptCall): string => env.get('CARGO_MANIFEST_DIR') ?? cwd

/** What stays when somebody edits, tunes or updates it. */
function subjectOf({ call }: PlannedScript): string {
  const names = ['CARGO_PKG_NAME', 'TARGET', 'PROFILE'].map((name) => call.env.get(name) ?? '')
  return createHash('sha256')
    .update(JSON.stringify(['build-script-run', ...names]))
    .digest('hex')
}

function isSameFile(one: string, other: string): boolean {
  try {
    return realpathSync.native(one) === realpathSync.native(other)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return false
  }
}
