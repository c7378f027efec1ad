import type { CID } from 'multiformats/cid'
import type { Dependency } from '../plan/dependencies.ts'
import { thinArchive } from '../plan/thin-archive.ts'
import { hexOf } from '../wire/cid.ts'

interface ThinBlocks {
  put(bytes: Uint8Array): Promise<CID>
  path(cid: CID): Promise<string | undefined>
}

interface Thin {
  cid: CID
  size: number
}

const maxRemembered = 16_384

/** Libraries without what only a linker needs, as blocks: each made once. */
export class ThinArchives {
  readonly #blocks: ThinBlocks
  /** By the content of the whole library; undefined where there is nothing to take out. */
  readonly #made = new Map<string, Promise<Thin | undefined>>()

  constructor(blocks: ThinBlocks) {
    this.#blocks = blocks
  }

  /**
   * @returns undefined when it is not as rustc makes libraries
   * @throws what the store and the file system throw
   */
  async of({ cid, path }: Dependency): Promise<(Thin & { path: string }) | undefined> {
    const key = hexOf(cid)
    const known = await this.#made.get(key)
    const kept = known && (await this.#blocks.path(known.cid))
    if (known !== undefined && kept !== undefined) return { ...known, path: kept }
    // Not made yet, or no longer kept.
    const [oldest] = this.#made.keys()
    if (oldest !== undefined && this.#made.size >= maxRemembered) this.#made.delete(oldest)
    const making = this.#make(path)
    this.#made.set(key, making)
    try {
      const made = await making
      const file = made && (await this.#blocks.path(made.cid))
      return made && file !== undefined ? { ...made, path: file } : undefined
    } catch (error) {
      this.#made.delete(key)
      throw error
    }
  }

  async #make(path: string): Promise<Thin | undefined> {
    const bytes = await thinArchive(path)
    return bytes && { cid: await this.#blocks.put(bytes), size: bytes.length }
  }
}
