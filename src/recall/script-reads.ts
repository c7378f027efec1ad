import { codeOf } from '../base/errors.ts'
import type { ReadSet } from '../plan/action.ts'
import type { Reason } from '../plan/classify.ts'
import { readDynamic } from '../plan/elf.ts'
import { holdsPassword, looksSecret } from '../plan/environment.ts'
import { type Observation, workingDirectory } from '../plan/observation.ts'
import { callsKernelItself } from '../plan/raw-calls.ts'
import { isWithin, type ReadScope, selectReads } from '../plan/read-set.ts'
import { calledRoots, nameRoots } from '../plan/roots.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import { type Ground, ofSession, rootsDigest, sessionDigest } from './evidence.ts'
import { harmless, readsNamed, sortedReads } from './read-set.ts'

export interface ObservedScript {
  events: readonly Observation[]
  scope: ReadScope
  /** Whatever changed after this may not be what was read: wall clock, ms. */
  since: number
  /** Names of roots whose paths are in what it left: it holds only where these lie as they do here. */
  boundTo: readonly string[]
}

/** Asked by the standard library of every program, or by the jobserver: not what a script makes something of. */
const ofEveryProgram =
  /^(SHOAL\w*|LD_PRELOAD|RUST_BACKTRACE|RUST_LIB_BACKTRACE|RUST_MIN_STACK|CARGO_MAKEFLAGS|MAKEFLAGS|MFLAGS|MALLOC_\w+|GLIBC_TUNABLES)$/

/** Programs that were not made by a cargo of this user's. */
const ofSystem = /^\/(usr|bin|sbin|lib|lib64|nix\/store|gnu\/store)\//

/** What a run of a build script looked at; the reason when it must not be kept. */
export async function readSetOfScript(
  { action, toolchain, roots }: PlannedScript,
  { events, scope, since, boundTo }: ObservedScript,
  place: Ground,
): Promise<ReadSet | Reason> {
  if (events.some(({ kind }) => kind === 'clock')) return 'clock'
  if (events.some(({ kind }) => kind === 'random')) return 'randomness'
  const selected = selectReads(events, scope)
  if (selected.problem !== undefined) return selected.problem
  if (selected.temporary.some((path) => place.view.what(path, since)?.kind !== 'absent')) return 'writes-elsewhere'
  // What a compiler loads when it starts is not noted, and known of the toolchain alone.
  for (const path of selected.programs) {
    if (isWithin(path, toolchain.sysroot)) continue
    if (await isCompiler(path)) return 'other-compiler'
    if (!ofSystem.test(path) && (await callsKernelItself(path))) return 'unobserved'
  }

  const reads = await readsNamed(selected.looks, place, since)
  if (reads === undefined) return 'source-changed'
  // Any program that is no tool can look at all variables without asking for one.
  reads.push(['environ', ofSession, sessionDigest(place)])
  if (boundTo.length > 0) {
    const names = [...boundTo].sort().join(',')
    reads.push(['bound', names, rootsDigest(place, names)])
  }
  const given = new Map(action.env)
  const env: ReadSet['env'] = []
  for (const [name, { macro: byScript }] of selected.variables) {
    if (name === workingDirectory || ofEveryProgram.test(name) || (!byScript && harmless.test(name))) continue
    const text = place.env.get(name)
    const value = text === undefined ? null : nameRoots(text, calledRoots(roots))
    if (given.has(name) && given.get(name) === value) continue
    if (value !== null && (looksSecret(name) || holdsPassword(value))) return 'secret-in-environment'
    env.push([name, value])
  }
  if (reads.some(([, name]) => holdsPassword(name))) return 'secret-in-environment'
  return { reads: sortedReads(reads), env: env.sort((a, b) => (a[0] < b[0] ? -1 : 1)) }
}

/** Whatever it is called. A proxy of rustup's is none: it becomes one. */
async function isCompiler(path: string): Promise<boolean> {
  try {
    return (await readDynamic(path))?.needed.some((name) => name.startsWith('librustc_driver')) === true
  } catch (error) {
    // Gone, or no program that anybody understands.
    if (codeOf(error) === undefined) throw error
    return true
  }
}
