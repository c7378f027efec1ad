import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readlinkSync, type Stats, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { cidFromDigest, cidOf } from '../wire/cid.ts'
import type { Read, ReadKind } from './action.ts'
import type { StatDigests } from './stat-digests.ts'

/** What something turned out to be. A digest, or `there` for a kind without one; undefined: it is not of that kind. */
export type Seen = CID | 'there' | undefined

/** The files of a place, as a compile there sees them. */
export interface View {
  /** @param path absolute; a bare name for `program` */
  see(kind: Exclude<ReadKind, 'environ' | 'bound' | 'tree' | 'sorts' | 'place'>, path: string): Promise<Seen> | Seen
  /** What lies at a path, and whether it changed after the wall-clock time `since` (ms); undefined for devices and the like. */
  what(path: string, since: number): { kind: 'file' | 'dir' | 'absent'; changed: boolean } | undefined
  /**
   * Whether a directory on the way to one of the paths was renamed after `since`: then something else may have been there before. To be
   * asked when all else was looked at.
   */
  moved?(paths: Iterable<string>, since: number): boolean
}

/** This machine. */
export class LocalView implements View {
  readonly #digests: StatDigests
  readonly #path: readonly string[]

  /**
   * @param path the value of PATH
   * @param cwd what its relative and empty entries start from
   */
  constructor(digests: StatDigests, path: string, cwd = '/') {
    this.#digests = digests
    this.#path = path === '' ? [] : path.split(':').map((dir) => resolve(cwd, dir))
  }

  /** A rename changes the time of the directory itself, and not that of its entries. */
  moved(paths: Iterable<string>, since: number): boolean {
    const looked = new Set<string>()
    for (const path of paths) {
      for (let at = dirname(path); !looked.has(at) && at !== dirname(at); at = dirname(at)) {
        looked.add(at)
        const stat = statAt(at)
        if (stat !== undefined && stat.ctimeMs >= since && stat.mtimeMs < since) return true
      }
    }
    return false
  }

  see(kind: Parameters<View['see']>[0], path: string): Promise<Seen> | Seen {
    switch (kind) {
      case 'file':
        return this.#file(path)
      case 'absent':
        return existsSync(path) ? undefined : 'there'
      case 'dir':
        return statAt(path)?.isDirectory() ? 'there' : undefined
      case 'list':
        return listingDigest(path)
      case 'link':
        return linkDigest(path)
      case 'program':
        return this.#program(path)
      default:
        return kind satisfies never
    }
  }

  what(path: string, since: number): ReturnType<View['what']> {
    const stat = statAt(path)
    if (stat === undefined) return { kind: 'absent', changed: false }
    if (!stat.isFile() && !stat.isDirectory()) return undefined
    return { kind: stat.isFile() ? 'file' : 'dir', changed: stat.ctimeMs >= since }
  }

  #file(path: string): Promise<Seen> | Seen {
    const known = this.#digests.known(path)
    if (known !== undefined) return known.cid
    // Somebody else's trace may name a device or a pipe, which would never come to an end.
    return statAt(path)?.isFile() ? this.#content(path) : undefined
  }

  async #content(path: string): Promise<Seen> {
    try {
      return (await this.#digests.digest(path)).cid
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return undefined
    }
  }

  #program(name: string): Promise<Seen> | Seen {
    for (const directory of this.#path) {
      const path = join(directory, name)
      const stat = statAt(path)
      if (stat?.isFile() && (stat.mode & 0o111) !== 0) return this.see('file', path)
    }
    return undefined
  }
}

function statAt(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    // A file where a directory was expected, a loop of links: nothing can be read there.
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}

/** Of a directory with these entries: directories, links and everything else, by name. */
export function entriesDigest(entries: readonly (readonly ['d' | 'l' | 'f', string])[]): CID {
  const lines = entries.map(([kind, name]) => `${kind} ${name}`)
  return cidFromDigest(createHash('sha256').update(lines.sort().join('\0')).digest())
}

/** Names and kinds of the entries; undefined when it is no directory. */
export function listingDigest(path: string): CID | undefined {
  try {
    const entries = readdirSync(path, { withFileTypes: true })
    return entriesDigest(
      entries.map((entry) => [entry.isDirectory() ? 'd' : entry.isSymbolicLink() ? 'l' : 'f', entry.name]),
    )
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}

function linkDigest(path: string): CID | undefined {
  try {
    return cidOf(Buffer.from(readlinkSync(path)))
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}

/** Whether something still is what a trace says of it. */
export const agrees = (seen: Seen, [kind, , recorded]: Read): boolean => {
  if (seen === undefined) return kind === 'program' && recorded === null
  if (seen === 'there') return recorded === null
  return recorded?.equals(seen) === true
}
