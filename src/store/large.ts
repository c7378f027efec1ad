import { createHash, type Hash } from 'node:crypto'
import { fstatSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import { BoundedMap } from '../base/bounded-map.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import { digestOf } from '../wire/cid.ts'
import { openFlagsFollowing, readChecked } from './files.ts'
import { type Stamp, sameStamp, stampOf } from './ledger.ts'

/** Blocks up to here are read, sent and written as a whole; larger ones in ranges. */
export const wholeBytes = 1 << 20

/** A block's file that is open for reading in ranges: what is large is never in memory as a whole. */
export class BlockFile {
  readonly size: number
  readonly #file: FileHandle
  readonly #stamp: Stamp

  private constructor(file: FileHandle, size: number, stamp: Stamp) {
    this.#file = file
    this.size = size
    this.#stamp = stamp
  }

  /** @returns undefined when the file is gone or is not the one that was verified, which `stamp` tells */
  static async open(path: string, flags: number, stamp: Stamp): Promise<BlockFile | undefined> {
    let file: FileHandle
    try {
      file = await open(path, flags)
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return undefined
    }
    const stat = await file.stat({ bigint: true })
    if (sameStamp(stamp, stat)) return new BlockFile(file, Number(stat.size), stamp)
    await file.close()
    return undefined
  }

  /**
   * Bytes from `offset` on, at most `length`, fewer at the end; in `into`, which is long enough, when it is given.
   * @throws ShoalError ERR_STORE when the file was changed since it was verified, or cannot be read
   */
  async read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    const wanted = Math.max(0, Math.min(length, this.size - offset))
    const bytes = into?.subarray(0, wanted) ?? Buffer.allocUnsafeSlow(wanted)
    try {
      for (let at = 0; at < wanted; ) {
        const { bytesRead } = await this.#file.read(bytes, at, wanted - at, offset + at)
        if (bytesRead === 0) break
        at += bytesRead
      }
      if (sameStamp(this.#stamp, fstatSync(this.#file.fd, { bigint: true }))) return bytes
    } catch (error) {
      throw new ShoalError('ERR_STORE', 'a block cannot be read', { cause: error })
    }
    throw new ShoalError('ERR_STORE', 'a block was changed while it was read')
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

const readBackBytes = 1 << 20

/**
 * The temporary file of a block that arrives in pieces, in any order. It is hashed from its beginning as far as there
 * is no gap: pieces that come in order straight from memory, the others from the file.
 */
export class IncomingFile {
  readonly size: number
  readonly #file: FileHandle
  readonly #hash: Hash = createHash('sha256')
  /** Offset and end of the pieces behind the first gap. */
  readonly #ahead = new Map<number, number>()
  #hashed = 0
  #digest: Uint8Array | undefined
  #readBack: Uint8Array | undefined
  #reading: Promise<void> = Promise.resolve()

  constructor(file: FileHandle, size: number) {
    this.#file = file
    this.size = size
  }

  /** Each byte is to be written once. `bytes` may be used again when this resolves. */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    const isNext = offset === this.#hashed
    const end = offset + bytes.length
    if (isNext) {
      this.#hash.update(bytes)
      this.#hashed = end
    }
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, offset + at)
      at += bytesWritten
    }
    if (!isNext) this.#ahead.set(offset, end)
    this.#reading = this.#reading.then(() => this.#catchUp())
    await this.#reading
  }

  async #catchUp(): Promise<void> {
    for (;;) {
      const from = this.#hashed
      const end = this.#ahead.get(from)
      if (end === undefined) return
      this.#ahead.delete(from)
      this.#readBack ??= Buffer.allocUnsafeSlow(readBackBytes)
      for (let at = from; at < end; at += readBackBytes) {
        this.#hash.update(await this.read(at, Math.min(readBackBytes, end - at), this.#readBack))
      }
      this.#hashed = end
    }
  }

  /** What was written before; in `into`, which is long enough, when it is given. */
  async read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    const bytes = into?.subarray(0, length) ?? Buffer.allocUnsafeSlow(length)
    for (let at = 0; at < length; ) {
      const { bytesRead } = await this.#file.read(bytes, at, length - at, offset + at)
      if (bytesRead === 0) throw new ShoalError('ERR_STORE', 'an unfinished block became shorter')
      at += bytesRead
    }
    return bytes
  }

  /** Whether it is whole and what `cid` names. Nothing can be written afterwards. */
  matches(cid: CID): boolean {
    if (this.#hashed !== this.size) return false
    this.#digest ??= this.#hash.digest()
    return Buffer.compare(this.#digest, digestOf(cid)) === 0
  }
}

const maxStamps = 1024

/** Large files outside the store that hold blocks. Each is read through once, and again when it was touched. */
export class LentFiles {
  readonly #stamps = new BoundedMap<string, { digest: Uint8Array; stamp: Stamp }>(maxStamps)

  /** @returns undefined when the file does not hold the block */
  async open(path: string, cid: CID): Promise<BlockFile | undefined> {
    const digest = digestOf(cid)
    const known = this.#stamps.get(path)
    if (known !== undefined && Buffer.compare(known.digest, digest) === 0) {
      const file = await BlockFile.open(path, openFlagsFollowing, known.stamp)
      if (file !== undefined) return file
    }
    this.#stamps.delete(path)
    const checked = await readChecked(path, digest, {
      flags: openFlagsFollowing,
      expectedBytes: Number.POSITIVE_INFINITY,
      maxBytes: Number.MAX_SAFE_INTEGER,
      keep: false,
    })
    if (checked.kind !== 'right') return undefined
    const stamp = stampOf(checked.stat)
    this.#stamps.set(path, { digest, stamp })
    return await BlockFile.open(path, openFlagsFollowing, stamp)
  }
}
