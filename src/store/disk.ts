import { type BigIntStats, lstatSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readdir, rm, statfs, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FsBlockstore } from 'blockstore-fs'
import { NextToLast } from 'blockstore-fs/sharding'
import { base32upper } from 'multiformats/bases/base32'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { cidFromDigest } from '../wire/cid.ts'
import { Quarantine } from './quarantine.ts'

/** A block file found on disk by its name; the content was not looked at. */
export interface FoundBlock {
  hex: string
  size: number
  mtimeMs: number
}

const scanAtOnce = 32
/** 34 bytes: the last character carries two bits. */
const multihashName = /^B[A-Z2-7]{54}[AIQY]$/

/**
 * The files of a block store, in the layout of blockstore-fs: `blocks/<shard>/<multihash, base32>.data`. Writing is done
 * here instead of there: it shares one temporary file between all writers of a block, so that a half-written one can
 * become visible. Here each writer has a file of its own in `tmp/`, and only a finished one is renamed into place. One process
 * at a time has them, which the store's lock sees to.
 */
export class BlockDisk {
  readonly #blocks: string
  readonly #tmp: string
  readonly #layout = new NextToLast()
  readonly #inner: FsBlockstore
  readonly quarantine: Quarantine
  #counter = 0

  constructor(dir: string) {
    this.#blocks = join(dir, 'blocks')
    this.#tmp = join(dir, 'tmp')
    this.quarantine = new Quarantine(join(dir, 'quarantine'))
    this.#inner = new FsBlockstore(this.#blocks, { shardingStrategy: this.#layout })
  }

  /** Makes the directories and removes what an earlier process left unfinished. Call with the store's lock held. */
  async open(): Promise<void> {
    await rm(this.#tmp, { recursive: true, force: true })
    await mkdir(this.#tmp, { recursive: true, mode: 0o700 })
    await this.#inner.open()
    await this.quarantine.open()
  }

  file(cid: CID): string {
    const { dir, file } = this.#layout.encode(cid)
    return `${this.#blocks}/${dir}/${file}`
  }

  fileOf(hex: string): string {
    return this.file(cidOfHex(hex))
  }

  /** Undefined when there is nothing of that name, or nothing that may be seen. On the event loop: it takes 1 µs. */
  look(file: string): BigIntStats | undefined {
    try {
      return lstatSync(file, { bigint: true, throwIfNoEntry: false })
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return undefined
    }
  }

  /** Writes a file that nobody else sees; on failure nothing is left of it. */
  async writeTemp(fill: (file: FileHandle) => Promise<void>): Promise<string> {
    const path = join(this.#tmp, String(this.#counter++))
    const file = await this.#create(path)
    try {
      try {
        await fill(file)
      } finally {
        await file.close()
      }
    } catch (error) {
      await this.discard(path)
      throw error
    }
    return path
  }

  /** As `writeTemp`, on the event loop: for few bytes that is a fraction of the price of trips to the thread pool. */
  writeTempNow(bytes: Uint8Array): string {
    const path = join(this.#tmp, String(this.#counter++))
    const write = (): void => writeFileSync(path, bytes, { flag: 'wx', mode: 0o444 })
    try {
      try {
        write()
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error
        mkdirSync(this.#tmp, { recursive: true, mode: 0o700 })
        write()
      }
    } catch (error) {
      rmSync(path, { force: true })
      throw error
    }
    return path
  }

  /** Read-only from the start, so that no tool changes a block by mistake. */
  async #create(path: string): Promise<FileHandle> {
    try {
      return await open(path, 'wx+', 0o444)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      await mkdir(this.#tmp, { recursive: true, mode: 0o700 })
      return await open(path, 'wx+', 0o444)
    }
  }

  /** Renames a finished temporary file to the block's name, replacing what is there. */
  async commit(temp: string, cid: CID): Promise<string> {
    const file = this.file(cid)
    try {
      renameSync(temp, file)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      renameSync(temp, file)
    }
    return file
  }

  async discard(temp: string): Promise<void> {
    try {
      await unlink(temp)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
    }
  }

  async delete(hex: string): Promise<void> {
    await this.#inner.delete(cidOfHex(hex))
  }

  /** Bytes that may still be written to this file system. */
  async free(): Promise<number> {
    const stat = await statfs(this.#blocks)
    return stat.bavail * stat.bsize
  }

  /** Lists all block files. Names that are none are left alone, except unfinished ones that blockstore-fs left. */
  async scan(): Promise<FoundBlock[]> {
    const found: FoundBlock[] = []
    for (const shard of await listing(this.#blocks)) {
      const dir = join(this.#blocks, shard)
      const names = await listing(dir)
      for (let at = 0; at < names.length; at += scanAtOnce) {
        await Promise.all(
          names.slice(at, at + scanAtOnce).map(async (name) => {
            const hex = hexOfName(name, this.#layout.extension)
            if (hex === undefined) {
              if (name.startsWith('.') && name.endsWith('.tmp')) await this.discard(join(dir, name))
              return
            }
            const stat = await lookAsync(join(dir, name))
            if (stat) found.push({ hex, size: stat.isFile() ? stat.size : 0, mtimeMs: stat.mtimeMs })
          }),
        )
      }
    }
    return found
  }
}

export function cidOfHex(hex: string): CID {
  return cidFromDigest(Buffer.from(hex, 'hex'))
}

async function lookAsync(path: string) {
  try {
    return await lstat(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Empty for what is gone or no directory. */
async function listing(dir: string): Promise<string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return []
    throw error
  }
}

function hexOfName(name: string, extension: string): string | undefined {
  if (!name.endsWith(extension)) return undefined
  const encoded = name.slice(0, -extension.length)
  if (!multihashName.test(encoded)) return undefined
  const bytes = base32upper.decode(encoded)
  return bytes[0] === 0x12 && bytes[1] === 0x20 ? Buffer.from(bytes.subarray(2)).toString('hex') : undefined
}
