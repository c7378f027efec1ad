import { posix } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import type { Read, ReadSet, Tree } from '../plan/action.ts'
import type { Reason } from '../plan/classify.ts'
import { type DepInfo, parseDepInfo } from '../plan/dep-info.ts'
import { holdsPassword, looksSecret, secretValues } from '../plan/environment.ts'
import { workingDirectory } from '../plan/observation.ts'
import type { PlannedAction } from '../plan/plan.ts'
import type { Look, SelectedReads } from '../plan/read-set.ts'
import { calledRoots, nameRoots, placeRoots, rootToken } from '../plan/roots.ts'
import { realOf } from '../plan/unit-roots.ts'
import { agrees } from '../plan/view.ts'
import { environmentDigest, type Ground, namePath, type Place, rootsDigest } from './evidence.ts'
import { hasSecret, ofMachine } from './script-evidence.ts'

/** Why nothing can be said about where a result holds. */
export type Unshareable = Extract<
  Reason,
  | 'unobserved'
  | 'writes-elsewhere'
  | 'uses-network'
  | 'native-library'
  | 'secret-in-environment'
  | 'source-changed'
  | 'source-outside-package'
  | 'clock'
>

/** A directory that an action may read: where it lies, roots by name, and the files in it. */
export interface DeclaredTree {
  dir: string
  files: readonly { path: string }[]
}

export interface ObservedCompile {
  selected: SelectedReads
  /** Text of the dep-info, roots by name. */
  depInfo: string
  /** OUT_DIR, which the action describes. */
  build: DeclaredTree | undefined
  /** Whatever changed after this may not be what was read: wall clock, ms. */
  since: number
  /** Whether a library that was loaded into the compiler can read the environment as a whole. */
  readsEnvironment: boolean
}

/**
 * What the compiler itself asks for and what cannot change an output: where temporary files go, how messages look, what
 * helps its developers, where programs are (each program that ran is noted by itself).
 */
export const harmless =
  /^(PATH|TERM|COLORTERM|NO_COLOR|FORCE_COLOR|CLICOLOR\w*|COLUMNS|LINES|TMPDIR|TMP|TEMP|TEMPDIR|LANG|LANGUAGE|LC_\w+|LOCPATH|NLSPATH|POSIXLY_CORRECT|CARGO_MAKEFLAGS|MAKEFLAGS|MFLAGS|CI|RUST_BACKTRACE|RUST_LIB_BACKTRACE|RUST_MIN_STACK|RUSTC_ICE|RUSTC_LOG\w*|RUST_LOG\w*|RUSTC_CTFE_BACKTRACE|RUSTC_GRAPHVIZ_FONT|LD_PRELOAD|COLLECT_\w+|SHOAL\w*|GCC_COLORS|GCC_URLS|TERM_URLS|MALLOC_\w+|GLIBC_TUNABLES|_RJEM_MALLOC_CONF|MALLOC_CONF|CARGO_TERM_\w+)$/

/** The read set of a compile that was observed; the reason when it must not be kept. */
export async function readSetOf(observed: ObservedCompile, place: Place): Promise<ReadSet | Unshareable> {
  const { selected, since } = observed
  if (selected.problem !== undefined) return selected.problem
  // Each machine is called otherwise, and so is a sandbox.
  if (Object.values(ofMachine).some((name) => selected.variables.has(name))) return 'unobserved'
  if (selected.temporary.some((path) => place.view.what(path, since)?.kind !== 'absent')) return 'writes-elsewhere'
  const depInfo = readDepInfo(observed.depInfo)
  if (depInfo === undefined) return 'unobserved'

  const reads = await readsNamed(selected.looks, place, since)
  if (reads === undefined) return 'source-changed'
  if (!seesAll(depInfo, reads, observed.build, place)) return 'unobserved'
  if (observed.readsEnvironment) reads.push(['environ', '', environmentDigest(place)])
  const variables = new Map([...observedVariables(selected, place), ...depInfo.env])
  // Who is told the digest of an environment, and knows the rest of it, can try what a secret in it may be.
  const isTelling = observed.readsEnvironment && hasSecret(place.env)
  const knows = { place: isTelling || knowsItsPlace(selected, place), secrets: secretValues(place.env) }
  return finish(reads, variables, depInfo, place, knows)
}

/** What was looked at, as it is here; undefined when some of it changed after `since`. */
export async function readsNamed(looks: readonly Look[], place: Ground, since: number): Promise<Read[] | undefined> {
  const named = new Map<string, Read>()
  for (const look of looks) {
    const some = await readsOf(look, place, since)
    if (some === 'changed') return undefined
    for (const read of some) named.set(`${read[0]} ${read[1]}`, read)
  }
  return place.view.moved?.(pathsOf(looks), since) ? undefined : [...named.values()]
}

/** By path, and by kind where several were asked of one. */
export function sortedReads(reads: Read[]): Read[] {
  return reads.sort((a, b) => (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : a[0] < b[0] ? -1 : 1))
}

/**
 * The read set of a compile that could not be observed, as rustc's dep-info tells it: the package as a whole.
 * @param trees the package and OUT_DIR, and what else may be read
 * @param more what `inputReads` found besides
 */
export function declaredReadSet(
  depInfoText: string,
  packageTree: Read,
  trees: readonly DeclaredTree[],
  place: Pick<Place, 'action' | 'roots'>,
  more: readonly Read[] = [],
): ReadSet | Unshareable {
  const depInfo = readDepInfo(depInfoText)
  if (depInfo === undefined) return 'unobserved'
  const declared = new Set(trees.flatMap(({ dir, files }) => files.map(({ path }) => `${dir}/${path}`)))
  const inside = depInfo.files.every((file) => declared.has(fullPath(file, place)))
  if (!inside) return 'source-outside-package'
  const reads = new Map([packageTree, ...more].map((read) => [`${read[0]} ${read[1]}`, read]))
  return finish([...reads.values()], new Map(depInfo.env), depInfo, place)
}

/** What a package declares as an input besides its directory, as it is here. */
export interface InputReads {
  reads: Read[]
  /** Where the dep-info may lead. */
  trees: DeclaredTree[]
}

/**
 * Looks at what a package declares as its inputs.
 * @param paths absolute
 * @param since as in `ObservedCompile`
 * @param treeOf a directory as a whole
 */
export async function inputReads(
  paths: readonly string[],
  { depInfo: text, since }: Pick<ObservedCompile, 'depInfo' | 'since'>,
  place: Place,
  treeOf: (dir: string) => Promise<{ cid: CID; tree: Tree }>,
): Promise<InputReads | Unshareable> {
  const reads: Read[] = []
  const trees: DeclaredTree[] = []
  const looked = [...paths]
  for (const path of paths) {
    const name = nameRoots(path, place.roots)
    const what = place.view.what(path, since)
    if (what === undefined) return 'source-outside-package'
    if (what.kind === 'absent') {
      reads.push(['absent', name, null])
    } else if (what.kind === 'file') {
      const some = await readsOf({ kind: 'file', path }, place, since)
      if (some === 'changed') return 'source-changed'
      reads.push(...some)
      const twin = moduleTwin(path)
      if (twin !== undefined && place.view.what(twin, since)?.kind === 'absent') {
        reads.push(['absent', nameRoots(twin, place.roots), null])
      }
      trees.push({ dir: posix.dirname(name), files: [{ path: posix.basename(name) }] })
    } else {
      const { cid, tree } = await treeOf(path)
      if (tree.files.some((file) => place.view.what(`${path}/${file.path}`, since)?.changed !== false)) {
        return 'source-changed'
      }
      reads.push(['tree', name, cid])
      trees.push({ dir: name, files: tree.files })
    }
  }
  // Where a directory on the way is a link, `..` leads elsewhere: what was read is the file by the name that it was read by.
  const allowed = new Set(trees.flatMap(({ dir, files }) => files.map((file) => `${dir}/${file.path}`)))
  for (const file of readDepInfo(text)?.files ?? []) {
    if (!file.split('/').includes('..') || !allowed.has(fullPath(file, place))) continue
    const path = placeRoots(isRooted(file) ? file : `${place.action.cwd}/${file}`, place.roots)
    const some = await readsOf({ kind: 'file', path }, place, since)
    if (some === 'changed') return 'source-changed'
    looked.push(path)
    reads.push(...some)
  }
  return place.view.moved?.(looked, since) ? 'source-changed' : { reads, trees }
}

/** The other file in which the module of a source may lie: with both there, rustc refuses to choose. */
function moduleTwin(path: string): string | undefined {
  if (path.endsWith('/mod.rs')) return `${posix.dirname(path)}.rs`
  return path.endsWith('.rs') ? `${path.slice(0, -'.rs'.length)}/mod.rs` : undefined
}

function finish(
  reads: Read[],
  variables: Map<string, string | null>,
  depInfo: DepInfo,
  place: Pick<Place, 'action' | 'roots'>,
  knows: { place: boolean; secrets: readonly string[] } = { place: false, secrets: [] },
): ReadSet | Unshareable {
  // A directory that was read as text can be computed with and leave no trace in the outputs. OUT_DIR in `env!` is exempt:
  // nearly always it only names the files that are included from there, and `computesWithOutDir` tells.
  const asText = depInfo.env.some(([name, value]) => name !== 'OUT_DIR' && value?.includes('\0'))
  const bound = asText || knows.place
  if (bound) reads.push(['bound', '', rootsDigest(place)])
  const given = new Map(place.action.env)
  const env: ReadSet['env'] = []
  for (const [name, value] of variables) {
    if (given.has(name) && given.get(name) === value) continue
    if (value !== null && (looksSecret(name) || holdsPassword(value))) return 'secret-in-environment'
    if (value !== null && knows.secrets.some((secret) => value.includes(secret))) return 'secret-in-environment'
    env.push([name, value])
  }
  if (reads.some(([, name]) => holdsPassword(name))) return 'secret-in-environment'
  return { reads: sortedReads(reads), env: env.sort((a, b) => (a[0] < b[0] ? -1 : 1)) }
}

/**
 * Whether a macro learnt where things lie. What it makes of that need not hold a path, and still differ: askama's output does,
 * by 16 bytes.
 */
function knowsItsPlace({ variables }: SelectedReads, { env, roots }: Place): boolean {
  return [...variables].some(([name, { macro }]) => {
    if (!macro) return false
    const value = env.get(name)
    return name === workingDirectory || (value !== undefined && nameRoots(value, roots).includes('\0'))
  })
}

/** Where something was looked at that can be other than what it is now. */
function pathsOf(looks: readonly Look[]): string[] {
  const seen = looks.map(({ kind, path, otherwise }) => (kind === 'program' ? otherwise : { kind, path }))
  return seen.flatMap((look) => (look === undefined || look.kind === 'link' ? [] : look.path))
}

async function readsOf(look: Look, place: Ground, since: number): Promise<Read[] | 'changed'> {
  const { path } = look
  let { kind } = look
  if (kind === 'program') return await readsOfProgram(look, place, since)
  // A link is its text, wherever it leads.
  if (kind !== 'link') {
    const what = place.view.what(path, since)
    // A pipe, a socket or a device: what it gives, and whether it is there, has no name.
    if (what === undefined) return 'changed'
    // What was absent and is there now, or the other way round, came or went meanwhile.
    if ((kind === 'absent') !== (what.kind === 'absent')) return 'changed'
    if (what.changed && (what.kind === 'file' || kind === 'list')) return 'changed'
    if (kind === 'stat') kind = what.kind
  }
  const seen = await place.view.see(kind, path)
  return seen === undefined ? 'changed' : [[kind, namePath(path, place), seen === 'there' ? null : seen]]
}

/**
 * A program holds wherever its name leads to the same content. What was looked for by a path in a directory of PATH can also
 * be no program at all, or one that another directory hides: then the path is what counts.
 */
async function readsOfProgram(
  { path, otherwise, isNowhere }: Look,
  place: Ground,
  since: number,
): Promise<Read[] | 'changed'> {
  const seen = await place.view.see('program', path)
  // It came meanwhile.
  if (isNowhere && seen !== undefined) return 'changed'
  const program: Read = ['program', path, seen === undefined || seen === 'there' ? null : seen]
  if (otherwise === undefined) return [program]
  if (seen !== undefined) {
    const searched = otherwise.kind === 'absent' || agrees(await place.view.see('file', otherwise.path), program)
    return searched ? [program] : await readsOf(otherwise, place, since)
  }
  const reads = await readsOf(otherwise, place, since)
  return reads === 'changed' ? reads : [program, ...reads]
}

function* observedVariables({ variables }: SelectedReads, { env, roots }: Place): Generator<[string, string | null]> {
  for (const [name, { macro }] of variables) {
    if (name === workingDirectory || (!macro && harmless.test(name))) continue
    const value = env.get(name)
    yield [name, value === undefined ? null : nameRoots(value, calledRoots(roots))]
  }
}

function readDepInfo(text: string): DepInfo | undefined {
  try {
    return parseDepInfo(text)
  } catch (error) {
    if (codeOf(error) === 'ERR_DECODE') return undefined
    throw error
  }
}

/**
 * Whether a trace speaks of every file and variable that its result's dep-info names: one that does not would hold anywhere, or have cargo miss
 * something and make the unit anew each time.
 */
export function tellsOfSources(
  depInfoText: string,
  { reads, env }: ReadSet,
  planned: Pick<PlannedAction, 'action' | 'build'>,
  place: Place,
): boolean {
  const depInfo = readDepInfo(depInfoText)
  if (depInfo === undefined) return false
  const build = planned.build && { dir: rootToken('build'), files: planned.build.tree.files }
  const said = new Map([...env, ...planned.action.env])
  const isSaid = ([name, value]: DepInfo['env'][number]): boolean =>
    said.get(name) === value || env.some((each) => each[0] === name && each[1] === value)
  return depInfo.env.every(isSaid) && seesAll(depInfo, reads, build, place) && !leadsAstray(depInfo, reads, place)
}

/** Whether a name leads back out of a linked directory, and so to another file than it reads like, which the trace does not speak of. */
function leadsAstray({ files }: DepInfo, reads: readonly Read[], { action, roots }: Place): boolean {
  const named = new Set(reads.map(([, name]) => name))
  return files.some((file) => {
    if (!file.split('/').includes('..')) return false
    const name = isRooted(file) ? file : `${action.cwd}/${file}`
    const path = placeRoots(name, roots)
    return !named.has(name) && realOf(posix.dirname(path)) !== realOf(posix.dirname(posix.normalize(path)))
  })
}

/** What a dep-info names, roots by name. */
export interface DepInfoNames {
  /** Files, but for what OUT_DIR holds. */
  sources: string[]
  variables: string[]
  /** Those of the variables whose value the action does not say. */
  unsaid: string[]
}

/** Nothing when it has no rule, or several that differ. */
export function namesIn(depInfoText: string, { action }: Pick<Place, 'action'>): DepInfoNames {
  const { files, env } = readDepInfo(depInfoText) ?? { files: [], env: [] }
  const paths = files.map((file) => fullPath(file, { action }))
  const given = new Map(action.env)
  return {
    sources: paths.filter((path) => !path.startsWith(`${rootToken('build')}/`)),
    variables: env.map(([name]) => name),
    unsaid: env.filter(([name, value]) => given.get(name) !== value).map(([name]) => name),
  }
}

/** Whether a read set names a file, in whatever way: itself, or as part of a directory. */
export function namesFile(reads: readonly Read[]): (path: string) => boolean {
  const seen = new Set(reads.map(([, name]) => posix.normalize(name)))
  const trees = reads.flatMap(([kind, name]) => (kind === 'tree' ? [`${posix.normalize(name)}/`] : []))
  return (path) => {
    const plain = posix.normalize(path)
    return seen.has(plain) || trees.some((dir) => plain.startsWith(dir))
  }
}

/** Whether the observer saw every file that rustc says it read. */
function seesAll(depInfo: DepInfo, reads: readonly Read[], build: DeclaredTree | undefined, place: Place): boolean {
  // What was not there, or was listed, is no source.
  const isNamed = namesFile(reads.filter(([kind]) => kind === 'file' || kind === 'tree'))
  const generated = rootToken('build')
  return depInfo.files.every((file) => {
    const path = fullPath(file, place)
    if (path.startsWith(`${generated}/`))
      return build?.files.some((each) => `${build.dir}/${each.path}` === path) === true
    return isNamed(path)
  })
}

/** rustc names files below its working directory as they were given: relative. `..` is left in. */
function fullPath(file: string, { action }: { action: Pick<Place['action'], 'cwd'> }): string {
  return posix.normalize(isRooted(file) ? file : `${action.cwd}/${file}`)
}

const isRooted = (file: string): boolean => file.startsWith('/') || file.startsWith('\0')
