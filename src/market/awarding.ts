import { type Bid, type Done, Outcome, type OutputRef, Phase, type Progress } from '../wire/generated/market_pb.ts'
import type { ReturnReason } from './builder-events.ts'
import { clampU32, frame, fromHex, type MarketBody } from './frames.ts'
import { marketLimits, timing } from './limits.ts'
import type { Attempt, Unit } from './unit.ts'

export function awardFrame({ reservation }: Bid, { id, task }: Unit, { epoch }: Attempt): MarketBody {
  return frame('award', {
    reservation,
    task: fromHex(id),
    epoch,
    leaseMs: timing.lease,
    action: task.action,
    inputs: task.inputs,
    expectedMs: clampU32(task.expectedMs),
    ...(task.observer && { observer: task.observer.cid, observerBytes: task.observer.bytes }),
  })
}

/** Why an attempt has ended without a result; undefined when there is one. An OK without one is the lender's trouble like any other. */
export function failureOf({ outcome, result, trace, claim }: Done): ReturnReason | undefined {
  const fits = result.length <= marketLimits.result && trace.length <= marketLimits.trace
  if (outcome === Outcome.OK && result.length > 0 && fits && claim.length <= marketLimits.claim) return undefined
  if (outcome === Outcome.FAILED) return 'failed'
  if (outcome === Outcome.REFUSED) return 'refused'
  return outcome === Outcome.UNUSABLE ? 'unusable' : 'error'
}

interface Metadata {
  rmeta: OutputRef
  depInfo: Uint8Array
  trace: Uint8Array
}

/** The metadata that comes with a sign of life; undefined when there is none, or too much of it. */
export function metadataOf({ phase, rmeta, depInfo, trace }: Progress): Metadata | undefined {
  if (phase !== Phase.METADATA || !rmeta) return undefined
  if (rmeta.cid.length > marketLimits.cid || rmeta.name.length > marketLimits.name) return undefined
  if (depInfo.length > marketLimits.depInfo || trace.length > marketLimits.trace) return undefined
  return { rmeta, depInfo, trace }
}

/** What a compile leaves is about so many times its metadata: between 3 and 5 of ten published packages. */
const outputPerMetadata = 4

export function bytesByMetadata({ size }: OutputRef): number {
  return outputPerMetadata * Number(size)
}
