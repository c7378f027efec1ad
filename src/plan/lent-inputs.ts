import type { CID } from 'multiformats/cid'
import type { Encoded } from '../wire/cbor.ts'
import { encodeInputs } from './action.ts'
import type { UnitSource } from './dependencies.ts'
import type { PlannedAction } from './plan.ts'
import type { DigestedTree, Trees } from './trees.ts'

/** Makes the pack of a package from a registry; undefined where there is none. */
export type PackOf = (tree: DigestedTree) => Promise<{ cid: CID; size: number } | undefined>

/** Everything that a lender needs to compile a unit. */
export interface LentInputs {
  /** The unit's own package, whole. */
  own: DigestedTree
  /** Every package directory that is lent, the own one first. */
  packages: DigestedTree[]
  inputs: Encoded
}

/**
 * Walks the packages that a compile away may read. Only a unit that was not recalled needs this.
 * @throws ShoalError ERR_LIMIT when they hold too much to be named, and the file system's errors
 */
export async function lentInputs(
  planned: PlannedAction,
  trees: Pick<Trees, 'tree'>,
  packOf: PackOf,
): Promise<LentInputs> {
  const sources = new Map<string, UnitSource>()
  for (const source of [planned.source, ...planned.upstream]) sources.set(`${source.root}/${source.path}`, source)
  const walked: { source: UnitSource; tree: DigestedTree }[] = []
  for (const source of sources.values()) {
    walked.push({ source, tree: await trees.tree(source.dir, source.root === 'registry') })
  }
  const [first] = walked
  if (first === undefined) throw new TypeError('a unit without a package')
  const { build, dependencies } = planned
  const places = await Promise.all(
    walked.map(async ({ source: { root, path }, tree }) => {
      // People change their own, and then all of it would be fetched again.
      const pack = root === 'registry' ? await packOf(tree) : undefined
      return { root, path, tree: tree.lendable.cid, ...(pack !== undefined && { pack }) }
    }),
  )
  const inputs = encodeInputs({
    v: 1,
    trees: [...places, ...(build ? [{ root: 'build' as const, path: '' as const, tree: build.cid }] : [])],
    files: dependencies.map(({ name, cid, size }) => ({ root: 'deps', path: name, cid, size })),
  })
  return { own: first.tree, packages: walked.map(({ tree }) => tree), inputs }
}
