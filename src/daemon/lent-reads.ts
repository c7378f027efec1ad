import { basename, dirname, normalize } from 'node:path'
import type { CID } from 'multiformats/cid'
import type { Observed } from '../execute/observed.ts'
import { type Action, type Inputs, type ReadSet, type RootName, rootNames, type Tree } from '../plan/action.ts'
import { mathLibrary, type Observation } from '../plan/observation.ts'
import { isWithin, type Look, selectReads } from '../plan/read-set.ts'
import { placeRoots, rootToken } from '../plan/roots.ts'
import type { Place } from '../recall/evidence.ts'
import { readSetOf, type Unshareable } from '../recall/read-set.ts'
import { LentView } from './lent-view.ts'

/** A tree of the inputs and where it lies, roots by name. */
export interface LentTree {
  dir: string
  files: Tree['files']
}

export interface LentCompile {
  action: Action
  inputs: Inputs
  /** Those of the inputs, in their order. */
  trees: readonly LentTree[]
  observed: Observed
  /** Text of the dep-info, roots by name. */
  depInfo: string
}

export interface LentReadsNeeds {
  /** The files that the toolchain's digest is over, relative to the sysroot. */
  covered: ReadonlySet<string>
  /** Whether a library can read the environment as a whole. */
  usesEnviron(library: CID): Promise<boolean>
  /** As `mathematics` names it. */
  math: string
}

/**
 * What a compile in the sandbox looked at, as its builder can hold it against what is there. Reads no file: what there was to
 * see are the inputs.
 * @returns the reason instead when that cannot be said, as when it looked at something that only the sandbox has
 */
export async function lentReads(compile: LentCompile, needs: LentReadsNeeds): Promise<ReadSet | Unshareable> {
  const { action, trees, observed, depInfo } = compile
  const { roots, marker } = observed
  const beside = lookBeside(observed, needs.covered)
  if (typeof beside === 'string') return beside
  const deps = placeRoots(rootToken('deps'), roots)
  const selected = selectReads(beside.inside, {
    products: [placeRoots(rootToken('out'), roots)],
    temporary: [temporary],
    owned: [],
    dependencyDirs: [deps],
    dependencies: new Set(action.deps.map(([name]) => name)),
    complete: false,
    covered: coveredBy(compile, needs.covered),
    unnamedDirs: [],
    programDirs: new Set(),
  })
  const place: Place = {
    action,
    roots,
    dependencyDirs: [deps],
    env: new Map([...action.env, [mathLibrary, needs.math]]),
    view: viewOf(compile, marker),
    tree: async () => undefined,
  }
  const named = new Map(action.deps)
  let readsEnvironment = false
  for (const path of selected.loaded) {
    const library = dirname(path) === deps ? named.get(basename(path)) : undefined
    if (library !== undefined && (await needs.usesEnviron(library))) readsEnvironment = true
  }
  const build = trees.find(({ dir }) => dir === rootToken('build'))
  const looks = [...selected.looks, ...beside.absent]
  return await readSetOf({ selected: { ...selected, looks }, depInfo, build, since: 0, readsEnvironment }, place)
}

/** The one directory inside that can be written to besides that of the outputs. */
const temporary = '/tmp'
const absentCodes = new Set([2, 20])
/** What the compiler, its allocator and its standard library ask of any machine, for how much they may use of it. */
const ofTheMachine =
  /^\/(proc\/(self\/(statm|cgroup|mountinfo)|sys\/vm\/overcommit_memory)$|sys\/(fs\/cgroup|kernel\/mm\/transparent_hugepage|devices\/system\/cpu)\/)/

/**
 * Tells what happened under the roots from what happened elsewhere. Elsewhere only an absence means the same to the builder:
 * it can be looked up there. What was found is the sandbox's own, and what failed might not fail there.
 */
function lookBeside(
  { events, marker, links }: Observed,
  covered: ReadonlySet<string>,
): { inside: Observation[]; absent: Look[] } | Unshareable {
  const inside: Observation[] = []
  const absent: Look[] = []
  const libraries = new Set([...covered].filter((path) => path.endsWith('.so')).map((path) => basename(path)))
  for (const event of events) {
    const { kind, errno } = event
    // The compiler itself.
    if (kind === 'attach') continue
    const path = event.path.startsWith('/') ? normalize(event.path) : undefined
    // The one program that can be started, and the linker that it stands for.
    if (links && path !== undefined && ofTheLinker(path, marker)) continue
    if (path === undefined || kind === 'net') {
      inside.push(event)
      continue
    }
    // No guest can start another program, nor write outside.
    if (kind === 'exec' && errno === 0) return 'unobserved'
    const writable = isWithin(path, `${marker}/out`) || (path !== temporary && isWithin(path, temporary))
    if (kind === 'write' && errno !== 0 && !writable) return 'writes-elsewhere'
    if (isWithin(path, marker) || isWithin(event.path, marker)) {
      const name = rootOf(event.path, marker)
      if (name === undefined) return 'source-outside-package'
      // Nobody has such a directory.
      if (name !== 'nowhere') inside.push(event)
      else if (!absentCodes.has(errno)) return 'unobserved'
      continue
    }
    if (isWithin(path, temporary)) {
      inside.push(event)
      continue
    }
    if (ofTheMachine.test(path)) continue
    if (absentCodes.has(errno)) absent.push({ kind: 'absent', path: event.path })
    // rustc finds its own library to learn where it lies itself.
    else if (errno !== 0 || kind !== 'stat' || !libraries.has(basename(path))) return 'source-outside-package'
  }
  return { inside, absent }
}

function ofTheLinker(path: string, marker: string): boolean {
  if (isWithin(path, `${marker}/linker`)) return true
  return path.startsWith(`${marker}/toolchain/lib/rustlib/`) && path.includes('/bin')
}

/** The root that a path names and does not leave: what lies beside a root elsewhere, nobody knows here. */
function rootOf(path: string, marker: string): RootName | undefined {
  if (!path.startsWith(`${marker}/`)) return undefined
  const [name, ...rest] = path.slice(marker.length + 1).split('/')
  let depth = 0
  for (const part of rest) {
    depth += part === '..' ? -1 : part === '' || part === '.' ? 0 : 1
    if (depth < 0) return undefined
  }
  return rootNames.find((root) => root === name)
}

/** What the action says: the toolchain and OUT_DIR. */
function coveredBy({ trees, observed: { roots } }: LentCompile, files: ReadonlySet<string>): (path: string) => boolean {
  const directories = new Set([''])
  for (const file of files) for (let at = dirname(file); at !== '.'; at = dirname(at)) directories.add(at)
  const sysroot = placeRoots(rootToken('toolchain'), roots)
  const build = placeRoots(rootToken('build'), roots)
  // Only what the Tree names: what it leaves out may lie where the builder is.
  const generated = new Set(trees.find(({ dir }) => dir === rootToken('build'))?.files.map(({ path }) => path))
  return (path) => {
    if (isWithin(path, build)) return generated.has(path.slice(build.length + 1))
    if (!isWithin(path, sysroot)) return false
    const inside = path.slice(sysroot.length + 1)
    return files.has(inside) || directories.has(inside)
  }
}

function viewOf({ action, inputs, trees, observed: { roots } }: LentCompile, marker: string): LentView {
  const files = new Map<string, CID>()
  for (const { dir, files: held } of trees) {
    const base = placeRoots(dir, roots)
    for (const { path, cid } of held) files.set(`${base}/${path}`, cid)
  }
  for (const { root, path, cid } of inputs.files) files.set(`${marker}/${root}/${path}`, cid)
  return new LentView(files, [temporary, placeRoots(action.cwd, roots)])
}
