import { readFile, readlink } from 'node:fs/promises'
import { statFields } from '../base/proc-stat.ts'

/**
 * Whether these processes are all this one's own: itself, whoever of the same program started it (the command line, which waits for its
 * daemon), and what any of those has started. A shell, or whatever else of the owner's, is not. Those that are gone do not matter.
 */
export async function areOwn(pids: readonly number[]): Promise<boolean> {
  let first = process.pid
  for (let parent = await parentOf(first); parent !== undefined; parent = await parentOf(parent)) {
    if (!pids.includes(parent) || (await programOf(parent)) !== (await programOf(process.pid))) break
    first = parent
  }
  for (const pid of pids) {
    let at: number | undefined = pid
    while (at !== undefined && at > 0 && at !== first) at = await parentOf(at)
    if (at === 0) return false
  }
  return true
}

/** 0 for the first process there is; undefined for one that is gone. */
async function parentOf(pid: number): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  return stat === '' ? undefined : Number(statFields(stat)[1])
}

/** Empty when it is gone, or another user's. */
async function programOf(pid: number): Promise<string> {
  return await readlink(`/proc/${pid}/exe`).catch(() => '')
}
