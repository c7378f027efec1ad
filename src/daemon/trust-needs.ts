import type { Datastore } from 'interface-datastore'
import type { CID } from 'multiformats/cid'
import type { Clock, Random } from '../base/clock.ts'
import type { ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { LentInputs } from '../plan/lent-inputs.ts'
import type { PlannedAction } from '../plan/plan.ts'
import type { JudgeNeeds } from '../recall/judge.ts'
import type { TraceStore } from '../store/traces.ts'
import type { Guests } from './audits.ts'
import type { Given } from './given.ts'
import type { RestNeeds } from './rest.ts'
import type { Rerun } from './verdict.ts'

export interface TrustNeeds {
  /** For what was found out about members and packages. */
  datastore: Datastore
  /** For claims. Default: the same. */
  claims?: Datastore
  members: JudgeNeeds['members']
  traces: Pick<TraceStore, 'traces'>
  clock: Clock
  random: Random
  log: Logger
  machine: RestNeeds['machine']
  /** No cargo is at work and no unit in flight here. */
  isQuiet(): boolean
  guests: Guests
  /** The sandbox was tried, and the toolchains in it. */
  isReady(): boolean
  trouble(error: ShoalError): void
  /** Runs an action in the sandbox with inputs that are in the store; undefined when that cannot be done. */
  rerun(action: Uint8Array, inputs: CID, signal: AbortSignal): Promise<Rerun | undefined>
  /** Keeps what a compile reads within reach, also when its sources change meanwhile. */
  keepInputs(planned: PlannedAction, inputs: LentInputs): Promise<void>
  /** Drops all that a member ever gave. */
  purge(peerId: string): Promise<unknown>
  given(): Pick<Given, 'drop'>
}
