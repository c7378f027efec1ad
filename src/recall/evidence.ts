import { join, normalize } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { type Action, decodeTrace, type Read, type ReadSet, type Result, type Trace } from '../plan/action.ts'
import { mathLibrary } from '../plan/observation.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { calledRoots, nameRootOf, nameRoots, placeRoots, type Root, rootToken } from '../plan/roots.ts'
import { agrees, type View } from '../plan/view.ts'
import { placeReadHere } from './run-place.ts'
import {
  digestOfLines,
  ofSession,
  ofShells,
  ofTimes,
  sessionDigest,
  shellsDigest,
  sortsDigest,
  timesDigest,
} from './script-evidence.ts'

/** Where a trace is held against what is there. */
export interface Place {
  action: Action
  roots: readonly Root[]
  /** Where the root `deps` is: any of these. */
  dependencyDirs: readonly string[]
  env: ReadonlyMap<string, string>
  view: View
  /** A directory as a whole; undefined when it cannot be digested. */
  tree(dir: string): Promise<CID | undefined>
}

/** What it takes to look at things there: all but the action. */
export type Ground = Omit<Place, 'action'>

/** The first thing in which a trace and a place differ. */
export interface Difference {
  kind: Read[0] | 'variable'
  /** Path with roots by name, or the name of a variable or program. */
  name: string
  /** As text, for people; null: absent. */
  recorded: string | null
  here: string | null
}

/** The place of an invocation on this machine; `math` as `mathematics` names it. */
export function placeOf(
  planned: PlannedAction,
  env: ReadonlyMap<string, string>,
  { view, tree, math }: Pick<Place, 'view' | 'tree'> & { math: string },
): Place {
  const { action, roots, dependencyDirs } = planned
  // The user can have libm take the processor for another one.
  const tuned = [math, env.get('GLIBC_TUNABLES') ?? ''].join(' ').trim()
  return { action, roots, dependencyDirs, env: new Map([...env, [mathLibrary, tuned]]), view, tree }
}

/**
 * Holds what a compile looked at against what it would see here and now.
 * @returns undefined when all of it is the same: then it would come out the same
 */
export async function firstDifference({ reads, env }: ReadSet, place: Ground): Promise<Difference | undefined> {
  for (const [name, recorded] of env) {
    const value = place.env.get(name)
    const here = value === undefined ? null : nameRoots(value, calledRoots(place.roots))
    if (here !== recorded) return { kind: 'variable', name, recorded, here }
  }
  for (const read of reads) {
    const difference = await differenceOf(read, reads, place)
    if (difference !== undefined) return difference
  }
  return undefined
}

async function differenceOf(read: Read, all: readonly Read[], place: Ground): Promise<Difference | undefined> {
  const [kind, name, recorded] = read
  const text = (cid: CID | null | undefined): string | null => cid?.toString() ?? null
  if (kind === 'environ' || kind === 'bound' || kind === 'tree' || kind === 'sorts' || kind === 'place') {
    const here = kind === 'sorts' ? sortsAt(name, all, place) : await digestAt(kind, name, place)
    return here !== undefined && recorded?.equals(here)
      ? undefined
      : { kind, name, recorded: text(recorded), here: text(here) }
  }
  for (const path of pathsOf(name, place)) {
    const looked = place.view.see(kind, path)
    const seen = looked instanceof Promise ? await looked : looked
    if (agrees(seen, read)) return undefined
    if (seen !== undefined)
      return { kind, name, recorded: text(recorded), here: seen === 'there' ? 'there' : text(seen) }
  }
  return {
    kind,
    name,
    recorded: kind === 'absent' ? null : (text(recorded) ?? 'there'),
    here: kind === 'absent' ? 'there' : null,
  }
}

const sortsAt = (name: string, all: readonly Read[], place: Ground): CID =>
  name === ofTimes ? timesDigest(all, place) : sortsDigest(all, place)

async function digestAt(
  kind: 'environ' | 'bound' | 'tree' | 'place',
  name: string,
  place: Ground,
): Promise<CID | undefined> {
  if (kind === 'environ' && name === ofSession) return sessionDigest(place)
  if (kind === 'environ') return name === ofShells ? shellsDigest(place) : environmentDigest(place)
  if (kind === 'bound') return rootsDigest(place, name)
  if (kind === 'place') return placeReadHere(name, place.roots)
  return await place.tree(placeRoots(name, place.roots))
}

const inDeps = `${rootToken('deps')}/`

/** Where a named path may lie here; nothing when its root is not known. */
export function pathsOf(name: string, { roots, dependencyDirs }: Ground): string[] {
  if (name.startsWith(inDeps)) return dependencyDirs.map((dir) => join(dir, name.slice(inDeps.length)))
  const path = placeRoots(name, roots)
  return path.includes('\0') ? [] : [path]
}

/** A path with roots by name; what lies in a directory of crates is under `deps`. */
export function namePath(path: string, { roots, dependencyDirs }: Pick<Ground, 'roots' | 'dependencyDirs'>): string {
  const plain = normalize(path)
  const directory = dependencyDirs.find((dir) => plain.startsWith(`${dir}/`))
  return directory === undefined ? nameRootOf(path, roots) : inDeps + plain.slice(directory.length + 1)
}

/** Variables that differ from one shell or one unit to the next. */
const volatile =
  /^(PWD|OLDPWD|SHLVL|_|TERM\w*|COLORTERM|WINDOWID|COLUMNS|LINES|SSH_\w+|XDG_SESSION\w*|CARGO_MAKEFLAGS|MAKEFLAGS|MFLAGS|RUSTC_WRAPPER|SHOAL\w*|LD_PRELOAD|libm\(\))$/

/** The environment as a whole, roots by name, but for what changes with every shell. */
export function environmentOf({ env, roots }: Pick<Place, 'env' | 'roots'>): [string, string][] {
  const called = calledRoots(roots)
  return [...env].filter(([name]) => !volatile.test(name)).map(([name, value]) => [name, nameRoots(value, called)])
}

/** Of the environment as a whole. */
export function environmentDigest(place: Pick<Place, 'env' | 'roots'>): CID {
  return digestOfLines(environmentOf(place).map(([name, value]) => `${name}=${value}`))
}

/** Of where everything lies. @param names of roots, with commas between them; '' for all */
export function rootsDigest({ roots }: Pick<Place, 'roots'>, names = ''): CID {
  const wanted = names === '' ? undefined : new Set(names.split(','))
  const counted = roots.filter(({ name }) => wanted === undefined || wanted.has(name))
  return digestOfLines(counted.map(({ name, path }) => `${name}=${path}`))
}

/** Whether a result holds for one place only, because it has paths of that place in it. */
export const isBound = ({ reads }: Pick<ReadSet, 'reads'>): boolean => reads.some(([kind]) => kind === 'bound')

/** A result found to hold for its place only. */
export function bindTo(set: ReadSet, place: Place): ReadSet {
  if (set.reads.some(([kind]) => kind === 'bound')) return set
  return { ...set, reads: [['bound', '', rootsDigest(place)], ...set.reads] }
}

const ofAProcess = /^\/(proc|sys|dev)(\/|$)/

/**
 * Whether a trace that a peer gave can be held against this machine: not one for its own place, and none that would have
 * this machine read what has no end or is no file.
 */
export function isForOthers(set: Pick<ReadSet, 'reads'>): boolean {
  return set.reads.every(([kind, name]) => {
    // What a run of a build script is compared by stays here.
    if (kind === 'bound' || kind === 'sorts' || kind === 'place') return false
    return kind === 'tree' ? name.startsWith('\0') : !ofAProcess.test(normalize(name))
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
export function answers(result: Result, planned: Pick<PlannedAction, 'key' | 'action'>): boolean {
  if (!result.action.equals(planned.key)) return false
  const declared = planned.action.outputs.filter(([, kind]) => kind !== 'dep-info')
  if (declared.length !== result.outputs.length) return false
  return declared.every(([name, kind]) => result.outputs.some((output) => output.name === name && output.kind === kind))
}
