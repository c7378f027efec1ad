import type { Clock } from '../base/clock.ts'
import type { DigestedTree, Trees } from '../plan/trees.ts'

const keepMs = 30_000
const maxKept = 4096

interface Walked {
  at: number
  tree: Promise<DigestedTree>
}

/**
 * Packages from a registry as they were up to half a minute ago: cargo, too, takes them to be what they were when it unpacked them.
 * Each of the user's own crates lends the sources of all packages that it uses, and to walk, compare and encode a hundred of them
 * again for each was a tenth of what a builder did; where units take seconds, three seconds were too short for that. Good for nothing
 * but what is lent: of a result that came back, all that was read is compared with what is here then.
 */
export class RecentTrees {
  readonly #trees: Pick<Trees, 'tree'>
  readonly #clock: Pick<Clock, 'now'>
  /** By directory, walked longest ago first. */
  readonly #walked = new Map<string, Walked>()

  constructor(trees: Pick<Trees, 'tree'>, clock: Pick<Clock, 'now'>) {
    this.#trees = trees
    this.#clock = clock
  }

  /** As `Trees.tree`; what is no public source is walked each time. */
  async tree(dir: string, publicSource: boolean): Promise<DigestedTree> {
    if (!publicSource) return await this.#trees.tree(dir, false)
    const now = this.#clock.now()
    const known = this.#walked.get(dir)
    if (known !== undefined && now - known.at < keepMs) return await known.tree
    const walked: Walked = { at: now, tree: this.#trees.tree(dir, true) }
    this.#walked.delete(dir)
    this.#walked.set(dir, walked)
    for (const [oldest, { at }] of this.#walked) {
      if (this.#walked.size <= maxKept && now - at < keepMs) break
      this.#walked.delete(oldest)
    }
    try {
      return await walked.tree
    } catch (error) {
      if (this.#walked.get(dir) === walked) this.#walked.delete(dir)
      throw error
    }
  }
}
