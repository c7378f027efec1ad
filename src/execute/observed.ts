import { closeSync, constants, fstatSync, openSync, readSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { decodeObservations, type Observation, observationBytes, observationFile } from '../plan/observation.ts'
import type { Root } from '../plan/roots.ts'
import type { Mount } from './sandbox.ts'

/** What a guest did. It is as trustworthy as what it made: a guest that wants to can write anything into its notes. */
export interface Observed {
  events: readonly Observation[]
  /** Where each root was inside, whether something was laid out there or not; as `sortRoots` returns them. */
  roots: readonly Root[]
  /** The directory that holds the roots, and nothing that the builder has. */
  marker: string
  /** Whether a program that only writes down what it is asked for took the place of a linker. */
  links: boolean
}

/** How a program inside comes to be observed. */
export interface Observing {
  mounts: Mount[]
  env: [string, string][]
}

/** Most guests note no more than this. */
const usualBytes = 512 << 10
/**
 * More than any compile notes, and twice what a trace could name. A guest can have its notes full of whatever it likes, and what is made of
 * them here takes memory and time of the node, not of the guest.
 */
const maxRecords = 65_536

/**
 * Makes the file for the notes of one guest in its output directory.
 * @param observer the library; nothing is observed when it is not there
 */
export function startObserving(observer: string | undefined, outDir: string, marker: string): Observing {
  if (observer === undefined || !statSync(observer, { throwIfNoEntry: false })?.isFile()) return { mounts: [], env: [] }
  const file = join(outDir, observationFile)
  writeFileSync(file, '', { mode: 0o600, flag: 'wx' })
  truncateSync(file, observationBytes)
  const inside = `${marker}/observer/libshoal-observer.so`
  return {
    mounts: [{ from: observer, to: inside }],
    env: [
      ['LD_PRELOAD', inside],
      ['SHOAL_OBSERVE', `${marker}/out/${observationFile}`],
    ],
  }
}

/**
 * What was noted so far; the guest may still run.
 * @returns undefined when the notes are missing or not complete
 */
export function takeObservations(outDir: string): readonly Observation[] | undefined {
  let fd: number
  try {
    fd = openSync(join(outDir, observationFile), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    // Also what a guest may have put in its place.
    if (['ENOENT', 'ELOOP', 'ENXIO', 'EACCES'].includes(codeOf(error) ?? '')) return undefined
    throw error
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile() || stat.nlink !== 1 || stat.size > observationBytes) return undefined
    for (const size of [Math.min(usualBytes, stat.size), stat.size]) {
      const { complete, events } = decodeObservations(readStart(fd, size), maxRecords)
      if (complete) return events
    }
    return undefined
  } finally {
    closeSync(fd)
  }
}

function readStart(fd: number, size: number): Uint8Array {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; ) {
    const read = readSync(fd, bytes, at, size - at, at)
    if (read === 0) return bytes.subarray(0, at)
    at += read
  }
  return bytes
}
