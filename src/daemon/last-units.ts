import type { ShimLink } from './shim-link.ts'

type Waiting = Pick<ShimLink, 'finish'>

/** The units of one cargo that are under way. */
interface Build {
  /** Whether their rustc has ended: what is left is to keep what it made. */
  units: Set<{ isOver: boolean }>
  /** Shims that wait for leave to end. */
  waiting: Waiting[]
}

/**
 * When the last unit of a build ends, cargo does, and the target directory or this daemon may be gone a moment later, with
 * what was to be kept of that unit. So a shim that may be the last of its cargo is let go only when everything is kept.
 */
export class LastUnits {
  readonly #builds = new Map<number, Build>()
  #drained = Promise.withResolvers<void>()

  /**
   * @param cargoPid the build that a unit belongs to
   * @returns `over`: to be called if its rustc ran here and has ended; `end`: when nothing more is done for it
   */
  begin(cargoPid: number): { over(shim: Waiting): void; end(): void } {
    const build = this.#builds.get(cargoPid) ?? { units: new Set(), waiting: [] }
    const unit = { isOver: false }
    build.units.add(unit)
    this.#builds.set(cargoPid, build)
    return {
      over: (shim) => {
        unit.isOver = true
        build.waiting.push(shim)
        if ([...build.units].some(({ isOver }) => !isOver)) release(build)
      },
      end: () => {
        build.units.delete(unit)
        if (![...build.units].some(({ isOver }) => isOver)) release(build)
        if (build.units.size > 0) return
        this.#builds.delete(cargoPid)
        if (this.#builds.size > 0) return
        this.#drained.resolve()
        this.#drained = Promise.withResolvers()
      },
    }
  }

  /** Resolves when nothing is under way. */
  async drained(): Promise<void> {
    if (this.#builds.size > 0) await this.#drained.promise
  }
}

function release(build: Build): void {
  for (const shim of build.waiting.splice(0)) shim.finish()
}
