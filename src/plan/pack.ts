import type { Tree } from './action.ts'

/** Fewer files are fetched as they are. */
const minFiles = 3
/** What is held in memory as a whole. */
const maxBytes = 4 << 20

/**
 * How long the pack of a tree is: a block with the content of all its files, in its order, and nothing between.
 * @returns bytes; undefined where there is none, because it would save little or be too large
 */
export function packSize({ files }: Pick<Tree, 'files'>): number | undefined {
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  return files.length < minFiles || bytes === 0 || bytes > maxBytes ? undefined : bytes
}

/** The files of a pack, in the order of its tree; undefined when it is none of it. What they hold is not compared with anything. */
export function unpack({ files }: Pick<Tree, 'files'>, pack: Uint8Array): Uint8Array[] | undefined {
  if (packSize({ files }) !== pack.length) return undefined
  let at = 0
  return files.map(({ size }) => {
    at += size
    return pack.subarray(at - size, at)
  })
}
