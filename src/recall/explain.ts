import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import { CID } from 'multiformats/cid'
import type { Tree } from '../plan/action.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { rootToken } from '../plan/roots.ts'
import { type Cause, type CauseKind, cause, shortDigest, shownDigits } from './cause.ts'
import type { Difference } from './evidence.ts'
import { derivedOptions, explainOptions } from './explain-options.ts'
import { ofTimes } from './script-evidence.ts'
import type { Circumstances, Sketch, SketchedEnvironment } from './sketch.ts'

/** A directory as it was recorded and as it is here, as far as either is known. */
export interface KnownTrees {
  recorded: Tree | undefined
  here: Tree | undefined
}

/** As many as are worth showing, and worth keeping for every unit of every build. */
export const maxCauses = 8

/**
 * Units with one subject are the same thing in different states: hex sha2-256 of what does not change when somebody edits,
 * tunes or updates it.
 */
export function subjectOf({ kind, action }: Pick<PlannedAction, 'kind' | 'action'>): string {
  const makes = action.outputs.map(([, output]) => output)
  const driven = action.driver !== null
  const package_ = variableOf(action, 'CARGO_PKG_NAME')
  const subject = JSON.stringify([action.crate, kind, action.target, package_, sourceOf(action), makes, driven])
  return createHash('sha256').update(subject).digest('hex')
}

type Compiled = Pick<Sketch, 'argv' | 'env' | 'cwd'>

const variableOf = ({ env }: Pick<Sketch, 'env'>, name: string): string =>
  env.find(([known]) => known === name)?.[1] ?? ''

/** The source file of a target below its package: a package can have several targets of one name. */
function sourceOf(action: Compiled): string {
  const source = action.argv.at(-1) ?? ''
  const full = /^[\0/]/.test(source) ? source : `${action.cwd}/${source}`
  const dir = `${variableOf(action, 'CARGO_MANIFEST_DIR')}/`
  return full.startsWith(dir) ? full.slice(dir.length) : full
}

/** Nobody has seen a unit like it. */
export const firstTime = (crate: string): Cause => cause('first-time', crate, null, null)

/** The very same was made before, and its result is not here. */
export const notKept = (crate: string): Cause => cause('result', crate, 'made', 'not kept')

/** What is kept of an action to compare others with it. */
export interface Remembered {
  sketch: Sketch
  circumstances?: Circumstances | undefined
}

/**
 * In what two actions of one subject differ, the likeliest root of it all first. Empty when they are the same.
 * @param outDirs asked for when these differ
 * @throws ShoalError ERR_UNSUPPORTED for an action whose arguments no plan would have made
 */
export function explainAction(before: Remembered, now: Remembered, outDirs?: () => KnownTrees): Cause[] {
  const newer = now.sketch
  const version = explainVersion(before.sketch, newer)
  const older = version === undefined ? before.sketch : asVersion(before.sketch, newer)
  const causes: Cause[] = []
  const compare = (what: CauseKind, name: string, recorded: string | null, here: string | null, to = causes): void => {
    if (recorded !== here) to.push(cause(what, name, recorded, here))
  }
  compare('mesh', 'mesh', older.salt, newer.salt)
  if (older.toolchain !== newer.toolchain) compare('toolchain', 'toolchain', toolchainText(before), toolchainText(now))
  compare('target', 'target', older.target, newer.target)
  compare('driver', 'compiler driver', short(older.driver), short(newer.driver))
  if (version !== undefined) causes.push(version)
  const options = explainOptions(older, newer)
  const dependencies = explainDependencies(older, newer)
  if (options.causes.some(isOfProfile)) causes.push(...explainProfile(before.circumstances, now.circumstances))
  causes.push(...options.causes, ...explainPairs('variable', older.env, newer.env))
  causes.push(...explainOutDir(older, newer, outDirs), ...dependencies.causes)
  compare('cwd', 'working directory', older.cwd, newer.cwd)
  if (causes.length > 0) return causes
  // What follows from something else, when the actions do not say from what: the names that cargo makes up last.
  if (options.consequences.some(isMadeUp)) causes.push(...explainNames(before.circumstances, now.circumstances))
  causes.push(...dependencies.consequences)
  compare('remap', 'remapped paths', pairsText(older.remaps), pairsText(newer.remaps))
  const madeUp = options.consequences.filter(isMadeUp)
  causes.push(...options.consequences.filter((each) => !isMadeUp(each)), ...madeUp.slice(0, 1))
  if (madeUp.length === 0) compare('output', 'outputs', pairsText(older.outputs), pairsText(newer.outputs))
  return causes
}

/** One of them says it all: they are made from the same, and files are called after them. */
const isMadeUp = ({ what, name }: Cause): boolean => what === 'codegen' && derivedOptions.has(name)

/** Why cargo may have given a unit other names, as far as it can be seen. */
function explainNames(before: Circumstances | undefined, now: Circumstances | undefined): Cause[] {
  if (before === undefined || now === undefined) return []
  const causes = explainProfile(before, now)
  if (before.directory !== now.directory) causes.push(cause('place', 'package', before.directory, now.directory))
  if (before.incremental !== now.incremental) {
    const [old, is] = [before, now].map(({ incremental }) => (incremental ? 'on' : null))
    causes.push(cause('option', 'incremental compilation', old ?? null, is ?? null))
  }
  return causes
}

/** A toolchain can change and keep its name, and have another name and be the same. */
function toolchainText({ sketch, circumstances }: Remembered): string {
  const digest = sketch.toolchain.slice(0, shownDigits)
  return circumstances === undefined ? digest : `${circumstances.toolchain} (${digest})`
}

function explainVersion(older: Sketch, newer: Sketch): Cause | undefined {
  const [before, now] = [versionOf(older), versionOf(newer)]
  if (before === '' || now === '' || before === now) return undefined
  return cause('version', variableOf(newer, 'CARGO_PKG_NAME'), before, now)
}

export const versionOf = (sketch: Pick<Sketch, 'env'>): string => variableOf(sketch, 'CARGO_PKG_VERSION')

/** As if the older one had been of the version of the newer one: what differs still is not due to that. */
function asVersion(older: Sketch, newer: Sketch): Sketch {
  const package_ = variableOf(newer, 'CARGO_PKG_NAME')
  const [before, now] = [older, newer].map((sketch) => `${package_}-${versionOf(sketch)}`)
  const renamed = (text: string): string => text.replaceAll(before ?? '', now ?? '')
  const parts = new Map(newer.env.filter(([name]) => name.startsWith('CARGO_PKG_VERSION')))
  return {
    ...older,
    argv: older.argv.map(renamed),
    env: older.env.map(([name, value]) => [name, parts.get(name) ?? renamed(value)]),
    cwd: renamed(older.cwd),
    remaps: older.remaps.map(([root, target]) => [root, renamed(target)]),
  }
}

/** What cargo's profiles are made of. */
const profileOptions = new Set(
  'opt-level debuginfo debug-assertions overflow-checks lto panic codegen-units strip embed-bitcode rpath split-debuginfo'.split(
    ' ',
  ),
)
const isOfProfile = ({ what, name }: Cause): boolean => what === 'codegen' && profileOptions.has(name)
/** What cargo calls the profiles of its own two directories. */
const profileNames: Readonly<Record<string, string>> = { debug: 'dev' }

function explainProfile(before: Circumstances | undefined, now: Circumstances | undefined): Cause[] {
  const [old, is] = [before?.profile ?? '', now?.profile ?? '']
  if (old === '' || is === '' || old === is) return []
  return [cause('profile', 'profile', profileNames[old] ?? old, profileNames[is] ?? is)]
}

/** The variables in which the environment differs from the nearest of some, by name and digest; none when none is known. */
export function explainEnvironment(before: readonly SketchedEnvironment[], now: SketchedEnvironment): Cause[] {
  return nearest(before, ({ variables }) => explainPairs('environment', variables, now.variables)) ?? []
}

/** The one thing in which a place differs from what a trace says. @param trees of a difference in a whole directory */
export function explainDifference({ kind, name, recorded, here }: Difference, trees?: KnownTrees): Cause[] {
  if (kind === 'variable') return [cause('variable', name, recorded, here)]
  if (kind === 'place') return [cause('path-bound', `where it lies (length of the path of ${name})`, recorded, here)]
  const [before, now] = [valueText(recorded), valueText(here)]
  if (kind === 'environ') return [cause('environment', 'the environment as a whole', before, now)]
  if (kind === 'sorts')
    return [cause('file', `${name === ofTimes ? 'times' : 'modes or links'} of what it looked at`, before, now)]
  if (kind === 'bound') return [cause('path-bound', 'where everything lies', before, now)]
  if (kind === 'tree') {
    const files = explainTrees('file', name, trees)
    return files.length > 0 ? files : [cause('tree', name, before, now)]
  }
  return [cause(kind, kind === 'program' ? name : plainPath(name), before, now)]
}

/** `a/../b` as people write it: only to be shown, because where `a` is a link it need not be `b`. */
function plainPath(name: string): string {
  const [, root = '', path = ''] = /^(\0[a-z]+\0\/|\/)?(.*)$/s.exec(name) ?? []
  return path === '' ? name : root + posix.normalize(path)
}

/**
 * The causes of the candidate that differs least, the first of equals; undefined for none.
 * @param explain undefined for one that cannot be compared
 */
export function nearest<T>(
  candidates: readonly T[],
  explain: (candidate: T) => Cause[] | undefined,
): Cause[] | undefined {
  let best: Cause[] | undefined
  for (const candidate of candidates) {
    const causes = explain(candidate)
    if (causes !== undefined && (best === undefined || causes.length < best.length)) best = causes
  }
  return best
}

type Pairs = readonly (readonly [string, string])[]

/** Lists of names with values: what was added, removed or changed. */
function explainPairs(what: CauseKind, older: Pairs, newer: Pairs): Cause[] {
  const [before, after] = [new Map(older), new Map(newer)]
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((name) => before.get(name) !== after.get(name))
    .map((name) => cause(what, name, before.get(name) ?? null, after.get(name) ?? null))
}

const pairsText = (pairs: Pairs): string => pairs.map(([name, value]) => `${name}=${value}`).join(', ')

function explainOutDir(older: Sketch, newer: Sketch, trees: (() => KnownTrees) | undefined): Cause[] {
  if (older.build === newer.build) return []
  const files = explainTrees('out-dir', rootToken('build'), trees?.())
  return files.length > 0 ? files : [cause('out-dir', 'OUT_DIR', short(older.build), short(newer.build))]
}

/** The files in which two directories differ; none when one of them is not known. */
function explainTrees(what: 'file' | 'out-dir', dir: string, trees: KnownTrees | undefined): Cause[] {
  if (trees?.recorded === undefined || trees.here === undefined) return []
  const files = (tree: Tree): Pairs => tree.files.map(({ path, cid }) => [`${dir}/${path}`, shortDigest(cid)])
  return explainPairs(what, files(trees.recorded), files(trees.here))
}

/** Crates by name: those that came or went by somebody's wish first, then changed ones, then what these brought along. */
function explainDependencies(older: Sketch, newer: Sketch): { causes: Cause[]; consequences: Cause[] } {
  const known = new Map(older.deps)
  const changed: Cause[] = []
  const appeared: (readonly [string, string])[] = []
  for (const [name, digest] of newer.deps) {
    const before = known.get(name)
    known.delete(name)
    if (before === undefined) appeared.push([name, digest])
    else if (before !== digest) changed.push(dependency(name, before, digest))
  }
  const direct = new Set([...externFiles(older), ...externFiles(newer)])
  const wished: Cause[] = []
  const brought: Cause[] = []
  const consequences: Cause[] = []
  for (const [name, digest] of appeared) {
    const old = [...known.keys()].find((other) => crateOf(other) === crateOf(name))
    const before = old === undefined ? undefined : known.get(old)
    if (old === undefined || before === undefined) {
      ;(direct.has(name) ? wished : brought).push(dependency(name, null, digest))
      continue
    }
    known.delete(old)
    const renamed = cause('dependency', crateOf(name), stemOf(old), stemOf(name))
    if (before === digest) consequences.push({ ...renamed, unit: stemOf(name).slice(0, 256) })
    else changed.push(dependency(name, before, digest))
  }
  for (const [name, digest] of known) (direct.has(name) ? wished : brought).push(dependency(name, digest, null))
  return { causes: [...wished, ...changed, ...brought], consequences }
}

function dependency(file: string, recorded: string | null, here: string | null): Cause {
  const named = cause('dependency', crateOf(file), short(recorded), short(here))
  return here === null ? named : { ...named, unit: stemOf(file).slice(0, 256) }
}

function externFiles({ argv }: Sketch): string[] {
  const inDeps = `=${rootToken('deps')}/`
  return argv.flatMap((argument, at) => {
    const from = argv[at - 1] === '--extern' ? argument.indexOf(inDeps) : -1
    return from < 0 ? [] : [argument.slice(from + inDeps.length)]
  })
}

const stemOf = (file: string): string => file.replace(/^lib/, '').replace(/\.\w+$/, '')

/** Without the hash that cargo puts behind a crate's name. */
const crateOf = (file: string): string => stemOf(file).replace(/-[0-9a-f]{8,}$/, '')

const short = (digest: string | null): string | null => digest?.slice(0, shownDigits) ?? null

/** A CID as text is shown by its first digits, anything else as it is. */
function valueText(text: string | null): string | null {
  if (text === null || !/^b[a-z2-7]{50,}$/.test(text)) return text
  return shortDigest(CID.parse(text))
}
