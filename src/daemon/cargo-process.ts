import { readFileSync, readlinkSync } from 'node:fs'
import { processEnvironment } from '../plan/environment.ts'
import type { PlanNeeds } from '../plan/plan.ts'
import type { ProcessTable } from '../watch/processes.ts'

const maxRemembered = 16

/** The environment of each cargo, read once: `/proc` shows what a process was started with. */
export function cargoEnvironments(processes: ProcessTable): PlanNeeds['cargoEnvironment'] {
  const known = new Map<string, ReturnType<PlanNeeds['cargoEnvironment']>>()
  return async (pid) => {
    const identity = processes.identify(pid)
    if (identity === undefined) return undefined
    const read = known.get(identity) ?? processEnvironment(pid)
    known.set(identity, read)
    for (const oldest of known.keys()) {
      if (known.size <= maxRemembered) break
      known.delete(oldest)
    }
    return await read
  }
}

/** Where a process works; undefined where the system does not tell. */
export function workingDirectory(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return undefined
  }
}

/** Whether a process was stopped, as by Ctrl-Z; false where the system does not tell. */
export function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return /^[Tt]/.test(stat.slice(stat.lastIndexOf(')') + 2))
  } catch {
    return false
  }
}
