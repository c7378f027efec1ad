import type { CID } from 'multiformats/cid'
import { hexOf } from '../wire/cid.ts'
import { decodeTree, type Tree } from './action.ts'

/** Ten thousand take some ten megabytes. */
const defaultMaxFiles = 32_768

/**
 * Trees that were decoded lately, by name: what has a name by its content can be nothing else. The user's crates name a hundred
 * packages each, the same ones again and again, and a listing is looked at several times for each compile.
 */
export class KnownTrees {
  readonly #maxFiles: number
  /** By hex, used longest ago first. */
  readonly #known = new Map<string, Tree>()
  #files = 0

  /** @param maxFiles so many files in all trees together are remembered */
  constructor(maxFiles = defaultMaxFiles) {
    this.#maxFiles = maxFiles
  }

  /**
   * @param load its bytes, compared with the name; asked only when it is not known
   * @returns not to be changed
   * @throws ShoalError ERR_DECODE when it is no tree, and what `load` throws
   */
  async of(cid: CID, load: () => Promise<Uint8Array>): Promise<Tree> {
    const hex = hexOf(cid)
    const known = this.#known.get(hex)
    if (known !== undefined) {
      this.#known.delete(hex)
      this.#known.set(hex, known)
      return known
    }
    const tree = decodeTree(await load())
    this.#add(hex, tree)
    return tree
  }

  #add(hex: string, tree: Tree): void {
    // Somebody else may have been quicker; an empty one counts too.
    if (this.#known.has(hex)) return
    this.#known.set(hex, tree)
    this.#files += weightOf(tree)
    for (const [oldest, { files }] of this.#known) {
      if (this.#files <= this.#maxFiles) break
      this.#known.delete(oldest)
      this.#files -= weightOf({ files })
    }
  }
}

const weightOf = ({ files }: Pick<Tree, 'files'>): number => files.length + 1
