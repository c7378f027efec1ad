import type { CID } from 'multiformats/cid'
import type { Logger } from '../base/log.ts'
import type { Market, Task } from '../market/driver.ts'
import type { Claim } from '../mesh/claims.ts'
import type { ReadSet, Result } from '../plan/action.ts'
import type { Reason } from '../plan/classify.ts'
import type { Invocation } from '../plan/invocation.ts'
import type { LentInputs } from '../plan/lent-inputs.ts'
import type { Planned, PlannedAction } from '../plan/plan.ts'
import type { Cause } from '../recall/cause.ts'
import type { Difference, Place } from '../recall/evidence.ts'
import type { Unshareable } from '../recall/read-set.ts'
import type { Disputed, Missed, Recalled, Refused } from '../recall/recall.ts'
import type { SignedClaim } from '../recall/signed-claim.ts'
import type { Ended } from './causes.ts'
import type { Collected, CollectedLinks } from './collect.ts'
import type { DeliverNeeds } from './deliver.ts'
import type { EditedUnits } from './edited.ts'
import type { Ran } from './shim-link.ts'
import type { StaysHere } from './stays-here.ts'
import type { Turns } from './turns.ts'

export type UnitOutcome = 'recalled-here' | 'recalled-mesh' | 'compiled-here' | 'compiled-mesh' | 'passed-through'

/** How one unit ended, for the report. */
export interface UnitEnd {
  crate: string
  kind: string
  outcome: UnitOutcome
  /** The peer that compiled it or served it; 'here' otherwise. */
  where: string
  reason: string
  bytesIn: number
  /** Error code of a way that was tried and did not work out. */
  fallback?: string
  /** Why no kept result served, when that was looked into. */
  causes?: Cause[]
}

/** What a unit that was not recalled is made from. */
export interface Work {
  /** Hex: the action and the package as it is now; the same work has the same key everywhere. */
  key: string
  /** The same as 32 bytes; undefined when it cannot be named for others. */
  shared: Uint8Array | undefined
  task: Task
  /** What others would do of it: all of it, or everything up to the linker. */
  lent: PlannedAction
  /** Whether its package has files that they are not given, and a macro may miss one. */
  misses: boolean
}

/** What was made of others' word. */
export interface Accepted {
  result: Result
  /** What they looked at, who claim it or their part of it. */
  looked: ReadSet
}

/** What others are asked for, and what they need for it. */
export interface Lent {
  planned: PlannedAction
  inputs: LentInputs
}

/** Metadata that a lender has announced. */
export interface BrokenWord {
  peer: string
  metadata: CID
  /** Something else came. */
  isProven: boolean
}

/** What a unit has to do with whose word counts. */
export interface UnitTrust {
  /** Why nothing that others have computed, or say that they have, is used for it. */
  objection(planned: PlannedAction): Reason | undefined
  /** Why no lender is given it, though others' results may be used. */
  objectionToLending(planned: PlannedAction): Reason | undefined
  /**
   * Whether a lender stands behind what it delivers.
   * @param claim as it came
   * @throws ShoalError ERR_CLAIM, ERR_DISPUTED
   */
  lent(planned: PlannedAction, peer: string, claim: Uint8Array, trace: ReadSet & { result: CID }): Promise<SignedClaim>
  /** Whether the metadata that a peer announces is handed on before the rest of a unit is there. */
  takesEarly(peer: string): boolean
  /** A lender's metadata was announced to cargo, and its result did not come. */
  brokeEarlyWord(planned: PlannedAction, broken: BrokenWord): void
  /** A result of others, or one that was made of what they did, was delivered. */
  accepted(planned: PlannedAction, claims: readonly SignedClaim[], made: Accepted): Promise<void>
  /** Who is behind a claim; undefined for this node itself. */
  giver(claim: SignedClaim): string | undefined
  /**
   * Whose word a unit is that was made here of a part of it.
   * @param claims about the part, or about all of it
   * @returns this node's own when it has made the part as well, else these
   */
  whole(
    planned: PlannedAction,
    claims: readonly SignedClaim[],
    made: { result: Result; reads: ReadSet },
  ): Promise<readonly SignedClaim[]>
  /** It was compiled here, and holds for this place only: keeps in mind that it is this node's own. */
  madeHere(planned: PlannedAction, made: { result: Result; reads: ReadSet }): Promise<void>
  /**
   * It was compiled here: this node's word on it, none for what does not come out the same each time.
   * @param disputed what others have said, and contradict each other
   */
  made(
    planned: PlannedAction,
    made: { result: Result; reads: ReadSet },
    disputed: readonly Disputed[],
  ): Promise<SignedClaim[]>
}

export interface CompileNeeds extends DeliverNeeds {
  plan(invocation: Invocation): Promise<Planned>
  /** Units that rustc makes incrementally, and those that are built upon them. */
  edited: Pick<EditedUnits, 'follower' | 'made'>
  placeOf(planned: PlannedAction, env: ReadonlyMap<string, string>): Place
  recall: {
    own(planned: PlannedAction, place: Place): Promise<Recalled | Missed>
    mesh(
      planned: PlannedAction,
      place: Place,
      options: { expectedMs: number; signal: AbortSignal; work: Uint8Array | undefined },
    ): Promise<Recalled | Refused | undefined>
    /** Whose word is behind what is kept here. */
    whose(planned: PlannedAction, kept: Recalled): Promise<SignedClaim[]>
    remember(result: Result, reads: ReadSet, claims: readonly SignedClaim[]): Promise<void>
  }
  trust: UnitTrust
  market: Pick<Market, 'place' | 'fault'>
  /** Looks at everything that the unit is made from. */
  work(planned: PlannedAction): Promise<Work>
  /** A compile of the unit took so long, here or elsewhere; wall milliseconds. */
  took(planned: Planned, ms: number): void
  /** Tells other members that this node is about to do some work, and hears who is at it already. */
  claim(work: Uint8Array, expectedMs: number): Claim
  /** What the market has to know about a unit that stays here. */
  staying(): Task
  /** Whether somebody is working on this very unit, so that rustc with its incremental directory is the best answer. */
  isEdited(planned: PlannedAction, missed: Difference | undefined): Promise<boolean>
  /** The unit was made without the incremental directory that cargo asked for. */
  withoutIncremental(planned: PlannedAction, invocation: Invocation): void
  /** Lets lenders fetch what the compile reads; false when nobody is there to do so. */
  prepare(planned: PlannedAction): Promise<boolean>
  /** Makes a block available here from one of `from`; resolves with the bytes that crossed the network. `once` as in `Supply.ensure`. */
  fetch(cid: CID, size: number, from: readonly string[], signal: AbortSignal, once?: boolean): Promise<number>
  /** Path of the observer's library; '' when there is none. */
  observer(): string
  /** The time of the file system's clock, ms. */
  stamp(): number
  /** rustc has ended, and cargo knows: the shim may linger until what it made is kept. */
  over(): void
  /** Takes what rustc left in a private directory; the reason when it must not be kept. */
  collect(planned: PlannedAction, privateDir: string, ran: Ran): Promise<Collected>
  /** Linkers run beside the compiles that have a slot: what waits for one is as good as there. */
  linking: Pick<Turns, 'take'>
  /** Takes what a linker left in a directory; `bind` as in `Collected`. The reason when it must not be kept. */
  collectLinked(planned: PlannedAction, dir: string): Promise<CollectedLinks>
  /** What a compile here looked at. */
  reads(
    planned: PlannedAction,
    place: Place,
    compiled: { privateDir: string; productsDir?: string; depInfo: string; since: number },
  ): Promise<ReadSet | Unshareable>
  /** Actions of which it is known that nobody else can compile them, by what they look at. */
  staysHere: Pick<StaysHere, 'add' | 'reason'>
  /** What a compile away looked at, by its dep-info. */
  declaredReads(planned: PlannedAction, depInfo: string, place: Place): Promise<ReadSet | Unshareable>
  /** Whether what the action describes is still so. */
  unchanged(planned: PlannedAction): Promise<boolean>
  discard(privateDir: string): Promise<void>
  /** Resolves when there is nothing more urgent to do than what nobody waits for, or a second later. */
  calm(): Promise<void>
  /** Remembers what the metadata of a unit reaches. @param reason why it is not kept; empty when it is */
  learn(planned: Planned, result: Result | undefined, reason: string): Promise<void>
  /** In what a unit differs from the nearest that is kept; to be asked when cargo has its unit. */
  causes(planned: PlannedAction, ended: Ended): Promise<Cause[]>
  announce(key: CID): void
  /**
   * A result was delivered, and is about to be kept if it is not yet.
   * @param by whose word it stands on; undefined for what was kept before
   */
  delivered(planned: PlannedAction, result: Result, by: string | undefined): Promise<void>
  /** Actions that are being worked on; each resolves when others need no longer wait for it. */
  inFlight: Map<string, PromiseWithResolvers<void>>
  log: Logger
}
