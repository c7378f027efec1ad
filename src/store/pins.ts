import { mkdir, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { removeDrafts, removeDurably, sync, writeDurably } from './durable.ts'

const hexName = /^[0-9a-f]{64}$/

/** Blocks that were asked to stay for good: an empty file each, named by the block, and as durable as a key. */
export class PinnedBlocks {
  readonly #dir: string
  readonly #hold: (hex: string) => () => void
  readonly #releases = new Map<string, () => void>()

  constructor(dir: string, hold: (hex: string) => () => void) {
    this.#dir = dir
    this.#hold = hold
  }

  get count(): number {
    return this.#releases.size
  }

  /** Makes the directory, and holds what an earlier process pinned. */
  async open(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 })
    await removeDrafts(this.#dir)
    for (const name of await readdir(this.#dir)) if (hexName.test(name)) this.#keep(name)
  }

  /**
   * Resolves when the block and the fact that it is pinned will outlast a power cut.
   * @param find the block's file, verified; it is held by then, so that it cannot go between the two steps
   * @returns false when there is no such block
   */
  async add(hex: string, find: () => Promise<string | undefined>): Promise<boolean> {
    const release = this.#hold(hex)
    try {
      const file = await find()
      if (file === undefined) return false
      await sync(file)
      await sync(dirname(file))
      await writeDurably(join(this.#dir, hex), '')
      this.#keep(hex)
      return true
    } finally {
      release()
    }
  }

  async remove(hex: string): Promise<void> {
    if (!this.#releases.has(hex)) return
    await removeDurably(join(this.#dir, hex))
    this.#releases.get(hex)?.()
    this.#releases.delete(hex)
  }

  async clear(): Promise<void> {
    for (const hex of [...this.#releases.keys()]) await this.remove(hex)
  }

  #keep(hex: string): void {
    if (!this.#releases.has(hex)) this.#releases.set(hex, this.#hold(hex))
  }
}
