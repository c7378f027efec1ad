import { randomUUID } from 'node:crypto'
import { constants, linkSync, statSync, writeFileSync } from 'node:fs'
import { chmod, copyFile, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError } from '../base/errors.ts'
import { hexOf } from '../wire/cid.ts'
import type { Blocks } from './blocks.ts'
import { letRead } from './guest-users.ts'
import { removeTree } from './remove-tree.ts'

const defaultMaxBytes = 2 * 1024 ** 3

interface Kept {
  path: string
  size: number
  /** Inode, size and time as they were when the verified bytes were written. */
  stamp: string
}

/**
 * Large inputs that many compiles read, such as the metadata of a popular crate: one private copy of the block, linked
 * into each compile's directory. Links never go into the store itself, whose files are checked by their time stamps.
 */
export class InputCache {
  readonly #dir: string
  readonly #blocks: Blocks
  readonly #maxBytes: number
  /** Least recently used first. */
  readonly #kept = new Map<string, Kept>()
  readonly #coming = new Map<string, Promise<Kept>>()
  #bytes = 0

  /** @param dir on the file system of the compiles; belongs to the cache alone */
  constructor(dir: string, blocks: Blocks, maxBytes: number = defaultMaxBytes) {
    this.#dir = dir
    this.#blocks = blocks
    this.#maxBytes = maxBytes
  }

  /** Throws away what an earlier process left: what is in the files is known only while somebody remembers writing them. */
  async start(): Promise<void> {
    await removeTree(this.#dir)
    await mkdir(this.#dir, { recursive: true, mode: 0o700 })
  }

  /**
   * Makes `to` a read-only file with the block's content.
   * @throws ShoalError ERR_INPUT_MISSING when the block is not here or has another size
   */
  async place(cid: CID, size: number, to: string): Promise<void> {
    const kept = await this.#keep(cid, size)
    try {
      linkSync(kept.path, to)
    } catch (error) {
      // Evicted between the two steps, or linked too often.
      if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'EMLINK') throw error
      await write(this.#blocks, cid, size, to)
    }
  }

  async #keep(cid: CID, size: number): Promise<Kept> {
    const hex = hexOf(cid)
    const known = this.#kept.get(hex)
    if (known !== undefined && stampOf(known.path) === known.stamp) {
      if (known.size !== size) throw new ShoalError('ERR_INPUT_MISSING', `input of ${known.size} bytes, not ${size}`)
      this.#kept.delete(hex)
      this.#kept.set(hex, known)
      return known
    }
    if (known !== undefined) await this.#drop(hex, known)
    let coming = this.#coming.get(hex)
    if (coming === undefined) {
      coming = this.#fill(cid, hex, size).finally(() => this.#coming.delete(hex))
      this.#coming.set(hex, coming)
    }
    return await coming
  }

  async #fill(cid: CID, hex: string, size: number): Promise<Kept> {
    const path = join(this.#dir, hex)
    const temporary = `${path}.${randomUUID()}`
    try {
      await write(this.#blocks, cid, size, temporary)
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
    const kept = { path, size, stamp: stampOf(path) }
    this.#kept.set(hex, kept)
    this.#bytes += size
    for (const [oldest, entry] of this.#kept) {
      if (this.#bytes <= this.#maxBytes || oldest === hex) break
      await this.#drop(oldest, entry)
    }
    return kept
  }

  async #drop(hex: string, kept: Kept): Promise<void> {
    if (this.#kept.get(hex) === kept) {
      this.#kept.delete(hex)
      this.#bytes -= kept.size
    }
    await rm(kept.path, { force: true })
  }
}

/**
 * Writes a block to a new read-only file.
 * @throws ShoalError ERR_INPUT_MISSING when it is not here or has another size
 */
export async function write(blocks: Blocks, cid: CID, size: number, to: string): Promise<void> {
  const from = size > maxInMemory ? await blocks.path(cid) : undefined
  if (from !== undefined && statSync(from, { throwIfNoEntry: false })?.size === size) {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    await chmod(to, 0o444)
    return
  }
  const bytes = await blocks.get(cid)
  if (bytes === undefined) throw new ShoalError('ERR_INPUT_MISSING', `input ${cid.toString()} is not here`)
  if (bytes.length !== size) throw new ShoalError('ERR_INPUT_MISSING', `input of ${bytes.length} bytes, not ${size}`)
  // A small file is written sooner than a thread is found for it.
  if (size <= maxAtOnce) writeFileSync(to, bytes, { flag: 'wx', mode: 0o444 })
  else await writeFile(to, bytes, { flag: 'wx', mode: 0o444 })
  letRead(to)
}

const maxInMemory = 1 << 20
const maxAtOnce = 64 << 10

/** Not by ctime, which every link changes. */
function stampOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino}:${stat.size}:${stat.mtimeNs}`
}
