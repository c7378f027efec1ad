import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, readdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { isProfile } from '../plan/target-dir.ts'
import { digestOf } from '../wire/cid.ts'

export type GivenFile = [name: string, cid: CID]

interface Found {
  path: string
  cid: CID
  dev: number
  ino: number
  size: number
}

/** What `shim/launcher.rs` calls the build script whose place it takes. */
const launchedScript = 'build-script.real'

/**
 * Removes files from the directories that they were put into, as long as they are still these, and with them what cargo made of them where people
 * look: links, or copies where it cannot make any.
 * @param dirs those in which cargo builds, and those of the profiles in which people look
 * @returns how many there were
 */
export async function removeGiven(dirs: readonly string[], outputs: readonly GivenFile[]): Promise<number> {
  const all: Found[] = []
  for (const dir of dirs) {
    for (const [name, cid] of outputs) {
      // A build script may have been put beside its launcher, which is of no use without it.
      for (const path of [join(dir, name), join(dir, launchedScript)]) {
        // Another compile may have put its own there since.
        if (!(await holds(path, cid))) continue
        const { dev, ino, size } = await lstat(path)
        all.push({ path, cid, dev, ino, size })
      }
    }
  }
  const places = new Set([...all.map(({ path }) => seenFrom(dirname(path))), ...dirs.filter(isProfile).flatMap(seenIn)])
  if (all.length > 0) for (const place of places) await removeSame(place, all)
  for (const { path } of all) {
    await rm(path, { force: true })
    if (basename(path) !== launchedScript) continue
    for (const [name] of outputs) await rm(join(dirname(path), name), { force: true })
  }
  return all.length
}

/** cargo links what it was asked for into the directory above; examples and build scripts beside it. */
const seenFrom = (dir: string): string => (basename(dir) === 'deps' ? dirname(dir) : dir)

/** The same in another tree than it builds in. */
const seenIn = (profile: string): string[] => [profile, join(profile, 'examples')]

async function removeSame(place: string, all: readonly Found[]): Promise<void> {
  for (const name of await readdir(place).catch(() => [])) {
    const path = join(place, name)
    const stat = all.some((found) => found.path === path) ? undefined : await lstat(path).catch(() => undefined)
    if (!stat?.isFile()) continue
    for (const { dev, ino, size, cid } of all) {
      const isLink = stat.dev === dev && stat.ino === ino
      if (isLink || (stat.size === size && (await holds(path, cid)))) await rm(path, { force: true })
    }
  }
}

/** Whether a file is there and has this content. */
async function holds(path: string, cid: CID): Promise<boolean> {
  try {
    if (!(await lstat(path)).isFile()) return false
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array)
    return hash.digest().equals(digestOf(cid))
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false
    throw error
  }
}
