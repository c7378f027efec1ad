import { randomUUID } from 'node:crypto'
import { constants, lstatSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf } from '../base/errors.ts'

/**
 * How long what is written lasts. Blocks, traces and memos (class D0) can be had again, so writing them never waits for the
 * disk: what a power cut tears is found on reading and counts as absent. Keys, memberships, names and pins (class D1)
 * cannot be had again: they are written by what is in this file and by nothing else.
 */

const draftName = /\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:\.tmp)?$/

/**
 * Replaces `file` so that a crash or a power cut at any moment leaves the old or the new content; once this resolves, the new.
 * Its directory is made when absent, for its owner alone. Default mode 0600. After an error of the disk the draft is thrown
 * away and never synced again: by then the system may have forgotten what was not written.
 * @throws the system's own error
 */
export async function writeDurably(file: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const dir = dirname(file)
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const draft = `${file}.${randomUUID()}.tmp`
  try {
    const handle = await open(draft, 'wx', mode)
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(draft, file)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
  await sync(dir)
}

/** Removes a file (which may be absent) for good. @throws the system's own error */
export async function removeDurably(file: string): Promise<void> {
  try {
    await unlink(file)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  await sync(dirname(file))
}

/** Gives a finished file, which is on the disk, its place in another directory of the same file system. @throws the system's own error */
export async function moveDurably(from: string, to: string): Promise<void> {
  await rename(from, to)
  await sync(dirname(to))
}

/** Waits until a finished file, or the names in a directory, are on the disk. @throws the system's own error */
export async function sync(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Removes drafts that a process which is gone left in a directory, by their names.
 * @param beforeMs only those that were written before this time (wall clock); all when nobody else can be writing there
 */
export async function removeDrafts(dir: string, beforeMs = Number.POSITIVE_INFINITY): Promise<void> {
  let names: string[]
  try {
    names = await readdir(dir)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  for (const name of names) {
    const path = join(dir, name)
    if (!draftName.test(name)) continue
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat !== undefined && stat.mtimeMs < beforeMs) await rm(path, { force: true })
  }
}
