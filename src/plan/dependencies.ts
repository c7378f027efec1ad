import { basename, dirname, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { hexOf } from '../wire/cid.ts'
import type { RootName } from './action.ts'
import type { RustcArgs } from './rustc-args.ts'
import type { StatDigests } from './stat-digests.ts'
import type { DigestedTree } from './trees.ts'

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
  tree: DigestedTree
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

/**
 * Direct externs and everything that they reach, with the contents that lie here now. A procedural macro reaches nothing:
 * rustc loads it without its own dependencies. Sorted by name.
 * @returns undefined when the reach of some extern is not known, or a file of it is gone
 */
export async function findDependencies(
  args: RustcArgs,
  digests: StatDigests,
  reach: Reach,
): Promise<Dependency[] | undefined> {
  const directories = new Set<string>()
  for (const { name, value } of args.options) {
    if (name === 'L' && value?.startsWith('dependency=')) directories.add(value.slice('dependency='.length))
  }
  const found = new Map<string, Dependency>()

  const add = async (name: string, candidates: string[]): Promise<Dependency | undefined> => {
    const known = found.get(name)
    if (known !== undefined) return known
    for (const path of candidates) {
      try {
        const dependency = { name, path, ...(await digests.digest(path)) }
        found.set(name, dependency)
        return dependency
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') return undefined
      }
    }
    return undefined
  }

  for (const { path } of args.externs) {
    if (path === undefined) continue
    directories.add(dirname(path))
    const direct = await add(basename(path), [path])
    if (direct === undefined) return undefined
    if (isMacro(direct.name)) continue
    if (!direct.name.endsWith('.rmeta')) return undefined
    const names = await reach.get(hexOf(direct.cid), path)
    if (names === undefined) return undefined
    for (const name of names) {
      const paths = [...directories].map((directory) => join(directory, name))
      if ((await add(name, paths)) === undefined) return undefined
    }
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
