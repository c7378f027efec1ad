import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { codeOf } from '../base/errors.ts'
import type { Read, ReadSet } from '../plan/action.ts'
import type { Reason } from '../plan/classify.ts'
import { readDynamic } from '../plan/elf.ts'
import { holdsPassword, looksSecret } from '../plan/environment.ts'
import { linksOnTheWay } from '../plan/links.ts'
import { type Observation, placeOfOpened, workingDirectory } from '../plan/observation.ts'
import { callsKernelItself } from '../plan/raw-calls.ts'
import { isWithin, type Look, type ReadScope, type SelectedReads, selectReads } from '../plan/read-set.ts'
import { calledRoots, nameRoots, placeRoots } from '../plan/roots.ts'
import { boundByLook, ownPlace } from '../plan/script-place.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import { type Ground, rootsDigest } from './evidence.ts'
import { harmless, readsNamed, sortedReads } from './read-set.ts'
import { placeReads } from './run-place.ts'
import {
  ofSession,
  ofShells,
  ofTimes,
  sessionDigest,
  shellsDigest,
  shimName,
  sortsDigest,
  timeAt,
  timesDigest,
} from './script-evidence.ts'

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
  /^(SHOAL\w*|RUST_BACKTRACE|RUST_LIB_BACKTRACE|RUST_MIN_STACK|CARGO_MAKEFLAGS|MALLOC_\w+|GLIBC_TUNABLES)$/

/** Programs that were not made by a cargo of this user's. */
const isOfSystem = /^\/(usr|bin|sbin|lib|lib64|nix\/store|gnu\/store)\//

/** Programs of everybody's that ask for each variable that they obey, by names that the observer takes for tools, too. */
const isTool =
  /^(rustc|clippy-driver|rustdoc|rust-lld|pkg-config|pkgconf|(llvm-|(\w[\w.]*-){2,})?(cc|gcc|g\+\+|c\+\+|cpp|cc1|cc1plus|clang|clang\+\+|clang-cpp|ld|ld\.\w+|lld|ld64|mold|collect2|as|ar|strip|nm|ranlib|objcopy|lto-wrapper|lto1)(-[\d.]+)?)$/

/** What the kernel says of a machine and its processes at the moment. */
const ofTheMoment = /^\/proc(\/|$)/
/** Whoever sits there can answer otherwise. */
const isTerminal = /^\/dev\/(tty$|pts\/|console$)/
const ofOtherProcess = /^\/proc\/\d+\//

/** What a run of a build script looked at; the reason when it must not be kept. */
export async function readSetOfScript(
  { action, toolchain, roots, call }: PlannedScript,
  { events, scope, since, boundTo }: ObservedScript,
  place: Ground,
): Promise<ReadSet | Reason> {
  if (events.some(({ kind }) => kind === 'clock')) return 'clock'
  if (events.some(({ kind }) => kind === 'random')) return 'randomness'
  const opened = events.filter(({ kind, errno }) => errno === 0 && (kind === 'open' || kind === 'stat'))
  if (opened.some(({ kind, path }) => kind === 'open' && isTerminal.test(path))) return 'source-changed'
  if (opened.some(({ path }) => ofOtherProcess.test(path))) return 'unobserved'
  const selected = selectReads(events, scope)
  // Wherever the shim lies, it becomes rustc: that it is what stands before that says the variable.
  if (place.env.get('RUSTC_WRAPPER') === shimName)
    selected.looks = selected.looks.filter(({ path }) => path !== call.env.get('RUSTC_WRAPPER'))
  if (selected.variables.has(placeOfOpened)) selected.looks.push(...linksOf(events, scope))
  if (selected.looks.some(({ kind, path }) => kind !== 'absent' && kind !== 'program' && ofTheMoment.test(path)))
    return 'source-changed'
  if (selected.problem !== undefined) return selected.problem
  if (selected.temporary.some((path) => place.view.what(path, since)?.kind !== 'absent')) return 'writes-elsewhere'
  // What a compiler loads when it starts is not noted, and known of the toolchain alone.
  for (const path of selected.programs) {
    if (isWithin(path, toolchain.sysroot) || wasTried(path, scope)) continue
    if (await isCompiler(path)) return 'other-compiler'
    if (!isOfSystem.test(path) && !namesModule(path, call) && (await callsKernelItself(path))) return 'unobserved'
  }

  const reads = await readsNamed(selected.looks, place, since)
  if (reads === undefined) return 'source-changed'
  // Times are not looked at of what is called like a tool, so it must be one.
  const isMadeHere = (path: string): boolean => isOwn(path, scope) && !isWithin(path, toolchain.sysroot)
  if (selected.programs.some((path) => isTool.test(basename(path)) && isMadeHere(path))) return 'unobserved'
  reads.push(['sorts', '', sortsDigest(reads, place)])
  reads.push(...placeReads(roots))
  const shells = startsShells(selected, call.program)
  reads.push(['environ', shells ? ofShells : ofSession, shells ? shellsDigest(place) : sessionDigest(place)])
  const { env: variables } = call
  // Whoever looks for what stands before rustc has asked where that lies.
  const isNear = ({ kind, path }: Look): boolean => kind !== 'program' && path !== variables.get('RUSTC_WRAPPER')
  const home = variables.get('HOME') ?? ''
  const near = selected.looks.filter(isNear).flatMap(({ path }) => boundByLook(path, roots, home))
  const bound = new Set<string>([...boundTo, ...ownPlace(roots), ...near])
  if (bound.size > 0) {
    const names = [...bound].sort().join(',')
    reads.push(['bound', names, rootsDigest(place, names)])
  }
  const given = new Map(action.env)
  const env: ReadSet['env'] = []
  for (const [name, { macro: byScript }] of selected.variables) {
    if (
      name === workingDirectory ||
      name === placeOfOpened ||
      ofEveryProgram.test(name) ||
      (!byScript && harmless.test(name))
    )
      continue
    const text = place.env.get(name)
    const value = text === undefined ? null : nameRoots(text, calledRoots(roots))
    if (given.has(name) && given.get(name) === value) continue
    if (value !== null && (looksSecret(name) || holdsPassword(value))) return 'secret-in-environment'
    env.push([name, value])
  }
  if (reads.some(([, name]) => holdsPassword(name))) return 'secret-in-environment'
  return { reads: sortedReads(reads), env: env.sort((a, b) => (a[0] < b[0] ? -1 : 1)) }
}

/** The links on the way of all that was opened: where it lies was asked of the kernel, and by which path it was opened is not known then. */
function linksOf(events: readonly Observation[], { products }: ReadScope): Look[] {
  const isOpened = ({ kind, errno, path }: Observation): boolean =>
    errno === 0 && (kind === 'open' || kind === 'list' || kind === 'attach') && path.startsWith('/')
  const paths = events.filter(isOpened).map(({ path }) => path)
  const isElsewhere = (path: string): boolean => !products.some((dir) => isWithin(path, dir))
  const links = linksOnTheWay(paths.filter((path) => !/^\/(proc|sys|dev)\//.test(path)))
  return links.filter(isElsewhere).map((path) => ({ kind: 'link', path }))
}

/** A program that the run has made, to see whether it works, and removed. */
const wasTried = (path: string, { products, temporary }: ReadScope): boolean =>
  [...products, ...temporary].some((dir) => isWithin(path, dir)) && !existsSync(path)

/** The script of rustix itself looks for its own module that asks the kernel, and has nothing of it. */
const namesModule = (path: string, { program, env }: PlannedScript['call']): boolean =>
  path === program && env.get('CARGO_PKG_NAME') === 'rustix'

/** The same read set bound to times, if a script has given one that its inputs have to what it left (`cp -p`). */
export function withTimes(
  set: ReadSet,
  left: Iterable<{ mtime: number | null }>,
  place: Pick<Ground, 'roots'>,
): ReadSet {
  const given = new Set([...left].flatMap(({ mtime }) => mtime ?? []))
  if (given.size === 0) return set
  const { roots } = place
  const hasGiven = ([kind, name]: Read): boolean => kind === 'file' && given.has(timeAt(placeRoots(name, roots)) ?? -1)
  if (!set.reads.some(hasGiven)) return set
  return { ...set, reads: sortedReads([...set.reads, ['sorts', ofTimes, timesDigest(set.reads, place)]]) }
}

/** Whether anything but the script and tools ran: shells, make, cmake and interpreters take in all variables when they start. */
function startsShells({ programs }: SelectedReads, script: string): boolean {
  return programs.some((path) => path !== script && !isTool.test(basename(path)))
}

const isOwn = (path: string, { products, owned }: ReadScope): boolean =>
  [...products, ...owned].some((dir) => isWithin(path, dir))

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
