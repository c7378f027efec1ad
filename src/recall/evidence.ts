import { posix } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { type Action, decodeTrace, type Result, type Trace } from '../plan/action.ts'
import type { Reason } from '../plan/classify.ts'
import { type DepInfo, parseDepInfo } from '../plan/dep-info.ts'
import { looksSecret } from '../plan/environment.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { nameRoots } from '../plan/roots.ts'

/** Why a result must not be shared, or kept. */
export type Unshareable = Extract<Reason, 'source-outside-package' | 'path-bound' | 'secret-in-environment'>

/** A directory that an action may read: where it lies, roots by name, and the files in it. */
export interface DeclaredTree {
  dir: string
  files: readonly { path: string }[]
}

/**
 * Whether a trace's recorded reads are what a compile would read here and now: the same package directory, the same
 * values of the variables that the crate looked at.
 */
export function holdsHere(trace: Trace, planned: PlannedAction, env: ReadonlyMap<string, string>): boolean {
  if (!trace.action.equals(planned.key) || !trace.tree.equals(planned.tree.cid)) return false
  return valuesHold(trace.env, planned, env)
}

/** Whether variables have the values here that a compile saw (null: was not set), roots by name. */
export function valuesHold(reads: Trace['env'], planned: PlannedAction, env: ReadonlyMap<string, string>): boolean {
  return reads.every(([name, recorded]) => {
    const here = env.get(name)
    if (here === undefined || recorded === null) return here === undefined && recorded === null
    return nameRoots(here, planned.roots) === recorded
  })
}

/** A trace from disk or from a peer; undefined when it is not one. */
export function readTrace(bytes: Uint8Array): Trace | undefined {
  try {
    return decodeTrace(bytes)
  } catch (error) {
    if (codeOf(error) === 'ERR_DECODE') return undefined
    throw error
  }
}

/** Whether a result is one of this action: its key, and exactly the declared outputs that are not rendered here. */
export function answers(result: Result, planned: PlannedAction): boolean {
  if (!result.action.equals(planned.key)) return false
  const declared = planned.action.outputs.filter(([, kind]) => kind !== 'dep-info')
  if (declared.length !== result.outputs.length) return false
  return declared.every(([name, kind]) => result.outputs.some((output) => output.name === name && output.kind === kind))
}

/** The package and OUT_DIR of a planned unit. */
export function declaredTrees(planned: PlannedAction): DeclaredTree[] {
  return [planned.tree, planned.build]
    .filter((digested) => digested !== undefined)
    .map(({ dir, tree }) => ({ dir: nameRoots(dir, planned.roots), files: tree.files }))
}

/**
 * What rustc's dep-info (roots by name) says was read beyond the action itself.
 * @returns the variables for the trace, or the reason why nothing can be said about where the result holds: a file was
 *   read that is no declared input, a directory of this machine was read as text (it can be computed with and leave no trace
 *   in the outputs), or a variable that looks like a secret
 */
export function readsOf(
  depInfoText: string,
  action: Action,
  trees: readonly DeclaredTree[],
): Trace['env'] | Unshareable {
  let depInfo: DepInfo
  try {
    depInfo = parseDepInfo(depInfoText)
  } catch (error) {
    if (codeOf(error) === 'ERR_DECODE') return 'source-outside-package'
    throw error
  }
  const declared = declaredFiles(action.cwd, trees)
  if (!depInfo.files.every((file) => declared.has(plainPath(file)))) return 'source-outside-package'
  // OUT_DIR is exempt: nearly always it only names the files that are included from there.
  if (depInfo.env.some(([name, value]) => name !== 'OUT_DIR' && value?.includes('\0'))) return 'path-bound'
  if (depInfo.env.some(([name, value]) => value !== null && looksSecret(name))) return 'secret-in-environment'
  const given = new Map(action.env)
  return depInfo.env.filter(([name, value]) => !given.has(name) || given.get(name) !== value)
}

/** `include_str!("../README.md")` is listed as `src/../README.md`. */
function plainPath(path: string): string {
  return path.includes('..') ? posix.normalize(path) : path
}

/** Every way in which a dep-info file can name a declared input. */
function declaredFiles(cwd: string, trees: readonly DeclaredTree[]): Set<string> {
  const declared = new Set<string>()
  for (const { dir, files } of trees) {
    for (const { path } of files) {
      const full = `${dir}/${path}`
      declared.add(full)
      // rustc names files below its working directory as they were given: relative.
      if (full.startsWith(`${cwd}/`)) declared.add(full.slice(cwd.length + 1))
    }
  }
  return declared
}
