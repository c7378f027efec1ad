import { Phase } from '../wire/generated/market_pb.ts'
import { clampU32, frame, type MarketBody, toHex } from './frames.ts'
import type { Reading } from './gauge.ts'
import { marketLimits } from './limits.ts'
import type { WorkResult } from './task.ts'

/** A sign of life, with how far the work is. */
export function heartbeat({ task, epoch }: { task: Uint8Array; epoch: number }, reading?: Reading): MarketBody {
  const { cpuMs, fetchedBytes = 0, fetchMs = 0 } = reading ?? { cpuMs: undefined }
  return frame('progress', {
    task,
    epoch,
    phase: Phase.RUNNING,
    ...(cpuMs !== undefined && { cpuMs: clampU32(cpuMs) }),
    fetchedBytes: BigInt(clampU32(fetchedBytes)),
    fetchMs: clampU32(fetchMs),
  })
}

/** One frame carries both. */
export function isTooLong({ result, trace }: WorkResult): boolean {
  return result.length + trace.length > marketLimits.result || trace.length > marketLimits.trace
}

export function bidKey(peer: string, reservation: bigint): string {
  return `${peer} ${reservation}`
}

export function guestKey(peer: string, task: Uint8Array, epoch: number): string {
  return `${peer} ${toHex(task.subarray(0, 16))} ${epoch}`
}
