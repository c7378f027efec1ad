import type { Random } from '../base/clock.ts'
import type { Done, OutputRef } from '../wire/generated/market_pb.ts'
import type { MarketBody } from './frames.ts'
import type { HereReason, Task } from './task.ts'

export interface BuilderInit {
  /** Own units that may run here at once. */
  slots: number
  random: Random
  /** Of this machine, compared to the reference machine's. Default: 1. */
  speed?(): number
}

/** What can happen to a builder. */
export type BuilderInput =
  | { kind: 'submit'; id: string; task: Task }
  /** Nobody wants the unit any more. One that runs here is not affected: it ends with `released`. */
  | { kind: 'withdraw'; id: string }
  /** A unit that runs here has ended; its slot is free. `cpuMs`: processor time of its compile, where that is known. */
  | { kind: 'released'; id: string; cpuMs?: number | undefined }
  | { kind: 'building'; build: Uint8Array; active: boolean }
  | { kind: 'frame'; peer: string; body: MarketBody }
  /** `suspect`: a frame could not be sent, or the mesh has doubts. */
  | { kind: 'peer'; peer: string; state: 'up' | 'suspect' | 'lost' }
  /** Bytes have come from this peer, or gone there, in so many milliseconds. */
  | { kind: 'moved'; peer: string; bytes: number; ms: number }
  /** What a lender has made of the unit has come, or is not wanted any more: after each `away`, once. */
  | { kind: 'settled'; id: string }
  /** What the peer delivered as a result turned out to be unusable. */
  | { kind: 'fault'; peer: string }
  /** This machine goes to sleep: all that others do for it is given up. And it is awake again. */
  | { kind: 'leave' }
  | { kind: 'return' }
  | { kind: 'stop' }
  | { kind: 'tick' }

/** Why an attempt away ended without a result. */
export type ReturnReason =
  /** The lender fell silent, was disconnected, said goodbye, or took longer than any compile should. */
  | 'lease'
  | 'lost'
  | 'goodbye'
  | 'deadline'
  /** The lender gave it up, or never got it. */
  | 'cancelled'
  | 'unsent'
  /** What it made would be here later than what a slot here makes. */
  | 'far'
  /** What the lender's DONE said. */
  | 'failed'
  | 'refused'
  | 'unusable'
  | 'error'

/** What a builder wants done. */
export type BuilderEffect =
  | { kind: 'send'; peer: string; body: MarketBody }
  /** The unit can do without its jobserver token for now. At most once per unit, before anything else about it. */
  | { kind: 'waiting'; id: string }
  /** Compile it here; it holds a slot until `released`. */
  | { kind: 'here'; id: string; reason: HereReason }
  /** At most once per attempt. */
  | { kind: 'metadata'; id: string; peer: string; rmeta: OutputRef; depInfo: Uint8Array; trace: Uint8Array }
  /** Settled: a lender has compiled it. */
  | { kind: 'away'; id: string; peer: string; done: Done; awayMs: number }
  /** An attempt ended without a result; unless another goes on, the unit waits again, before all others. */
  | { kind: 'returned'; id: string; peer: string; why: ReturnReason }
  /** Give a `tick` then. Replaces the former one; Infinity: none is needed. */
  | { kind: 'wake'; at: number }
