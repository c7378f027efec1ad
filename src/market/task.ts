import type { Done, OutputRef } from '../wire/generated/market_pb.ts'

/** What the market has to know about a unit that waits for a place to compile. */
export interface Task {
  /** Build session, 16 bytes. */
  build: Uint8Array
  /** Toolchain digest, 32 bytes as hex, and the triple that it runs on. */
  toolchain: string
  host: string
  /** Target triple. */
  target: string
  expectedMs: number
  /** About how much is sent to a lender and back. Default: what usually goes with as long a compile. */
  bytes?: number
  /** Expected milliseconds from the start of this unit to the end of the build: the largest goes first. */
  rank: number
  /** Whether it is linked: only a lender with something that takes a linker's place can do its part of that. */
  links?: boolean
  /** False: only a slot here will do. */
  mayGoAway: boolean
  /** Canonical dag-cbor of the action, and the CID of the input manifest. Unused when it may not go away. */
  action: Uint8Array
  inputs: Uint8Array
  /** CID and size of the library with which a lender that has none of its own observes the compile. */
  observer?: { cid: Uint8Array; bytes: number }
}

/** Why a unit is compiled here. */
export type HereReason =
  /** A slot was free at once. */
  | 'slot-free'
  /** It waited, and the first slot to become free was one here. */
  | 'slot-first'
  /** It may not go away. */
  | 'must-stay'
  /** It was away and came back without a result. */
  | 'came-back'
  /** It is still away, where it takes too long. */
  | 'taken-back'
  /** The node stops. */
  | 'stopping'

/** How a lender's work ends: the fields of a `Done` without its task and epoch. */
export type WorkResult = Pick<Done, 'outcome' | 'code' | 'message' | 'result' | 'trace' | 'claim' | 'wallMs'> & {
  /** Of what the result names. Default: 0. */
  outputBytes?: number
  /** From its start until the last of its inputs had come. Default: 0. */
  fetchMs?: number
}

/** The metadata of a unit that still compiles, as frames carry it. */
export interface MetadataReady {
  rmeta: Pick<OutputRef, 'name' | 'cid' | 'size'>
  /** Text of the dep-info. */
  depInfo: Uint8Array
  /** What was looked at so far; empty when nothing watched it. */
  trace: Uint8Array
}
