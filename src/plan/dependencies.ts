import { basename, dirname, join, resolve } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { hexOf } from '../wire/cid.ts'
import type { RootName } from './action.ts'
import type { RustcArgs } from './rustc-args.ts'
import type { StatDigests } from './stat-digests.ts'
import { realOf } from './unit-roots.ts'

/** A crate that a compile can load: metadata or a procedural macro. */
export interface Dependency {
  /** File name, unique within a build thanks to cargo's hashes. */
  name: string
  path: string
  cid: CID
  size: number
}

/** The package that a unit is compiled from. */
export interface UnitSource {
  root: RootName
  /** Under the root; '' for the root itself. */
  path: string
  /** Absolute. */
  dir: string
}

/** Remembers what a crate that was compiled through Shoal reaches, and what it was made from. */
export interface Reach {
  /**
   * Names of the files that this metadata reaches, or undefined when it was never seen being made.
   * @param metadataHex sha2-256 of the metadata
   * @param path where it lies: with pipelining, dependents ask while the unit that wrote it is still at work
   */
  get(metadataHex: string, path: string): Promise<readonly string[] | undefined>
  /** The sources of what lies at `path`, if it was made since this node started. */
  sourceOf(path: string): UnitSource | undefined
  /** A unit is about to write metadata, or a procedural macro, at `path`. */
  expect(path: string, unit: { names: readonly string[] | undefined; source: UnitSource | undefined }): void
}

const isMacro = (name: string): boolean => /\.(so|dylib|dll)$/.test(name)

/** Each directory also under the name that rustc may make of it: a target directory can be a link. */
function withReal(directories: readonly string[]): string[] {
  return [...new Set([...directories, ...directories.map(realOf)])]
}

export interface FoundDependencies {
  /** Sorted by name. */
  dependencies: Dependency[]
  /** Whether everything that the externs reach is among them. */
  complete: boolean
  /** Directories in which rustc looks for crates, absolute. */
  directories: string[]
}

/**
 * Direct externs and everything that they are known to reach, with the contents that lie here now. A procedural macro
 * reaches nothing: rustc loads it without its own dependencies.
 * @returns undefined when an extern is gone
 */
export async function findDependencies(
  args: RustcArgs,
  cwd: string,
  digests: StatDigests,
  reach: Reach,
): Promise<FoundDependencies | undefined> {
  const directories = new Set<string>()
  for (const { name, value } of args.options) {
    if (name === 'L' && value?.startsWith('dependency=')) {
      directories.add(resolve(cwd, value.slice('dependency='.length)))
    }
  }
  const found = new Map<string, Dependency>()
  let complete = true

  const add = async (name: string, candidates: string[]): Promise<Dependency | undefined> => {
    const known = found.get(name)
    if (known !== undefined) return known
    for (const path of candidates) {
      try {
        const dependency = { name, path, ...(digests.known(path) ?? (await digests.digest(path))) }
        found.set(name, dependency)
        return dependency
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') return undefined
      }
    }
    return undefined
  }
  const reached = async (direct: Dependency): Promise<readonly string[] | undefined> => {
    if (!direct.name.endsWith('.rlib')) return await reach.get(hexOf(direct.cid), direct.path)
    const path = direct.path.replace(/\.rlib$/, '.rmeta')
    const metadata = await digests.digest(path).catch(() => undefined)
    // A library that is also linked for others (a cdylib beside the rlib) comes without metadata of its own.
    return await reach.get(hexOf((metadata ?? direct).cid), metadata === undefined ? direct.path : path)
  }

  for (const { path } of args.externs) {
    if (path === undefined) continue
    const extern = resolve(cwd, path)
    directories.add(dirname(extern))
    const direct = await add(basename(extern), [extern])
    if (direct === undefined) return undefined
    if (isMacro(direct.name)) continue
    const names = await reached(direct)
    if (names === undefined) complete = false
    for (const name of names ?? []) {
      // Whoever links needs what whoever compiled needed only the metadata of.
      const wanted = direct.name.endsWith('.rlib') ? name.replace(/\.rmeta$/, '.rlib') : name
      const paths = [...directories].map((directory) => join(directory, wanted))
      if ((await add(wanted, paths)) === undefined) complete = false
    }
  }
  const dependencies = [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  return { dependencies, complete, directories: withReal([...directories]) }
}
