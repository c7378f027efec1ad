import { BoundedMap } from '../base/bounded-map.ts'
import type { Clock } from '../base/clock.ts'
import { installedTarget } from '../plan/classify.ts'
import type { Invocation } from '../plan/invocation.ts'
import type { PlanNeeds, PlannedAction, ToolchainId } from '../plan/plan.ts'

/** How long one cargo may be answered from memory. */
const validMs = 1000
const maxEntries = 64

/**
 * The toolchain behind an invocation, found once a second for each cargo: finding it looks at every file of it, which for
 * each of hundreds of units took a tenth of a build from what is kept. cargo itself looks at its rustc once. What is
 * compiled is held against the toolchain anew before it is kept (`isStill`).
 */
export class SessionToolchains {
  readonly #find: PlanNeeds['toolchain']
  readonly #clock: Clock
  readonly #found = new BoundedMap<string, { since: number; toolchain: Promise<ToolchainId | undefined> }>(maxEntries)

  constructor(find: PlanNeeds['toolchain'], clock: Clock) {
    this.#find = find
    this.#clock = clock
  }

  async of(invocation: Invocation, target: string | undefined): Promise<ToolchainId | undefined> {
    const key = keyOf(invocation, target)
    const now = this.#clock.now()
    const known = this.#found.get(key)
    if (known !== undefined && now - known.since < validMs) return await known.toolchain
    const toolchain = this.#find(invocation, target)
    this.#found.set(key, { since: now, toolchain })
    try {
      return await toolchain
    } catch (error) {
      if (this.#found.get(key)?.toolchain === toolchain) this.#found.delete(key)
      throw error
    }
  }

  /** Whether the toolchain of a unit is the one that it was planned with. */
  async isStill(planned: Pick<PlannedAction, 'toolchain' | 'args'>, invocation: Invocation): Promise<boolean> {
    return (await this.#find(invocation, installedTarget(planned.args)))?.digest === planned.toolchain.digest
  }
}

/** All that decides which program is started, and what stands behind it. */
function keyOf({ rustc, env, cwd, cargoPid }: Invocation, target: string | undefined): string {
  const of = (name: string): string => env.get(name) ?? ''
  const path = of('PATH')
  // A rustup proxy that was not told looks for a toolchain file from here upwards.
  const isNamed = of('RUSTUP_TOOLCHAIN') !== ''
  const isFixed = rustc.includes('/') ? rustc.startsWith('/') : path.split(':').every((dir) => dir.startsWith('/'))
  const names = [rustc, target ?? '', of('RUSTUP_TOOLCHAIN'), of('RUSTUP_HOME'), of('HOME'), path]
  return JSON.stringify([cargoPid, ...names, isNamed && isFixed ? '' : cwd])
}
