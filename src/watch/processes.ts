import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { codeOf } from '../base/errors.ts'
import { statFields } from '../base/proc-stat.ts'

/** What the operating system knows about other processes. */
export interface ProcessTable {
  /** A name that no other process with the same id ever had, or undefined when the process is gone. */
  identify(pid: number): string | undefined
}

/** Linux: start time from `/proc`; elsewhere `ps`. A zombie counts as gone. */
export function systemProcesses(platform: NodeJS.Platform): ProcessTable {
  return { identify: platform === 'linux' ? identifyByProc : identifyByPs }
}

function identifyByProc(pid: number): string | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
  const { 0: state, 19: startedTicks } = statFields(text)
  return state === 'Z' || state === 'X' || startedTicks === undefined ? undefined : `${pid}@${startedTicks}`
}

function identifyByPs(pid: number): string | undefined {
  try {
    const options = { encoding: 'utf8', env: { LC_ALL: 'C' } } as const
    const line = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], options).trim()
    return line === '' || line.startsWith('Z') ? undefined : `${pid}@${line.replace(/^\S+\s+/, '')}`
  } catch (error) {
    // ps exits with 1 when there is no such process.
    if (typeof error === 'object' && error !== null && 'status' in error && error.status === 1) return undefined
    throw error
  }
}
