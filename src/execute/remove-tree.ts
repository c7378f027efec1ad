import { randomUUID } from 'node:crypto'
import { chmod, lstat, mkdir, readdir, rename, rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from '../base/errors.ts'

const unlinksAtOnce = 16

/**
 * Removes a directory that a guest wrote to. Links are removed, never followed, and however deep the guest nested its
 * directories, no path and no recursion grows with it: each inner directory is first moved to the top.
 * Nothing may write to it meanwhile. An absent directory is fine.
 * @throws the file system's error
 */
export async function removeTree(dir: string): Promise<void> {
  const directory = await isDirectory(dir)
  if (directory === undefined) return
  if (!directory) return await unlink(dir)
  const aside = join(dir, randomUUID())
  const queue = [dir]
  let moved = 0
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    // Without these rights a directory can be neither listed nor moved.
    await chmod(next, 0o700)
    const files: string[] = []
    for (const entry of await readdir(next, { withFileTypes: true })) {
      const path = join(next, entry.name)
      if (!entry.isDirectory()) {
        files.push(path)
        continue
      }
      if (moved === 0) await mkdir(aside, { mode: 0o700 })
      await chmod(path, 0o700)
      const place = join(aside, `${moved++}`)
      await rename(path, place)
      queue.push(place)
    }
    for (let at = 0; at < files.length; at += unlinksAtOnce) {
      await Promise.all(files.slice(at, at + unlinksAtOnce).map((file) => unlink(file)))
    }
    if (next !== dir) await rmdir(next)
  }
  if (moved > 0) await rmdir(aside)
  await rmdir(dir)
}

async function isDirectory(path: string): Promise<boolean | undefined> {
  try {
    return (await lstat(path)).isDirectory()
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}
