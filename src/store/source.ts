import type { BigIntStats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { codeOf, ShoalError } from '../base/errors.ts'
import { hashFile, openFlags } from './files.ts'

/** A regular file that is being copied into the store. */
export class SourceFile {
  readonly size: number
  readonly #path: string
  readonly #file: FileHandle
  readonly #stat: BigIntStats
  #watched = 0

  private constructor(path: string, file: FileHandle, stat: BigIntStats) {
    this.size = Number(stat.size)
    this.#path = path
    this.#file = file
    this.#stat = stat
  }

  /** @throws ShoalError ERR_OUTPUT for what is absent, a symbolic link or no regular file, ERR_BLOCK_TOO_LARGE */
  static async open(path: string, maxBytes: number): Promise<SourceFile> {
    let file: FileHandle
    try {
      file = await open(path, openFlags)
    } catch (error) {
      throw new ShoalError('ERR_OUTPUT', `${path} cannot be read: ${codeOf(error)}`, { cause: error })
    }
    try {
      const stat = await file.stat({ bigint: true })
      if (!stat.isFile()) throw new ShoalError('ERR_OUTPUT', `${path} is not a regular file`)
      if (stat.size > maxBytes) {
        throw new ShoalError('ERR_BLOCK_TOO_LARGE', `${path}: ${stat.size} bytes, at most ${maxBytes}`)
      }
      return new SourceFile(path, file, stat)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** All of it. @throws ShoalError ERR_OUTPUT when it changes meanwhile */
  async read(): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(this.size)
    const { bytesRead } = await this.#file.read(bytes, 0, this.size, 0)
    await this.#checkUnchanged(bytesRead)
    return bytes
  }

  /**
   * Copies all of it, hashing on the way; `watch` sees each chunk for as long as it does not return. Copying a second time
   * shows it only what it has not seen yet. The chunks lie in `buffer`.
   * @throws ShoalError ERR_OUTPUT when it changes meanwhile
   */
  async copyTo(target: FileHandle, buffer: Uint8Array, watch?: (chunk: Uint8Array) => void): Promise<Uint8Array> {
    let copied = 0
    const each = (chunk: Uint8Array): Promise<void> => {
      const written = target.writeFile(chunk)
      const unseen = chunk.subarray(Math.max(0, this.#watched - copied))
      copied += chunk.length
      this.#watched = Math.max(this.#watched, copied)
      if (unseen.length > 0) watch?.(unseen)
      return written
    }
    const { digest, size } = await hashFile(this.#file, this.size, each, buffer)
    await this.#checkUnchanged(size)
    return digest
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  /** Not by ctime: rustc links a finished .rmeta into its incremental directory, which changes that alone. */
  async #checkUnchanged(copied: number): Promise<void> {
    const now = await this.#file.stat({ bigint: true })
    if (copied === this.size && now.size === this.#stat.size && now.mtimeNs === this.#stat.mtimeNs) return
    throw new ShoalError('ERR_OUTPUT', `${this.#path} changed while it was read`)
  }
}
