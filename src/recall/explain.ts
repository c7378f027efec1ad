import { createHash } from 'node:crypto'
import { CID } from 'multiformats/cid'
import type { Tree } from '../plan/action.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { rootToken } from '../plan/roots.ts'
import { type Cause, type CauseKind, cause, shortDigest, shownDigits } from './cause.ts'
import type { Difference } from './evidence.ts'
import { explainOptions } from './explain-options.ts'
import type { Sketch } from './sketch.ts'

/** A directory as it was recorded and as it is here, as far as either is known. */
export interface KnownTrees {
  recorded: Tree | undefined
  here: Tree | undefined
}

/** As many as are worth showing, and worth keeping for every unit of every build. */
export const maxCauses = 8

/** Units with one subject are versions of each other: hex sha2-256 of what does not change when somebody edits or tunes it. */
export function subjectOf({ kind, action }: Pick<PlannedAction, 'kind' | 'action'>): string {
  const value = (name: string): string => action.env.find(([known]) => known === name)?.[1] ?? ''
  const makes = action.outputs.map(([, output]) => output)
  const driven = action.driver !== null
  const package_ = [value('CARGO_PKG_NAME'), value('CARGO_PKG_VERSION')]
  const subject = JSON.stringify([action.crate, kind, action.target, ...package_, makes, driven])
  return createHash('sha256').update(subject).digest('hex')
}

/** Nobody has seen a unit like it. */
export const firstTime = (crate: string): Cause => cause('first-time', crate, null, null)

/** The very same was made before, and its result is not here. */
export const notKept = (crate: string): Cause => cause('result', crate, 'made', 'not kept')

/**
 * In what two actions of one subject differ, the likeliest root of it all first. Empty when they are the same.
 * @param outDirs asked for when these differ
 * @throws ShoalError ERR_UNSUPPORTED for an action whose arguments no plan would have made
 */
export function explainAction(older: Sketch, newer: Sketch, outDirs?: () => KnownTrees): Cause[] {
  const causes: Cause[] = []
  const compare = (what: CauseKind, name: string, recorded: string | null, here: string | null): void => {
    if (recorded !== here) causes.push(cause(what, name, recorded, here))
  }
  compare('mesh', 'mesh', older.salt, newer.salt)
  compare('toolchain', 'toolchain', short(older.toolchain), short(newer.toolchain))
  compare('target', 'target', older.target, newer.target)
  compare('driver', 'compiler driver', short(older.driver), short(newer.driver))
  const options = explainOptions(older, newer)
  const dependencies = explainDependencies(older, newer)
  causes.push(...options.causes, ...explainPairs('variable', older.env, newer.env))
  causes.push(...explainOutDir(older, newer, outDirs), ...dependencies.causes)
  compare('cwd', 'working directory', older.cwd, newer.cwd)
  compare('remap', 'remapped paths', pairsText(older.remaps), pairsText(newer.remaps))
  if (causes.length > 0) return causes
  causes.push(...options.consequences, ...dependencies.consequences)
  compare('output', 'outputs', pairsText(older.outputs), pairsText(newer.outputs))
  return causes
}

/** The one thing in which a place differs from what a trace says. @param trees of a difference in a whole directory */
export function explainDifference({ kind, name, recorded, here }: Difference, trees?: KnownTrees): Cause[] {
  if (kind === 'variable') return [cause('variable', name, recorded, here)]
  const [before, now] = [valueText(recorded), valueText(here)]
  if (kind === 'environ') return [cause('environment', 'the environment as a whole', before, now)]
  if (kind === 'bound') return [cause('path-bound', 'where everything lies', before, now)]
  if (kind === 'tree') {
    const files = explainTrees('file', name, trees)
    return files.length > 0 ? files : [cause('tree', name, before, now)]
  }
  return [cause(kind, name, before, now)]
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
    if (before === digest) consequences.push(cause('dependency', crateOf(name), stemOf(old), stemOf(name)))
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
