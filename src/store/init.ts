import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'

/** How a block store is set up. */
export interface BlockStoreInit {
  /** Belongs to the store alone; made when absent. */
  dir: string
  log: Logger
  /** Least recently used blocks are removed so that no more bytes than these are kept. */
  maxBytes: number
  /** Nor does the store grow into the last bytes of its file system. Default 4 GiB. */
  minFreeBytes?: number
  /** Room that is set aside for the day on which the disk is full; 0 for none. Default 8 MiB. */
  reserveBytes?: number
  clock?: Clock
  /** Called for a block whose file held other bytes; it is out of the store by then. */
  onBad?: (cid: CID) => void
  /**
   * Puts good bytes of such a block, from whoever has them; the bad ones are kept until then. Rejects when nobody has. In the
   * background, one block after the other.
   */
  refetch?: (cid: CID, signal: AbortSignal) => Promise<unknown>
  /** Called after blocks have left the store, for want of room or because they were bad: hex sha2-256 of each. */
  onEvicted?: (hexes: readonly string[]) => void
}

/** What it holds. */
export interface BlockStoreStats {
  blocks: number
  bytes: number
  maxBytes: number
  /** Blocks served from files outside the store. */
  lent: number
  /** Blocks found to be corrupt since the start. */
  bad: number
  /** Blocks removed for want of room since the start. */
  evicted: number
  /** Blocks that stay for good. */
  pinned: number
  /** Blocks that cannot be removed just now: pinned, or somebody is using them. */
  held: number
  /** Files with wrong bytes that were moved out of the way and not replaced yet. */
  quarantined: number
  /** Writes are refused just now because the disk is full or broken. */
  refusing: boolean
}
