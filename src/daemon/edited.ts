import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, extname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Clock } from '../base/clock.ts'
import { unitKind } from '../plan/classify.ts'
import type { Invocation } from '../plan/invocation.ts'
import { dependencyPath } from '../plan/normalise.ts'
import type { Planned, PlannedAction, PlannedHere } from '../plan/plan.ts'
import { isWithin } from '../plan/read-set.ts'
import { rootToken } from '../plan/roots.ts'
import { parseRustcArgs } from '../plan/rustc-args.ts'
import type { Difference } from '../recall/evidence.ts'

const run = promisify(execFile)
const settledMs = 2000
const deadlineMs = 1000
const maxLibraries = 8192
/** Checkouts whose changes are remembered. */
const maxKnown = 64

const withoutExtension = (path: string): string => path.slice(0, path.length - extname(path).length)

/** Which units somebody is working on: rustc with its incremental directory is the best answer for these. */
export class EditedUnits {
  readonly #clock: Clock
  /** By checkout: files that version control sees changed, absolute. */
  readonly #changed = new Map<string, { since: number; files: Promise<string[]> }>()

  /** Libraries that rustc made incrementally, without their extension, until they are made otherwise. */
  readonly #incremental = new Set<string>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * A unit that is built upon one that rustc made incrementally here: nobody else has had that one, so nothing that is kept
   * holds, and reading the library anew after each edit to say so would cost more than all the rest.
   */
  follower(invocation: Invocation): PlannedHere | undefined {
    if (this.#incremental.size === 0) return undefined
    const args = parseRustcArgs(invocation.argv)
    if (!args.codegen.has('incremental')) return undefined
    const follows = args.externs.some(
      ({ path }) => path !== undefined && this.#incremental.has(withoutExtension(resolve(invocation.cwd, path))),
    )
    if (!follows) return undefined
    const { crateName: crate } = args
    return { shareable: false, reason: 'incremental', crate, kind: unitKind(args), args, reaches: undefined }
  }

  /** How a unit is about to be made: before any that is built upon it is asked for. */
  made({ args }: Pick<Planned, 'args'>, { cwd }: Pick<Invocation, 'cwd'>, how: 'incrementally' | 'otherwise'): void {
    const path = dependencyPath(resolve(cwd, args.outDir), args)
    if (path === undefined) return
    const library = withoutExtension(path)
    this.#incremental.delete(library)
    if (how === 'incrementally') this.#incremental.add(library)
    if (this.#incremental.size > maxLibraries) this.#incremental.clear()
  }

  /** @param missed how the nearest kept trace differs */
  async has(planned: PlannedAction, missed: Difference | undefined): Promise<boolean> {
    // cargo asks again for what lies there already: it, or what it is built upon, was changed.
    if (wasMadeBefore(planned)) return true
    const { root, path, dir } = planned.source
    if (root === 'registry' || root === 'git') return false
    const own = path === '' ? rootToken(root) : `${rootToken(root)}/${path}`
    if (missed !== undefined && (missed.kind === 'file' || missed.kind === 'tree') && isWithin(missed.name, own))
      return true
    return await this.isChanged(dir)
  }

  /** Whether version control sees changes in a package directory. */
  async isChanged(dir: string): Promise<boolean> {
    const checkout = checkoutOf(dir)
    if (checkout === undefined) return false
    return (await this.#changedIn(checkout)).some((file) => isWithin(file, dir))
  }

  async #changedIn(checkout: string): Promise<string[]> {
    const now = this.#clock.now()
    const known = this.#changed.get(checkout)
    if (known !== undefined && now - known.since < settledMs) return await known.files
    const files = changedFiles(checkout)
    if (this.#changed.size > maxKnown) this.#changed.clear()
    this.#changed.set(checkout, { since: now, files })
    return await files
  }
}

function wasMadeBefore({ action, roots }: PlannedAction): boolean {
  const outDir = roots.find(({ name }) => name === 'out')?.path
  const depInfo = action.outputs.find(([, kind]) => kind === 'dep-info')?.[0]
  return outDir !== undefined && depInfo !== undefined && existsSync(join(outDir, depInfo))
}

function checkoutOf(dir: string): string | undefined {
  for (let at = dir; at !== dirname(at); at = dirname(at)) if (existsSync(join(at, '.git'))) return at
  return undefined
}

/** Nothing where git is missing, slow or at odds with the checkout: this is a guess about what comes next, no more. */
async function changedFiles(checkout: string): Promise<string[]> {
  try {
    const options = { timeout: deadlineMs, maxBuffer: 4 << 20, env: { ...process.env, GIT_OPTIONAL_LOCKS: '0' } }
    const { stdout } = await run('git', ['-C', checkout, 'status', '--porcelain=v1', '-z'], options)
    return stdout.split('\0').flatMap((entry) => (entry.length > 3 ? [join(checkout, entry.slice(3))] : []))
  } catch {
    return []
  }
}
