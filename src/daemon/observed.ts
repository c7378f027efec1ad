import { realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { codeOf } from '../base/errors.ts'
import type { ReadSet } from '../plan/action.ts'
import { links } from '../plan/classify.ts'
import { declaredInputs } from '../plan/declared-inputs.ts'
import { readDynamic } from '../plan/elf.ts'
import { isKeyFile } from '../plan/key-files.ts'
import { type Observation, observationFile, readObservations } from '../plan/observation.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { isWithin, selectReads } from '../plan/read-set.ts'
import { nameRoots, rootToken } from '../plan/roots.ts'
import type { Trees } from '../plan/trees.ts'
import type { Place } from '../recall/evidence.ts'
import {
  type DeclaredTree,
  declaredReadSet,
  type InputReads,
  inputReads,
  readSetOf,
  type Unshareable,
} from '../recall/read-set.ts'

export interface CompiledHere {
  planned: PlannedAction
  place: Place
  /** The directory that rustc wrote to. */
  privateDir: string
  /** What it wrote to, where that is not the directory with the notes only. */
  productsDir?: string
  /** Text of the dep-info, roots by name. */
  depInfo: string
  /** When it began, by the clock of the file system: ms. */
  since: number
}

/**
 * What a compile that ran here looked at: as the observer saw it; without one, the package as a whole, as long as nothing
 * in the unit can look elsewhere unseen.
 */
export async function readsOfCompile(compiled: CompiledHere, trees: Trees): Promise<ReadSet | Unshareable> {
  const { planned, place, privateDir, productsDir = privateDir, depInfo, since } = compiled
  const build = declaredBuild(planned)
  const events = observations(privateDir)
  if (events === 'incomplete') return 'unobserved'
  if (events !== undefined) {
    const selected = selectReads(events, scopeOf(planned, place.env, productsDir))
    const readsEnvironment =
      (await anyUsesEnviron(selected.loaded, planned)) || seesAllVariables(selected.programs, planned)
    return await readSetOf({ selected, depInfo, build, since, readsEnvironment }, place)
  }
  if (looksUnseen(planned)) return 'unobserved'
  return await declaredReads(planned, { depInfo, since }, place, trees)
}

/** Whether a compile whose result is not kept was seen to read a file of keys: what uses it may hold what is in there. */
export function readsKeys({ roots }: Pick<PlannedAction, 'roots'>, privateDir: string): boolean {
  const events = observations(privateDir)
  if (events === 'incomplete' || events === undefined) return false
  return events.some(
    ({ kind, errno, path }) => kind === 'open' && errno === 0 && isKeyFile(nameRoots(path, roots), path),
  )
}

/** Whether it can look at what its dep-info does not tell: macros, linkers, native libraries, profiles, unnamed crates. */
function looksUnseen({ usesMacros, notAway, args }: PlannedAction): boolean {
  const searches = args.options.some(({ name, value }) => name === 'L' && !value?.startsWith('dependency='))
  const bundles = links(args) || args.crateTypes.includes('staticlib')
  return usesMacros || searches || bundles || (notAway !== undefined && notAway !== 'native-cpu')
}

/** The read set of a unit that reads its package, what that declares and nothing else, as far as rustc's dep-info tells. */
export async function declaredReads(
  planned: PlannedAction,
  { depInfo, since }: Pick<CompiledHere, 'depInfo' | 'since'>,
  place: Place,
  trees: Trees,
): Promise<ReadSet | Unshareable> {
  const own = await trees.tree(planned.source.dir, planned.source.root === 'registry')
  const name = nameRoots(own.dir, planned.roots)
  const build = declaredBuild(planned)
  const inputs = await inputsOf(planned, { depInfo, since }, place, trees)
  if (typeof inputs === 'string') return inputs
  const declared = [{ dir: name, files: own.tree.files }, ...(build ? [build] : []), ...inputs.trees]
  return declaredReadSet(depInfo, ['tree', name, own.cid], declared, place, inputs.reads)
}

/** Whoever publishes a package knows nothing of what lies around it elsewhere: only people's own packages may declare that. */
async function inputsOf(
  { source }: PlannedAction,
  compiled: Pick<CompiledHere, 'depInfo' | 'since'>,
  place: Place,
  trees: Trees,
): Promise<InputReads | Unshareable> {
  if (source.root !== 'workspace' && source.root !== 'package') return { reads: [], trees: [] }
  const paths = await declaredInputs(source.dir)
  return paths === undefined ? 'unobserved' : await inputReads(paths, compiled, place, (dir) => trees.tree(dir, false))
}

function declaredBuild({ build }: PlannedAction): DeclaredTree | undefined {
  return build && { dir: rootToken('build'), files: build.tree.files }
}

function observations(privateDir: string): Observation[] | 'incomplete' | undefined {
  try {
    const { attached, complete, events } = readObservations(join(privateDir, observationFile))
    if (!attached) return undefined
    return complete ? events : 'incomplete'
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function scopeOf(planned: PlannedAction, env: Place['env'], privateDir: string): Parameters<typeof selectReads>[1] {
  const { toolchain, dependencies, dependencyDirs, unnamedDirs, build } = planned
  const { sysroot, covered } = toolchain
  const outDirs = build === undefined ? [] : withReal(build.dir)
  // A tree leaves out what lies in linked directories, build directories and version control.
  const generated = new Set(build?.tree.files.map(({ path }) => path))
  return {
    products: withReal(privateDir),
    temporary: temporaryDirs(env),
    owned: planned.roots.map(({ path }) => path),
    dependencyDirs,
    dependencies: new Set(dependencies.flatMap(({ name }) => [name, ...twinOf(name, planned)])),
    complete: planned.reaches !== undefined,
    covered: (path) => {
      const outDir = outDirs.find((dir) => isWithin(path, dir))
      if (outDir !== undefined) return generated.has(path.slice(outDir.length + 1))
      if (!isWithin(path, sysroot)) return false
      const inside = path.slice(sysroot.length + 1)
      return inside === '' || covered.has(inside)
    },
    unnamedDirs,
    programDirs: new Set((env.get('PATH') ?? '').split(':').filter(isAbsolute)),
  }
}

/** Directories for temporary files of everybody. */
export function temporaryDirs(env: Place['env']): string[] {
  const dirs = [env.get('TMPDIR'), '/tmp', '/var/tmp', tmpdir()].filter((dir) => dir !== undefined)
  return [...new Set(dirs.filter(isAbsolute))]
}

/** rustc opens the metadata beside a library that it links, too: the same as what the library holds, unless that holds none. */
function twinOf(name: string, { args }: PlannedAction): string[] {
  const isWhole = name.endsWith('.rlib') && !args.options.some((option) => option.name === 'Z')
  return isWhole ? [name.replace(/\.rlib$/, '.rmeta')] : []
}

/** A directory under the name that it was given, and under that which rustc may make of it: a target directory can be a link. */
export function withReal(dir: string): string[] {
  return [...new Set([dir, realpathSync(dir)])]
}

/** Only what units load from outside the compiler: procedural macros. */
async function anyUsesEnviron(loaded: readonly string[], { dependencyDirs }: PlannedAction): Promise<boolean> {
  for (const path of loaded) {
    if (!dependencyDirs.includes(dirname(path))) continue
    if ((await readDynamic(path))?.usesEnviron !== false) return true
  }
  return false
}

/** Compilers and linkers ask for the variables that they obey one by one. */
const asksByName =
  /^(rustc|clippy-driver|rust-lld|([\w.]+-)*(cc|gcc|g\+\+|c\+\+|clang|clang\+\+|ld|lld|ld64|wasm-ld|mold|collect2|as|ar|strip|nm|ranlib|lto-wrapper|lto1|cc1)([-.][\w.]+)*)$/

/** Whether a shell, an interpreter or whatever else may look at all variables at once was among the programs. */
function seesAllVariables(programs: readonly string[], { toolchain }: PlannedAction): boolean {
  return programs.some((path) => !isWithin(path, toolchain.sysroot) && !asksByName.test(basename(path)))
}
