import type { CID } from 'multiformats/cid'

/** What executing needs of a store of verified blocks. */
export interface Blocks {
  /** Verified bytes, or undefined when the block is not here. */
  get(cid: CID): Promise<Uint8Array | undefined>
  /** A file that holds exactly the block, verified; undefined when there is none. */
  path(cid: CID): Promise<string | undefined> | string | undefined
  put(bytes: Uint8Array): Promise<CID>
  /** `watch` sees all of it, chunk by chunk. */
  putFile(
    path: string,
    options: { maxBytes: number; watch?: (chunk: Uint8Array) => void },
  ): Promise<{ cid: CID; size: number }>
}
