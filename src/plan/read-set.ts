import { basename, dirname, normalize } from 'node:path'
import type { ReadKind } from './action.ts'
import type { Reason } from './classify.ts'
import type { Observation } from './observation.ts'

/** Where a compile ran, for telling what it was given from what it looked for. Paths are absolute. */
export interface ReadScope {
  /** Directories for what it makes: its out-dir and those for temporary files. */
  products: readonly string[]
  /** Directories for temporary files of everybody: what others left there is looked at like anything else. */
  temporary: readonly string[]
  /** Directories with sources and outputs of people: nothing in them is temporary. */
  owned: readonly string[]
  /** Directories in which rustc looks for crates, and those that the action names. */
  dependencyDirs: readonly string[]
  dependencies: ReadonlySet<string>
  /** Whether everything that the dependencies reach is among them; a procedural macro reaches nothing. */
  complete: boolean
  /** Whether the action says what this is: a file of the toolchain or of OUT_DIR. */
  covered(path: string): boolean
  /** Directories with native libraries that the action does not name. */
  unnamedDirs: readonly string[]
  /** The directories of PATH. */
  programDirs: ReadonlySet<string>
}

/** Something that was looked at; `stat` stands for "exists", as a file with its content or as a directory. */
export interface Look {
  kind: Exclude<ReadKind, 'tree' | 'environ' | 'bound' | 'sorts' | 'place'> | 'stat'
  /** Absolute, or a bare name for `program`. */
  path: string
  /** Of a program that was looked for by a path: what that look is when the name leads elsewhere. */
  otherwise?: Look
  /** A program that was looked for in every directory of PATH and found in none. */
  isNowhere?: true
}

export interface SelectedReads {
  looks: Look[]
  /** Names of variables, and whether somebody other than the compiler asked. */
  variables: Map<string, { macro: boolean }>
  /** Programs that ran, absolute. */
  programs: string[]
  /** Libraries that were loaded into the compiler while it ran. */
  loaded: string[]
  /** What was written in directories for temporary files. What of it is there still is not temporary. */
  temporary: string[]
  /** Why nothing can be said about where the result holds. */
  problem: Extract<Reason, 'unobserved' | 'writes-elsewhere' | 'uses-network' | 'native-library' | 'clock'> | undefined
}

const absent = new Set([2, 20])
const notALink = 22
/** Every process looks at these, and nothing of them reaches an output. */
const ofTheSystem =
  /^\/(proc\/(self|thread-self|\d+)(\/(exe|maps|statm?|status|cgroup|mountinfo|auxv|comm|task(\/\d+(\/comm)?)?))?$|proc\/filesystems$|proc\/sys\/vm\/|sys\/fs\/cgroup(\/|$)|dev\/(null|zero|full|u?random|tty|pts\/\d+|fd\/|std|shm\/?$)|sys\/kernel\/mm\/transparent_hugepage\/)/

const ofAnyProcess = /^\/proc\/(self|thread-self|\d+)\//
/** Directories whose programs belong together. */
const systemPrograms = /^(\/usr(\/local)?)?\/s?bin$/

/** Sorts what was observed into what the action does not say yet. Looks at no file. */
export function selectReads(events: readonly Observation[], scope: ReadScope): SelectedReads {
  const made = new Set<string>()
  const looks = new Map<string, Look>()
  const variables: SelectedReads['variables'] = new Map()
  const loaded: string[] = []
  const programs: string[] = []
  const crates: string[] = []
  const temporary: string[] = []
  let problem: SelectedReads['problem']
  /** Beside the products. */
  const isMade = (path: string): boolean => {
    if (made.size === 0) return false
    for (let at = path; at !== '/' && at !== '.'; at = dirname(at)) if (made.has(at)) return true
    return false
  }
  const look = (kind: Look['kind'], path: string): void => {
    looks.set(`${kind} ${path}`, { kind, path })
  }
  const lookForProgram = (otherwise: Look): void => {
    const name = basename(normalize(otherwise.path))
    looks.set(`program ${otherwise.kind} ${otherwise.path}`, { kind: 'program', path: name, otherwise })
  }

  for (const { kind, path, errno, macro } of events) {
    if (kind === 'env') {
      variables.set(path, { macro: macro || variables.get(path)?.macro === true })
      continue
    }
    // What is asked by a build script is judged by whoever keeps its runs, and before this.
    if (kind === 'clock') problem ??= 'clock'
    if (kind === 'clock' || kind === 'random') continue
    if (kind === 'net') {
      problem ??= 'uses-network'
      continue
    }
    if (!path.startsWith('/')) {
      if (kind === 'exec' && path !== '') look('program', path)
      continue
    }
    const plain = plainPath(path)
    if (ofTheSystem.test(plain) || (kind === 'stat' && plain === '/proc/self/fd')) continue
    if (kind === 'attach') programs.push(plain)
    // Another one for whoever looks later.
    if (ofAnyProcess.test(plain)) problem ??= 'unobserved'
    if (kind === 'write') {
      if (errno !== 0) continue
      if (isOwnWrite(plain, scope)) {
        if (scope.products.some((dir) => isWithin(plain, dir))) continue
        made.add(plain)
        if (!scope.temporary.includes(plain)) temporary.push(plain)
      } else problem ??= 'writes-elsewhere'
      continue
    }
    if (kind === 'load') loaded.push(plain)
    if (isMade(plain) || scope.products.some((dir) => isWithin(plain, dir)) || scope.temporary.includes(plain)) continue
    if (scope.covered(plain)) continue
    if (scope.unnamedDirs.some((dir) => isWithin(plain, dir) && plain !== dir)) problem ??= 'native-library'
    if (scope.dependencyDirs.includes(dirname(plain))) {
      // Which files there are is cargo's doing: what counts is which of them were loaded.
      const opened = errno === 0 && (kind === 'open' || kind === 'load')
      if (opened && !scope.dependencies.has(basename(plain))) crates.push(path)
      continue
    }
    if (scope.dependencyDirs.includes(plain)) continue
    const found = kindOfLook(kind, errno)
    const inPath = scope.programDirs.has(dirname(plain))
    // A program can find its neighbours by where it lies itself, so that its content does not tell all of it.
    if (inPath && errno === 0 && (kind === 'attach' || kind === 'open') && !systemPrograms.test(dirname(plain)))
      variables.set('PATH', { macro: true })
    const mayBeProgram = inPath && kind !== 'list' && kind !== 'load' && kind !== 'open'
    if (found !== undefined && mayBeProgram) lookForProgram({ kind: found, path })
    else if (found !== undefined) look(found, path)
    else if (mayBeProgram) look('program', basename(plain))
    else problem ??= 'unobserved'
  }
  const isStray = strays(scope, loaded)
  for (const path of crates) if (!isStray(path)) look('file', path)
  const looked = withoutSearches([...looks.values()], scope)
  return { looks: withoutImplied(looked), variables, programs, loaded, temporary, problem }
}

/** What every directory of PATH was asked for in vain is one look for a program, wherever those directories lie. */
function withoutSearches(looks: readonly Look[], { programDirs }: ReadScope): Look[] {
  const dirs = new Set([...programDirs].map(plainPath))
  const searched = new Map<string, Set<string>>()
  for (const { kind, path, otherwise } of looks) {
    if (kind !== 'program' || otherwise?.kind !== 'absent') continue
    const tried = searched.get(path) ?? new Set<string>()
    searched.set(path, tried.add(dirname(plainPath(otherwise.path))))
  }
  const nowhere = new Set([...searched].filter(([, tried]) => tried.size === dirs.size).map(([name]) => name))
  const isImplied = ({ kind, path, otherwise }: Look): boolean =>
    kind === 'program' && nowhere.has(path) && (otherwise === undefined || otherwise.kind === 'absent')
  const found = [...nowhere].map((path): Look => ({ kind: 'program', path, isNowhere: true }))
  return [...looks.filter((look) => !isImplied(look)), ...found]
}

const plainPath = (path: string): string => normalize(path).replace(/(?<=.)\/$/, '')

/**
 * A crate whose file is called without a hash (there is a cdylib beside it) is looked for in every file whose name begins like
 * its own: what has another name and is none of the dependencies is opened only to find that it is another crate.
 */
function strays({ dependencies, complete }: ReadScope, loaded: readonly string[]): (path: string) => boolean {
  const names = [...dependencies]
  const macros = new Set(loaded.map((path) => basename(path)))
  // What a library reaches that is no macro is not known.
  if (!complete || names.some((name) => /\.(so|dylib)$/.test(name) && !macros.has(name))) return () => false
  const stems = names.map(stemOf)
  return (path) => {
    const stem = stemOf(basename(path))
    return stems.some((other) => stem !== other && stem.startsWith(other))
  }
}

const stemOf = (name: string): string => name.replace(/\.[a-z]+$/, '')

/** Undefined when the failure tells nothing of what is there. */
function kindOfLook(
  kind: 'open' | 'stat' | 'list' | 'link' | 'exec' | 'load' | 'attach',
  errno: number,
): Look['kind'] | undefined {
  if (absent.has(errno)) return 'absent'
  if (errno === notALink && kind === 'link') return 'stat'
  if (errno !== 0) return undefined
  return kind === 'list' || kind === 'link' ? kind : 'stat'
}

function isOwnWrite(path: string, { products, temporary, owned }: ReadScope): boolean {
  const isIn = (dirs: readonly string[]): boolean => dirs.some((dir) => isWithin(path, dir))
  return isIn(products) || (isIn(temporary) && !isIn(owned))
}

/** That a directory exists is implied by everything found in it. */
function withoutImplied(looks: Look[]): Look[] {
  const parents = new Set<string>()
  for (const { kind, path } of looks) {
    if (kind === 'absent' || kind === 'program') continue
    for (let at = dirname(path); at !== '/' && at !== '.' && !parents.has(at); at = dirname(at)) parents.add(at)
    if (kind === 'list') parents.add(path)
  }
  return looks.filter(({ kind, path }) => kind !== 'stat' || !parents.has(path))
}

export const isWithin = (path: string, dir: string): boolean =>
  path === dir || (path.startsWith(dir) && path[dir.length] === '/')
