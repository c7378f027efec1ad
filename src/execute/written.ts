import { readdirSync, readFileSync, type Stats, statfsSync, statSync } from 'node:fs'
import { codeOf } from '../base/errors.ts'
import { statFields } from '../base/proc-stat.ts'

/** Looks in a row, 200 ms apart, at which a process keeps to itself what it has written: no start of a program takes that long. */
const maxHidden = 5
/** What is left on the disk of the outputs is no less than this, or a quarter of what was there at first. */
const leftBytes = 512 << 20

/** What the processes of one guest write, from one look to the next. */
export class Written {
  /** By process: how often in a row it could not be asked. */
  #hidden = new Map<number, number>()
  #leaves: number | undefined

  /**
   * Bytes, also of what was deleted since, but not those of who ended without being waited for. Undefined when a process of this very user keeps it
   * to itself for good, as after running a file that it must not read; for a moment between two programs each does.
   * @param stands whether they stand still: at such a moment too, and then it is a long one
   */
  look(pids: readonly number[], stands = false): number | undefined {
    const hidden = new Map<number, number>()
    let bytes = 0
    for (const pid of pids) {
      const told = writtenBy(pid)
      if (told === 'hidden') hidden.set(pid, (this.#hidden.get(pid) ?? 0) + (stands ? 0 : 1))
      else bytes += told
    }
    this.#hidden = hidden
    return [...hidden.values()].some((looks) => looks >= maxHidden) ? undefined : bytes
  }

  /** Whether there is hardly room left where a guest writes: what nobody can add up ends here. */
  fills(dir: string): boolean {
    const { bavail, bsize } = statfsSync(dir)
    this.#leaves ??= Math.min(leftBytes, (bavail * bsize) / 4)
    return bavail * bsize < this.#leaves
  }
}

/** By it, and by those that it has started and waited for. */
function writtenBy(pid: number): number | 'hidden' {
  try {
    return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))?.[1] ?? 0)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ESRCH') return 0
    if (code !== 'EACCES' && code !== 'EPERM') throw error
    return isDead(pid) ? 0 : 'hidden'
  }
}

/**
 * Room that files take which are in no directory any more, and which any of these processes has open, whoever wrote them: also one that has
 * ended, and that nobody waited for.
 * @returns bytes
 */
export function deletedOf(pids: readonly number[]): number {
  const files = new Map<string, number>()
  for (const pid of pids) {
    for (const fd of listProc(`${pid}/fd`)) {
      const stat = statOf(`/proc/${pid}/fd/${fd}`)
      if (stat?.isFile() === true && stat.nlink === 0) files.set(`${stat.dev}:${stat.ino}`, stat.blocks * 512)
    }
  }
  return [...files.values()].reduce((sum, bytes) => sum + bytes, 0)
}

/** The names in a directory of `/proc`; none when its process has ended or keeps this to itself. */
export function listProc(path: string): string[] {
  try {
    return readdirSync(`/proc/${path}`)
  } catch (error) {
    if (isGone(error)) return []
    throw error
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

/** Also what keeps itself to itself. */
export const isGone = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR', 'ESRCH', 'EACCES', 'EPERM'].includes(codeOf(error) ?? '')

/**
 * Absent, or a zombie and nothing else: the kernel lets the first process of a namespace become one when all others in it are
 * gone, but lets its first thread before the others.
 */
export function isDead(pid: number): boolean {
  try {
    const [state] = statFields(readFileSync(`/proc/${pid}/stat`, 'latin1'))
    return (state === 'Z' || state === 'X') && readdirSync(`/proc/${pid}/task`).length <= 1
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return true
    throw error
  }
}
