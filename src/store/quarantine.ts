import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from '../base/errors.ts'

const maxFiles = 16
const maxBytes = 256 << 20

/**
 * Files that lay under a block's name with other content. Each is kept until good bytes have taken its place, at most 16 of
 * them and 256 MiB (always the newest): the oldest go first.
 */
export class Quarantine {
  readonly #dir: string
  /** File name → the block and the bytes, oldest first. */
  readonly #kept = new Map<string, { hex: string; size: number }>()
  #counter = 0

  constructor(dir: string) {
    this.#dir = dir
  }

  get count(): number {
    return this.#kept.size
  }

  /** Makes the directory and looks at what an earlier process left there. */
  async open(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 })
    for (const name of (await readdir(this.#dir)).toSorted()) await this.#note(name)
    await this.#prune()
  }

  /** Moves a file (or a link, never what it points to) out of the way. @returns where it is now */
  async take(file: string, hex: string, wallMs: number): Promise<string> {
    const name = `${wallMs}-${this.#counter++}-${hex}`
    const target = join(this.#dir, name)
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 })
      await rename(file, target)
      await this.#note(name)
    } catch (error) {
      // What cannot be kept for a look must still not stay under a block's name.
      if (codeOf(error) !== 'ENOENT') await rm(file, { recursive: true, force: true })
    }
    await this.#prune()
    return target
  }

  /** Good bytes of a block are in place: the bad ones go. */
  async replaced(hex: string): Promise<void> {
    for (const [name, kept] of this.#kept) if (kept.hex === hex) await this.#drop(name)
  }

  async clear(): Promise<void> {
    for (const name of [...this.#kept.keys()]) await this.#drop(name)
  }

  async #note(name: string): Promise<void> {
    const stat = await lstat(join(this.#dir, name))
    this.#kept.set(name, { hex: name.slice(name.lastIndexOf('-') + 1), size: stat.isFile() ? stat.size : 0 })
  }

  async #prune(): Promise<void> {
    let bytes = 0
    for (const [at, [name, { size }]] of [...this.#kept].toReversed().entries()) {
      bytes += size
      if (at > 0 && (at >= maxFiles || bytes > maxBytes)) await this.#drop(name)
    }
  }

  async #drop(name: string): Promise<void> {
    this.#kept.delete(name)
    await rm(join(this.#dir, name), { recursive: true, force: true })
  }
}
