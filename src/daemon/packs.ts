import { constants, readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { packSize } from '../plan/pack.ts'
import { type DigestedTree, filesOf } from '../plan/trees.ts'
import { hexOf } from '../wire/cid.ts'

interface PackBlocks {
  put(bytes: Uint8Array): Promise<CID>
  has(cid: CID): Promise<boolean>
}

interface Pack {
  cid: CID
  size: number
}

const maxRemembered = 16_384
/** After so many bytes, where each file counts as a page at least, others have their turn. */
const [turnBytes, pageBytes] = [1 << 20, 16 << 10]
/** Nobody can replace a file by a pipe that would be waited for. */
const flag = constants.O_RDONLY | constants.O_NONBLOCK

/**
 * Packages in one block each. A lender would fetch their hundreds of small files one by one, and each takes a request, a reply, a
 * digest and a file in the store at both ends.
 */
export class Packs {
  readonly #blocks: PackBlocks
  /** By the tree. */
  readonly #made = new Map<string, Promise<Pack | undefined>>()

  constructor(blocks: PackBlocks) {
    this.#blocks = blocks
  }

  /** @returns undefined where there is none, or when the package is no longer what it was; @throws what the store throws */
  async of(tree: DigestedTree): Promise<Pack | undefined> {
    if (packSize(tree.lendableTree) === undefined) return undefined
    const key = hexOf(tree.lendable.cid)
    const known = this.#made.get(key)
    if (known !== undefined) {
      const pack = await known
      if (pack !== undefined && (await this.#blocks.has(pack.cid))) return pack
      // Somebody else may have begun anew meanwhile.
      if (this.#made.get(key) !== known) return await this.of(tree)
    }
    const [oldest] = this.#made.keys()
    if (oldest !== undefined && this.#made.size >= maxRemembered) this.#made.delete(oldest)
    const making = this.#make(tree)
    this.#made.set(key, making)
    const forget = (): void => {
      if (this.#made.get(key) === making) this.#made.delete(key)
    }
    try {
      const made = await making
      if (made === undefined) forget()
      return made
    } catch (error) {
      forget()
      throw error
    }
  }

  async #make(tree: DigestedTree): Promise<Pack | undefined> {
    const parts: Uint8Array[] = []
    let read = 0
    try {
      for (const { path } of filesOf(tree)) {
        // On the event loop: they were read for their digests a moment ago, and most are small.
        const part = readFileSync(path, { flag })
        parts.push(part)
        read += Math.max(part.length, pageBytes)
        if (read < turnBytes) continue
        read = 0
        await nextTurn()
      }
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return undefined
    }
    const bytes = Buffer.concat(parts)
    // Each file is compared with its own name by whoever unpacks it.
    if (bytes.length !== packSize(tree.lendableTree)) return undefined
    return { cid: await this.#blocks.put(bytes), size: bytes.length }
  }
}
