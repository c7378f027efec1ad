import { stat } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import type { Dependency } from '../plan/dependencies.ts'
import { identityOf, type StatDigests } from '../plan/stat-digests.ts'
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
/** cargo links a library to another place as soon as it is there, and that changes its identity too. */
const maxTries = 3

/** What was read is not what it is taken for: another compile has put its own there. */
const replaced = Symbol('replaced')

/** Libraries without what only a linker needs, as blocks: each made once. */
export class ThinArchives {
  readonly #blocks: ThinBlocks
  readonly #digests: Pick<StatDigests, 'digest'>
  /** By the content of the whole library; undefined where there is nothing to take out. */
  readonly #made = new Map<string, Promise<Thin | undefined | typeof replaced>>()

  constructor(blocks: ThinBlocks, digests: Pick<StatDigests, 'digest'>) {
    this.#blocks = blocks
    this.#digests = digests
  }

  /**
   * @returns undefined when it is not as rustc makes libraries, or no longer what it was when its digest was taken
   * @throws what the store and the file system throw
   */
  async of({ cid, path }: Dependency): Promise<(Thin & { path: string }) | undefined> {
    const key = hexOf(cid)
    const known = await this.#made.get(key)
    if (known !== undefined && known !== replaced) {
      const kept = await this.#blocks.path(known.cid)
      if (kept !== undefined) return { ...known, path: kept }
    }
    // Not made yet, or no longer kept.
    const [oldest] = this.#made.keys()
    if (oldest !== undefined && this.#made.size >= maxRemembered) this.#made.delete(oldest)
    const making = this.#make(cid, path)
    this.#made.set(key, making)
    try {
      const made = await making
      if (made === replaced) this.#forget(key, making)
      if (made === undefined || made === replaced) return undefined
      const file = await this.#blocks.path(made.cid)
      return file === undefined ? undefined : { ...made, path: file }
    } catch (error) {
      this.#forget(key, making)
      throw error
    }
  }

  #forget(key: string, making: Promise<unknown>): void {
    if (this.#made.get(key) === making) this.#made.delete(key)
  }

  /** Of the file that is there, if it is what it is taken for. */
  async #identity(cid: CID, path: string): Promise<string | undefined> {
    const identity = identityOf(await stat(path, { bigint: true }))
    return (await this.#digests.digest(path)).cid.equals(cid) ? identity : undefined
  }

  async #make(cid: CID, path: string): Promise<Thin | undefined | typeof replaced> {
    for (let tries = 0; tries < maxTries; tries++) {
      const before = await this.#identity(cid, path)
      if (before === undefined) return replaced
      const bytes = await thinArchive(path)
      if ((await this.#identity(cid, path)) === before) {
        return bytes && { cid: await this.#blocks.put(bytes), size: bytes.length }
      }
    }
    return replaced
  }
}
