import type { Award, Tier } from '../wire/generated/market_pb.ts'
import type { MarketBody } from './frames.ts'
import type { MetadataReady, WorkResult } from './task.ts'

/** What this machine lends at present. */
export interface LendTerms {
  /** Tier.NONE lends nothing. */
  tier: Tier
  /** Triple of this machine. */
  host: string
  /** Digests of the toolchains that are ready here, 32 bytes each as hex; the first 32 count. */
  toolchains: readonly string[]
  /** Relative to the reference machine, in thousandths. */
  speedPermille: number
  memoryFreeMib: number
  onBattery: boolean
  /** Whether there is something here that takes the place of a linker. */
  links: boolean
  /** Guests that the owner of this machine leaves room for now. Fewer than there are: the latest are given back. */
  room: number
}

/** What can happen to a lender. `guest` names one attempt at one task of one builder. */
export type LenderInput =
  | { kind: 'terms'; terms: LendTerms }
  /** How many of this machine's own units run here now. */
  | { kind: 'own'; running: number }
  | { kind: 'frame'; peer: string; body: MarketBody }
  | { kind: 'peer'; peer: string; state: 'up' | 'lost' }
  | ({ kind: 'metadata'; guest: string } & MetadataReady)
  /** The work has ended, by itself or because it was killed: nothing of it runs any more. */
  | { kind: 'finished'; guest: string; result: WorkResult }
  /** What a peer has compiled for this machine. */
  | { kind: 'borrowed'; peer: string; ms: number }
  /** This machine goes to sleep: nothing is done for others until it is awake again. */
  | { kind: 'leave' }
  | { kind: 'return' }
  | { kind: 'stop' }
  | { kind: 'tick' }

/** What a lender wants done. */
export type LenderEffect =
  | { kind: 'send'; peer: string; body: MarketBody }
  /** Start it; answer with `finished`, whatever happens. */
  | { kind: 'run'; guest: string; peer: string; award: Award }
  /** End it at once; `finished` is still expected. */
  | { kind: 'kill'; guest: string }
  /** Its slot is free. `overdue`: it was killed long ago and has still not ended. */
  | { kind: 'ended'; guest: string; peer: string; lentMs: number; overdue: boolean }
  | { kind: 'wake'; at: number }
