import { randomUUID } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync, readdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** After so many entries others have their turn. */
const turnEntries = 64
/** The room of a larger file is given back by a thread. */
const atOnceBytes = 1 << 20

/**
 * Removes a directory that a guest wrote to. Links are removed, never followed, and however deep the guest nested its
 * directories, no path and no recursion grows with it: each inner directory is first moved to the top.
 * Nothing may write to it meanwhile. An absent directory is fine. On the event loop: a step takes microseconds, and a trip to the
 * thread pool for each of them ten times as long.
 * @throws the file system's error
 */
export async function removeTree(dir: string): Promise<void> {
  const directory = lstatSync(dir, { throwIfNoEntry: false })?.isDirectory()
  if (directory === undefined) return
  if (!directory) return unlinkSync(dir)
  const aside = join(dir, randomUUID())
  const queue = [dir]
  let moved = 0
  let removed = 0
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    // Without these rights a directory can be neither listed nor moved.
    chmodSync(next, 0o700)
    for (const entry of readdirSync(next, { withFileTypes: true })) {
      const path = join(next, entry.name)
      if (++removed % turnEntries === 0) await nextTurn()
      if (!entry.isDirectory()) {
        await remove(path)
        continue
      }
      if (moved === 0) mkdirSync(aside, { mode: 0o700 })
      chmodSync(path, 0o700)
      const place = join(aside, `${moved++}`)
      renameSync(path, place)
      queue.push(place)
    }
    if (next !== dir) rmdirSync(next)
  }
  if (moved > 0) rmdirSync(aside)
  rmdirSync(dir)
}

async function remove(file: string): Promise<void> {
  if (lstatSync(file).size > atOnceBytes) await unlink(file)
  else unlinkSync(file)
}
