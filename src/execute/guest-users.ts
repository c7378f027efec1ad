import { randomInt } from 'node:crypto'
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { codeOf, ShoalError } from '../base/errors.ts'

/** First and last, both included. */
export type IdRange = readonly [first: number, last: number]

/** What a system says of its users and groups. */
export interface KnownIds {
  /** Text of `/proc/self/uid_map` and of `gid_map`: which of them exist here at all. */
  maps: readonly string[]
  /** Text of `/etc/passwd` and of `/etc/group`. */
  names: readonly string[]
}

/**
 * Given to nobody by convention: above what directories of companies hand out (the default of SSSD ends at 2,000,200,000) and
 * below what systemd keeps for files of others and the half of the numbers that some programs take for negative; and a gap that systemd
 * leaves, for containers that know only 65,536. Source: systemd, UIDS-GIDS.
 */
const unused: readonly IdRange[] = [
  [0x78000000, 0x7ffdffff],
  [60706, 61183],
]
const [most, least] = [1024, 16]
/** Of a range, so that two nodes on one machine most likely have others. */
const share = 8

/**
 * Numbers for users who exist nowhere: so far that two nodes of one machine have others.
 * @returns undefined when this system knows none of those that nobody is given
 */
export function chooseIds({ maps, names }: KnownIds): IdRange | undefined {
  const taken = names.flatMap((text) => text.split('\n').map((line) => Number(line.split(':')[2] || Number.NaN)))
  for (const whole of unused) {
    for (const [first, last] of maps.reduce<IdRange[]>(
      (ranges, map) => ranges.flatMap((range) => within(range, map)),
      [whole],
    )) {
      const count = Math.min(most, Math.floor((last - first + 1) / share))
      if (count < least || taken.some((id) => id >= first && id <= last)) continue
      const start = first + randomInt(last - first + 2 - count)
      return [start, start + count - 1]
    }
  }
  return undefined
}

/** The parts of a range that a map of a user namespace has. */
function within([first, last]: IdRange, map: string): IdRange[] {
  return map.split('\n').flatMap((line) => {
    const [inside = Number.NaN, , count = 0] = line.trim().split(/\s+/).map(Number)
    const part: IdRange = [Math.max(first, inside), Math.min(last, inside + count - 1)]
    return part[0] <= part[1] ? [part] : []
  })
}

/**
 * Users for the guests of a node that is root: each guest that runs has one of its own, so that what the kernel counts or
 * allows by user is neither root's nor another guest's.
 */
export class GuestUsers {
  readonly #ids: IdRange
  readonly #inUse = new Set<number>()
  #next: number

  constructor(ids: IdRange) {
    this.#ids = ids
    this.#next = ids[0]
  }

  /** @returns why there are none, in words */
  static open(): GuestUsers | string {
    const text = (path: string): string => {
      try {
        return readFileSync(path, 'utf8')
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return ''
        throw error
      }
    }
    const ids = chooseIds({
      maps: ['/proc/self/uid_map', '/proc/self/gid_map'].map(text),
      names: ['/etc/passwd', '/etc/group'].map(text),
    })
    return ids === undefined ? 'there is no user here that could be nobody' : new GuestUsers(ids)
  }

  /**
   * One after the other, so that what the kernel still has to forget about a guest does not meet the next.
   * @throws ShoalError ERR_LIMIT when all of them run
   */
  take(): number {
    const [first, last] = this.#ids
    for (let tries = first; tries <= last; tries++) {
      const id = this.#next
      this.#next = id === last ? first : id + 1
      if (this.#inUse.has(id)) continue
      this.#inUse.add(id)
      return id
    }
    throw new ShoalError('ERR_LIMIT', 'more guests than there are users for')
  }

  /** When nothing of it runs any more. */
  giveBack(id: number): void {
    this.#inUse.delete(id)
  }
}

/** Makes a directory that no guest has seen yet, and the files in it, a guest's own. */
export function handOver(dir: string, user: number): void {
  for (const name of readdirSync(dir)) chownSync(join(dir, name), user, user)
  chownSync(dir, user, user)
}

/**
 * Lets everybody read what this node has made, whatever mask it was started with. Who may come near is decided above: all of it
 * lies in directories that are closed to others, and only a guest meets it elsewhere.
 */
export function letRead(path: string): void {
  const { mode } = lstatSync(path)
  if (!isReadable(mode)) chmodSync(path, (mode & 0o777) | ((mode & 0o100) === 0 ? 0o444 : 0o555))
}

/** Makes a directory and those above it that are missing; `letRead` for them. */
export function makeReadable(directory: string): void {
  const first = mkdirSync(directory, { recursive: true })
  if (first === undefined) return
  for (let made = directory; made.length >= first.length; made = dirname(made)) letRead(made)
}

/** Whether everybody may read it, and run or enter it where its owner may. */
function isReadable(mode: number): boolean {
  const wanted = (mode & 0o100) === 0 ? 0o004 : 0o005
  return (mode & wanted) === wanted
}

/** The first of some files below `top`, or of the directories between, that not everybody may read. */
export function firstUnreadable(top: string, files: readonly string[]): string | undefined {
  const paths = new Set<string>()
  for (const file of files) {
    for (let path = file; path !== '.' && !paths.has(path); path = dirname(path)) paths.add(path)
  }
  return [...paths].map((path) => join(top, path)).find((path) => !isReadable(statSync(path).mode))
}
