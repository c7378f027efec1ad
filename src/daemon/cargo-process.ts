import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { BoundedMap } from '../base/bounded-map.ts'
import { statFields } from '../base/proc-stat.ts'
import { processEnvironment } from '../plan/environment.ts'
import type { PlanNeeds } from '../plan/plan.ts'
import type { ProcessTable } from '../watch/processes.ts'

const maxRemembered = 16

/** The environment of each cargo, read once: `/proc` shows what a process was started with. */
export function cargoEnvironments(processes: ProcessTable): PlanNeeds['cargoEnvironment'] {
  const known = new BoundedMap<string, ReturnType<PlanNeeds['cargoEnvironment']>>(maxRemembered)
  return async (pid) => {
    const identity = processes.identify(pid)
    if (identity === undefined) return undefined
    const read = known.get(identity) ?? processEnvironment(pid)
    known.set(identity, read)
    return await read
  }
}

/** Where a process works; undefined where the system does not tell. */
export function workingDirectory(pid: number): string | undefined {
  return linkAt(`/proc/${pid}/cwd`)
}

/** Directories at or below a cargo's workspace: where it works, and where the manifest lies that it was told of. */
export function cargoPlaces(pid: number): string[] {
  const cwd = workingDirectory(pid)
  if (cwd === undefined) return []
  const args = argumentsOf(pid)
  const named = args.flatMap((argument, at) =>
    args[at - 1] === '--manifest-path' ? argument : (/^--manifest-path=(.+)$/.exec(argument)?.[1] ?? []),
  )
  return [cwd, ...named.map((path) => dirname(resolve(cwd, path)))]
}

/**
 * Directories in which a cargo holds its locks: those that it builds in, and those in which people look for what it built. Empty where the
 * system does not tell.
 */
export function lockedBy(pid: number): string[] {
  const open = `/proc/${pid}/fd`
  const paths = entriesOf(open).map((descriptor) => linkAt(`${open}/${descriptor}`))
  return [
    ...new Set(paths.flatMap((path) => (path !== undefined && ofCargo.test(basename(path)) ? dirname(path) : []))),
  ]
}

const ofCargo = /^\.cargo(-\w+)*-lock$/

function entriesOf(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return []
  }
}

/** Undefined when it is gone. */
function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

/** Empty where the system does not tell. */
function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  } catch {
    return []
  }
}

/** Whether a process was stopped, as by Ctrl-Z; false where the system does not tell. */
export function isStopped(pid: number): boolean {
  const state = stateOf(pid)
  if (state === 'T' || state === 't') return true
  // While its child is between vfork and exec a process cannot be interrupted: the child alone was stopped then.
  return state === 'D' && childrenOf(pid).some((child) => /^[Tt]$/.test(stateOf(child)))
}

/** The letter of proc_pid_stat(5); empty when there is none. */
function stateOf(pid: number): string {
  try {
    return statFields(readFileSync(`/proc/${pid}/stat`, 'latin1'))[0] ?? ''
  } catch {
    return ''
  }
}

/** Those that its first thread has started; empty when the kernel does not list them. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}
