import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { LentInputs } from '../plan/lent-inputs.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { isWithin } from '../plan/read-set.ts'
import { type DigestedTree, filesOf } from '../plan/trees.ts'
import type { IncomingFile } from '../store/large.ts'

export interface SupplyNeeds {
  blocks: {
    get(cid: CID): Promise<Uint8Array | undefined>
    /** Only what is not lent. */
    path(cid: CID): Promise<string | undefined>
    /** Those that are not small. */
    open(cid: CID): Promise<{ size: number; close(): Promise<void> } | undefined>
    has(cid: CID): Promise<boolean>
    put(bytes: Uint8Array, codec?: number): Promise<CID>
    putVerified(cid: CID, bytes: Uint8Array): Promise<void>
    putLarge(cid: CID, size: number, fill: (file: IncomingFile) => Promise<void>): Promise<void>
    lend(cid: CID, path: string): void
  }
  mesh: {
    fetchBlock(
      cid: CID,
      options: { from: readonly string[]; maxBytes: number; signal: AbortSignal },
    ): Promise<Uint8Array>
    useBlock(
      cid: CID,
      options: { from: readonly string[]; maxBytes: number; signal: AbortSignal; once: boolean },
      use: (bytes: Uint8Array) => Promise<void>,
    ): Promise<void>
    fetchFile(
      cid: CID,
      options: {
        from: readonly string[]
        size: number
        signal: AbortSignal
        once: boolean
        keep(fill: (file: IncomingFile) => Promise<void>): Promise<void>
      },
    ): Promise<void>
  }
  /** So many bytes of a block came from another member. */
  onFetched?(bytes: number): void
}

/** Of what one unit is made from. */
const mostCopied = 16 << 20
/** Of what was lent the store forgets the oldest beyond four times as many files. */
const rememberedFiles = 16_384

/** Above this a block is written to the store while it arrives, and never in memory as a whole. */
const inMemoryBytes = 4 << 20

/** Blocks that come from other members and go to them. */
export class Supply {
  readonly #needs: SupplyNeeds
  /** Directories that were offered, and how many files had been lent by then. */
  readonly #offered = new WeakMap<DigestedTree, number>()
  #lent = 0

  constructor(needs: SupplyNeeds) {
    this.#needs = needs
  }

  /**
   * Makes a block available here.
   * @param once there is another way to what it holds: a source that fell silent is not asked again. Default: false
   * @returns the bytes that crossed the network for it
   * @throws ShoalError ERR_BLOCK_MISSING, ERR_BLOCK_MISMATCH, ERR_DEADLINE…
   */
  async ensure(cid: CID, size: number, from: readonly string[], signal: AbortSignal, once = false): Promise<number> {
    if (await this.#needs.blocks.has(cid)) return 0
    if (from.length === 0) throw new ShoalError('ERR_BLOCK_MISSING', cid.toString())
    if (size > inMemoryBytes) {
      const keep = (fill: (file: IncomingFile) => Promise<void>) => this.#needs.blocks.putLarge(cid, size, fill)
      await this.#needs.mesh.fetchFile(cid, { from, size, signal, once, keep })
      this.#needs.onFetched?.(size)
      return size
    }
    await this.#needs.mesh.useBlock(cid, { from, maxBytes: size, signal, once }, async (bytes) => {
      if (bytes.length !== size) {
        throw new ShoalError('ERR_BLOCK_MISMATCH', `${cid.toString()} is of another size than said`)
      }
      this.#needs.onFetched?.(size)
      await this.#needs.blocks.putVerified(cid, bytes)
    })
    return size
  }

  /**
   * The bytes of a block, from here or from `from`; what was fetched is kept.
   * @throws ShoalError ERR_BLOCK_TOO_LARGE before memory is taken for it, and what fetching throws
   */
  async bytes(
    cid: CID,
    { from, maxBytes, signal }: { from: readonly string[]; maxBytes: number; signal: AbortSignal },
  ): Promise<Uint8Array> {
    const file = await this.#needs.blocks.open(cid)
    await file?.close()
    if (file !== undefined && file.size > maxBytes) {
      throw new ShoalError('ERR_BLOCK_TOO_LARGE', `${cid.toString()} of ${file.size} bytes, at most ${maxBytes}`)
    }
    const here = await this.#needs.blocks.get(cid)
    if (here !== undefined) return here
    const bytes = await this.#needs.mesh.fetchBlock(cid, { from, maxBytes, signal })
    this.#needs.onFetched?.(bytes.length)
    await this.#needs.blocks.putVerified(cid, bytes)
    return bytes
  }

  /** Lets a lender fetch everything that a unit's compile reads, from where it lies. */
  async offerInputs(planned: PlannedAction, { inputs, packages }: LentInputs): Promise<void> {
    await this.#needs.blocks.put(inputs.bytes, inputs.cid.code)
    for (const tree of packages) await this.#offerTree(tree)
    if (planned.build) await this.#offerTree(planned.build)
    for (const { cid, path } of planned.dependencies) this.#needs.blocks.lend(cid, path)
  }

  /**
   * Lets this node compile the unit later on, also when its sources are others by then: as `offerInputs`, and what people change is
   * copied. Of more than a few MiB the rest is only lent.
   */
  async keepInputs(planned: PlannedAction, lent: LentInputs): Promise<void> {
    await this.offerInputs(planned, lent)
    const steady = planned.roots.filter(({ name }) => name === 'registry' || name === 'git')
    const trees = [...lent.packages, ...(planned.build ? [planned.build] : [])]
    let room = mostCopied
    for (const tree of trees) {
      if (steady.some(({ path }) => isWithin(tree.dir, path))) continue
      for (const { cid, path } of filesOf(tree)) {
        if ((await this.#needs.blocks.path(cid)) !== undefined) continue
        const bytes = await readUpTo(path, room)
        if (bytes === undefined) continue
        room -= bytes.length
        // If it is another one by now, it has another name.
        await this.#needs.blocks.put(bytes)
      }
    }
  }

  /** Each of the user's crates offers all packages that it uses: thousands of files, the same ones again and again. */
  async #offerTree(tree: DigestedTree): Promise<void> {
    const before = this.#offered.get(tree)
    const isRecent = before !== undefined && this.#lent - before < rememberedFiles
    if (isRecent && (await this.#needs.blocks.has(tree.lendable.cid))) return
    await this.#needs.blocks.put(tree.lendable.bytes, tree.lendable.cid.code)
    for (const { cid, path } of filesOf(tree)) this.#needs.blocks.lend(cid, path)
    this.#lent += tree.lendableTree.files.length
    this.#offered.set(tree, this.#lent)
  }
}

/** A file as a whole; undefined when it is longer, or none. Nobody can replace it by a pipe that would be waited for. */
async function readUpTo(path: string, mostBytes: number): Promise<Buffer | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stat = await file.stat()
      return stat.isFile() && stat.size <= mostBytes ? await file.readFile() : undefined
    } finally {
      await file.close()
    }
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}
