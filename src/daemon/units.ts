import { randomBytes } from 'node:crypto'
import { codeOf } from '../base/errors.ts'
import type { Market, Task } from '../market/driver.ts'
import type { Tree } from '../plan/action.ts'
import { links } from '../plan/classify.ts'
import type { Invocation } from '../plan/invocation.ts'
import type { LentInputs } from '../plan/lent-inputs.ts'
import type { PlannedAction } from '../plan/plan.ts'
import type { OpenUnit, Session, Sessions } from '../watch/sessions.ts'
import { workingDirectory } from './cargo-process.ts'
import type { UnitEnd } from './compile-needs.ts'
import { LastUnits } from './last-units.ts'
import type { ShimLink } from './shim-link.ts'

export interface UnitsNeeds {
  sessions: Pick<Sessions, 'begin'>
  market: Pick<Market, 'building'>
  compile(shim: ShimLink, build: Uint8Array, over: () => void): Promise<UnitEnd>
  /** False when cargo has ended, as after Ctrl-C. */
  cargoRuns(pid: number): boolean
  /** The name that a member gave itself. */
  nameOf(peer: string): string
}

/** Ties each rustc call to the build that it belongs to: for the report, and so that lenders know whether to offer. */
export class Units {
  readonly #needs: UnitsNeeds
  readonly #builds = new Map<string, Uint8Array>()
  readonly #last = new LastUnits()

  constructor(needs: UnitsNeeds) {
    this.#needs = needs
  }

  async compile(shim: ShimLink): Promise<void> {
    const { cargoPid, cwd } = shim.invocation
    const unit = this.#needs.sessions.begin(cargoPid, workingDirectory(cargoPid) ?? cwd)
    const build = this.#buildOf(unit)
    const last = this.#last.begin(cargoPid)
    try {
      const { where, ...end } = await this.#needs.compile(shim, build, () => last.over(shim))
      const peer = where === 'here' ? {} : { peer: where }
      const named = { ...end, ...namesOf(shim.invocation), ...peer }
      unit.finish({ ...named, where: where === 'here' ? where : this.#needs.nameOf(where), bytesOut: 0 })
    } catch (error) {
      const code = codeOf(error) ?? 'ERR_INTERNAL'
      if (this.#needs.cargoRuns(cargoPid)) {
        // The shim runs rustc by itself: it waited too long, or the story ended in an error.
        const reason = errorText(error)
        unit.finish({
          ...unknownUnit(shim),
          ...namesOf(shim.invocation),
          outcome: 'compiled-here',
          where: 'here',
          reason,
          bytesIn: 0,
          bytesOut: 0,
          fallback: code,
        })
      } else {
        unit.abandon()
      }
      if (!shim.signal.aborted) throw error
    } finally {
      last.end()
    }
  }

  /** Resolves when no unit is under way, what was made of it kept. */
  async drained(): Promise<void> {
    await this.#last.drained()
  }

  /** The cargo of a build has ended. */
  ended(session: Pick<Session, 'id'>): void {
    const build = this.#builds.get(session.id)
    if (build === undefined) return
    this.#builds.delete(session.id)
    this.#needs.market.building(build, false)
  }

  #buildOf(unit: OpenUnit): Uint8Array {
    let build = this.#builds.get(unit.session)
    if (build === undefined) {
      build = new Uint8Array(randomBytes(16))
      this.#builds.set(unit.session, build)
      this.#needs.market.building(build, true)
    }
    return build
  }
}

const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** What can be said about a unit whose story ended early. */
function unknownUnit({ invocation }: ShimLink): { crate: string; kind: string } {
  return { crate: crateNameIn(invocation.argv), kind: 'other' }
}

/** '' where none is named. */
function crateNameIn(argv: readonly string[]): string {
  const at = argv.indexOf('--crate-name')
  return at < 0 ? '' : (argv[at + 1] ?? '')
}

/** Its package and source, and what cargo wants its files to be called. */
function namesOf({ argv, env }: Invocation): { package?: string; stem?: string; source?: string } {
  const [name, version] = [env.get('CARGO_PKG_NAME'), env.get('CARGO_PKG_VERSION')]
  const crate = crateNameIn(argv)
  const extra = argv.find((argument) => argument.startsWith('extra-filename='))?.slice('extra-filename='.length)
  const source = argv.findLast((argument) => argument.endsWith('.rs') && !argument.startsWith('-'))
  return {
    ...(source === undefined ? {} : { source: source.slice(0, 1024) }),
    ...(name === undefined ? {} : { package: `${name}@${version ?? ''}` }),
    ...(extra === undefined ? {} : { stem: `${crate}${extra}`.slice(0, 256) }),
  }
}

/**
 * What a compile takes until something better is known about a crate: of 974 libraries of ten published packages half take between 0.6
 * and 1.6 times as long. Where it is optimised it takes longer.
 */
const [guessMs, sourceBytesPerMs] = [50, 800]
/** What is made of them is about eight times as much (3 to 10 for the whole of a build, of ten published packages). */
const movedPerSource = 9
const leastMs = 250
const mostMs = 60_000

/** What the market has to know about a unit that stays here. Such units come first: whole branches wait for them. */
export function stayingTask(build: Uint8Array): Task {
  const nothing = new Uint8Array()
  const rank = Number.MAX_SAFE_INTEGER
  const unknown = { toolchain: '', host: '', target: '', action: nothing, inputs: nothing }
  return { ...unknown, build, expectedMs: 0, rank, mayGoAway: false }
}

/** The same for a unit of which nobody was told what it is made from: nobody else can compile it, and it waits its turn like those. */
export function taskAlone({ notAway }: PlannedAction, build: Uint8Array): Task {
  const staying = { ...stayingTask(build), expectedMs: leastMs }
  return notAway === undefined ? { ...staying, rank: 0, mayGoAway: true } : staying
}

/** The same for a unit that others may compile, if nothing in it speaks against that. */
export function taskOf(planned: PlannedAction, lent: LentInputs, build: Uint8Array): Task {
  const sourceBytes = ownSourceBytes(planned, lent.own.tree)
  const expectedMs = Math.min(mostMs, Math.round(guessMs + sourceBytes / sourceBytesPerMs))
  if (planned.notAway !== undefined) return { ...stayingTask(build), expectedMs }
  return {
    build,
    toolchain: planned.action.toolchain,
    host: planned.toolchain.host,
    target: planned.action.target,
    links: links(planned.args),
    expectedMs,
    bytes: movedPerSource * sourceBytes,
    // As long as it is not known what waits for it (`learnt.ts`): in the order in which cargo asked, which puts units with many
    // dependents first. The longest first would be worse: it keeps the small crates waiting that everything else is built upon.
    rank: 0,
    mayGoAway: true,
    action: planned.actionBytes,
    inputs: lent.inputs.cid.bytes,
  }
}

/**
 * Bytes of a unit's own sources, about: a library's and a program's are what lies beside its first one and below, those of a test or a
 * build script that one alone. The rest of a package, which can be 40 times as much, is for other units.
 */
function ownSourceBytes({ args }: PlannedAction, { files }: Tree): number {
  const given = args.sources[0] ?? ''
  let first: Tree['files'][number] | undefined
  for (const file of files) {
    const isIt = given === file.path || given.endsWith(`/${file.path}`)
    if (isIt && file.path.length > (first?.path.length ?? 0)) first = file
  }
  const own = first === undefined || wholeDirectory.test(first.path) || args.crateTypes.some(isLibrary)
  if (!own) return first?.size ?? 0
  const dir = first?.path.slice(0, first.path.lastIndexOf('/') + 1) ?? ''
  let bytes = 0
  for (const { path, size } of files) if (path.startsWith(dir) && path.endsWith('.rs')) bytes += size
  return bytes
}

/** What has modules beside it. */
const wholeDirectory = /(^|\/)(lib|main)\.rs$/
const isLibrary = (type: string): boolean => type !== 'bin'
