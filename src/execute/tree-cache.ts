import { randomUUID } from 'node:crypto'
import { lstatSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { hexOf } from '../wire/cid.ts'
import type { Blocks } from './blocks.ts'
import { makeReadable } from './guest-users.ts'
import { removeTree } from './remove-tree.ts'
import { type TreeFiles, writeTree } from './tree-files.ts'

const defaultMaxBytes = 1024 ** 3
/** What a directory entry costs at least, so that a great many empty files are not free. */
const leastBytes = 4096

interface Kept {
  /** Resolves when all of it lies there. */
  ready: Promise<void>
  path: string
  bytes: number
  /** Compiles that have it mounted. */
  users: number
  /** Path and look of all that is in it, as they were when the verified bytes had been written. */
  looks: (readonly [string, string])[]
}

/** A directory to be mounted read-only. */
export interface CachedTree {
  path: string
  /** Nobody reads it here any more. */
  release(): void
}

/**
 * The sources of packages, each as one directory that is mounted into every compile that is given them: laying out files for
 * each compile, and removing them, cost more than all else that a lender does. Emptied at start, because what is in the files is
 * known only while somebody remembers writing them.
 */
export class TreeCache {
  readonly #dir: string
  readonly #blocks: Blocks
  readonly #maxBytes: number
  /** By the tree's hex, least recently used first. */
  readonly #kept = new Map<string, Kept>()
  readonly #removals = new Set<Promise<void>>()
  #bytes = 0

  /** @param dir belongs to the cache alone */
  constructor(dir: string, blocks: Blocks, maxBytes: number = defaultMaxBytes) {
    this.#dir = dir
    this.#blocks = blocks
    this.#maxBytes = maxBytes
  }

  async start(): Promise<void> {
    await removeTree(this.#dir)
    await mkdir(this.#dir, { recursive: true, mode: 0o700 })
  }

  /**
   * A directory with these files and nothing else, until it is released.
   * @throws ShoalError ERR_INPUT_MISSING when a block is not here or has another size; the file system's error
   */
  async take(tree: CID, files: TreeFiles): Promise<CachedTree> {
    const hex = hexOf(tree)
    const known = this.#kept.get(hex)
    const kept = known !== undefined && isUntouched(known) ? known : this.#begin(hex, files)
    kept.users += 1
    this.#kept.delete(hex)
    this.#kept.set(hex, kept)
    const release = (): void => {
      kept.users -= 1
      if (this.#kept.get(hex) === kept) this.#shrink()
      else if (kept.users === 0) this.#remove(kept)
    }
    try {
      await kept.ready
    } catch (error) {
      release()
      throw error
    }
    return { path: kept.path, release }
  }

  /** Settles when all that was thrown away is gone. */
  async idle(): Promise<void> {
    while (this.#removals.size > 0) await Promise.all(this.#removals)
  }

  #begin(hex: string, tree: TreeFiles): Kept {
    const old = this.#kept.get(hex)
    if (old !== undefined) this.#forget(hex, old)
    const path = join(this.#dir, `${hex}-${randomUUID()}`)
    const bytes = tree.files.reduce((sum, { size }) => sum + Math.max(size, leastBytes), 0)
    const kept: Kept = { ready: Promise.resolve(), path, bytes, users: 0, looks: [] }
    kept.ready = this.#fill(kept, tree)
    kept.ready.catch(() => this.#forget(hex, kept))
    this.#kept.set(hex, kept)
    this.#bytes += bytes
    return kept
  }

  async #fill(kept: Kept, tree: TreeFiles): Promise<void> {
    const { files } = tree
    const temporary = `${kept.path}.new`
    try {
      const directories = new Set(['.', ...files.flatMap(({ path }) => above(path))])
      for (const directory of directories) makeReadable(join(temporary, directory))
      await writeTree(this.#blocks, tree, { placeOf: (path) => join(temporary, path) })
      await rename(temporary, kept.path)
      kept.looks = [...directories, ...files.map(({ path }) => path)].map((path) => {
        const place = join(kept.path, path)
        return [place, lookOf(place)] as const
      })
    } catch (error) {
      this.#track(removeTree(temporary))
      throw error
    }
  }

  #shrink(): void {
    for (const [hex, kept] of this.#kept) {
      if (this.#bytes <= this.#maxBytes) break
      if (kept.users === 0) this.#forget(hex, kept)
    }
  }

  /** Whoever has it mounted keeps it. */
  #forget(hex: string, kept: Kept): void {
    if (this.#kept.get(hex) !== kept) return
    this.#kept.delete(hex)
    this.#bytes -= kept.bytes
    if (kept.users === 0) this.#remove(kept)
  }

  #remove({ path }: Kept): void {
    this.#track(removeTree(path))
  }

  /** What is left of it goes at the next start. */
  #track(removal: Promise<void>): void {
    const tracked: Promise<void> = removal
      .catch(() => undefined)
      .finally(() => {
        this.#removals.delete(tracked)
      })
    this.#removals.add(tracked)
  }
}

/** `a/b/c`: `a/b` and `a`. */
function above(path: string): string[] {
  const directories: string[] = []
  for (let up = dirname(path); up !== '.'; up = dirname(up)) directories.push(up)
  return directories
}

/** Whether it is as it was written: a few microseconds for each file. */
const isUntouched = ({ looks }: Kept): boolean => looks.every(([path, look]) => lookOf(path) === look)

/** Also of directories, in which something may have been put. Nobody but the kernel sets a ctime. */
function lookOf(path: string): string {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino}:${stat.size}:${stat.mtimeMs}:${stat.ctimeMs}:${stat.mode}`
}
