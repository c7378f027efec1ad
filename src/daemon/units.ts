import { randomBytes } from 'node:crypto'
import { codeOf } from '../base/errors.ts'
import type { Market, Task } from '../market/driver.ts'
import type { Planned } from '../plan/plan.ts'
import type { OpenUnit, Session, Sessions } from '../watch/sessions.ts'
import { workingDirectory } from './cargo-process.ts'
import type { UnitEnd } from './compile.ts'
import type { ShimLink } from './shim-link.ts'

export interface UnitsNeeds {
  sessions: Pick<Sessions, 'begin'>
  market: Pick<Market, 'building'>
  compile(shim: ShimLink, build: Uint8Array): Promise<UnitEnd>
  /** False when cargo has ended, as after Ctrl-C. */
  cargoRuns(pid: number): boolean
  /** The name that a member gave itself. */
  nameOf(peer: string): string
}

/** Ties each rustc call to the build that it belongs to: for the report, and so that lenders know whether to offer. */
export class Units {
  readonly #needs: UnitsNeeds
  readonly #builds = new Map<string, Uint8Array>()

  constructor(needs: UnitsNeeds) {
    this.#needs = needs
  }

  async compile(shim: ShimLink): Promise<void> {
    const { cargoPid, cwd } = shim.invocation
    const unit = this.#needs.sessions.begin(cargoPid, workingDirectory(cargoPid) ?? cwd)
    const build = this.#buildOf(unit)
    try {
      const { where, ...end } = await this.#needs.compile(shim, build)
      const peer = where === 'here' ? {} : { peer: where }
      unit.finish({ ...end, where: where === 'here' ? where : this.#needs.nameOf(where), bytesOut: 0, ...peer })
    } catch (error) {
      const code = codeOf(error) ?? 'ERR_INTERNAL'
      if (this.#needs.cargoRuns(cargoPid)) {
        // The shim runs rustc by itself: it waited too long, or the story ended in an error.
        const reason = errorText(error)
        unit.finish({
          ...unknownUnit(shim),
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
    }
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
  const at = invocation.argv.indexOf('--crate-name')
  return { crate: invocation.argv[at + 1] ?? '', kind: 'other' }
}

/** Bytes of source that a compile takes a millisecond for, until something better is known about a crate. */
const sourceBytesPerMs = 100
const leastMs = 250
const mostMs = 60_000

/** What the market has to know about a unit. Units that others cannot run come first: whole branches wait for them. */
export function taskOf(planned: Planned, build: Uint8Array): Task {
  const nothing = new Uint8Array()
  if (!planned.shareable) {
    const rank = Number.MAX_SAFE_INTEGER
    return {
      build,
      toolchain: '',
      host: '',
      target: '',
      expectedMs: 0,
      rank,
      mayGoAway: false,
      action: nothing,
      inputs: nothing,
    }
  }
  let sourceBytes = 0
  for (const { path, size } of planned.tree.tree.files) if (path.endsWith('.rs')) sourceBytes += size
  const expectedMs = Math.min(mostMs, Math.max(leastMs, Math.round(sourceBytes / sourceBytesPerMs)))
  return {
    build,
    toolchain: planned.action.toolchain,
    host: planned.host,
    target: planned.action.target,
    expectedMs,
    // In the order in which cargo asked, which puts units with many dependents first. The longest first would be worse:
    // it keeps the small crates waiting that everything else is built upon.
    rank: 0,
    mayGoAway: planned.notAway === undefined,
    action: planned.actionBytes,
    inputs: planned.inputs.cid.bytes,
  }
}
