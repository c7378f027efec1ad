import { readFileSync } from 'node:fs'
import { codeOf } from '../base/errors.ts'
import { statFields } from '../base/proc-stat.ts'

/** What Linux counts processor time in, for programs that look. */
const tickMs = 10
const most = 64

/** Processor milliseconds of a process and of what it has started, as far as that runs; 0 when it has ended, and where there is no /proc. */
export function cpuMsOf(firstPid: number): number {
  let ticks = 0
  const queue = [firstPid]
  const seen = new Set<number>()
  for (let pid = queue.pop(); pid !== undefined && seen.size < most; pid = queue.pop()) {
    if (seen.has(pid)) continue
    seen.add(pid)
    // utime, stime, and the same of children that have ended.
    for (const field of statFields(read(`/proc/${pid}/stat`)).slice(11, 15)) ticks += Number(field)
    for (const child of read(`/proc/${pid}/task/${pid}/children`).split(' '))
      if (child !== '') queue.push(Number(child))
  }
  return ticks * tickMs
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(codeOf(error) ?? '')) return ''
    throw error
  }
}
