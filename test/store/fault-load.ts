import { blockOf } from './crash-load.ts'

/** What became of one run under faults, as the store said. */
export interface FaultReport {
  /** Which of `faultBlocks` it has in the end. */
  kept: number[]
  pinned: boolean
  /** Whether a file of class D1 was replaced. */
  durable: boolean
  /** Codes of what failed. */
  codes: string[]
}

/** In turn given as bytes and as a file; the last one is copied in pieces. */
export const faultBlocks: readonly Buffer[] = [
  blockOf(1).subarray(0, 3000),
  blockOf(2).subarray(0, 3000),
  Buffer.alloc(200 << 10, 3),
  Buffer.alloc(2500 << 10, 4),
]
