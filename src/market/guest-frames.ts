import { Outcome, Phase } from '../wire/generated/market_pb.ts'
import { clampU32, frame, type MarketBody, toHex } from './frames.ts'
import type { Reading } from './gauge.ts'
import { marketLimits } from './limits.ts'
import type { WorkResult } from './task.ts'

interface GuestTask {
  task: Uint8Array
  epoch: number
}

/** A sign of life, with how far the work is. */
export function heartbeat({ task, epoch }: GuestTask, reading?: Reading): MarketBody {
  return frame('progress', {
    task,
    epoch,
    phase: reading?.isFetching ? Phase.FETCHING : Phase.RUNNING,
    ...advance(reading),
  })
}

export function doneFrame({ task, epoch }: GuestTask, result: WorkResult, reading?: Reading): MarketBody {
  if (isTooLong(result)) {
    const message = `result of ${result.result.length} bytes, trace of ${result.trace.length}`
    return frame('done', { task, epoch, outcome: Outcome.UNUSABLE, code: 'ERR_LIMIT', message })
  }
  const outputBytes = BigInt(clampU32(result.outputBytes ?? 0))
  const advanced = advance(reading)
  const fetchMs = Math.max(advanced.fetchMs, clampU32(result.fetchMs ?? 0))
  return frame('done', { ...result, task, epoch, ...advanced, fetchMs, outputBytes })
}

function advance({ cpuMs, fetchedBytes, fetchMs }: Reading = { cpuMs: undefined, fetchedBytes: 0, fetchMs: 0 }) {
  return {
    ...(cpuMs !== undefined && { cpuMs: clampU32(cpuMs) }),
    fetchedBytes: BigInt(clampU32(fetchedBytes)),
    fetchMs: clampU32(fetchMs),
  }
}

/** One frame carries both. */
function isTooLong({ result, trace }: WorkResult): boolean {
  return result.length + trace.length > marketLimits.result || trace.length > marketLimits.trace
}

export function bidKey(peer: string, reservation: bigint): string {
  return `${peer} ${reservation}`
}

export function guestKey(peer: string, task: Uint8Array, epoch: number): string {
  return `${peer} ${toHex(task.subarray(0, 16))} ${epoch}`
}
