import { existsSync } from 'node:fs'
import { codeOf, toShoalError } from '../base/errors.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'
import { loadObserver } from '../shim/build.ts'
import type { Health } from '../watch/health.ts'

/** The library that notes what compiles read, for the compiles of this machine. */
export interface ObserverHere {
  /** '' when there is none. */
  path(): string
  close(): Promise<void>
}

/** Without one, compiles go on as well: less is kept then, and `status` says why. */
export async function observerHere(paths: ShoalPaths, env: Environment, health: Health): Promise<ObserverHere> {
  let problem = 'no directory from which it can be loaded'
  try {
    const found = await loadObserver(paths.observer, env, env.RUSTC || 'rustc')
    if (found !== undefined) {
      return { path: () => (existsSync(found.path) ? found.path : ''), close: () => found.close() }
    }
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    problem = toShoalError(error).message
  }
  if (existsSync(paths.observer)) {
    health.raise('ERR_UNSUPPORTED', `compiles cannot be observed: ${problem}`, {
      hint: 'Its own path has a space, `:`, `;` or `$` in it; let XDG_RUNTIME_DIR or TMPDIR be a directory of yours without these.',
      lasting: true,
    })
  }
  return { path: () => '', close: async () => {} }
}
