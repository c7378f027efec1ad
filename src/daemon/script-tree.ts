import { type BigIntStats, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** An entry of a directory, as it was at one moment. */
export interface Seen {
  /** Relative to the directory. */
  path: string
  stat: BigIntStats
}

const maxEntries = 40_000
const maxBytes = 2n << 30n

/**
 * Everything in a directory, a directory before what is in it. Links are not followed.
 * @returns undefined when it is more than is ever kept
 * @throws the file system's error
 */
export function lookThrough(dir: string): Seen[] | undefined {
  const seen: Seen[] = []
  let bytes = 0n
  const walk = (below: string): boolean => {
    for (const name of readdirSync(join(dir, below)).sort()) {
      const path = below === '' ? name : `${below}/${name}`
      const stat = lstatSync(join(dir, path), { bigint: true })
      if (stat.isFile()) bytes += stat.size
      if (seen.push({ path, stat }) > maxEntries || bytes > maxBytes) return false
      if (stat.isDirectory() && !walk(path)) return false
    }
    return true
  }
  return walk('') ? seen : undefined
}

/** Whether an entry is what it was. */
export function isStill(dir: string, { path, stat }: Seen): boolean {
  const now = lstatSync(join(dir, path), { bigint: true, throwIfNoEntry: false })
  const names = ['dev', 'ino', 'mode', 'size', 'mtimeNs', 'ctimeNs'] as const
  return (
    now !== undefined &&
    names.every((name) => (name === 'size' && stat.isDirectory() ? true : now[name] === stat[name]))
  )
}
