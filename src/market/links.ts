import type { Done } from '../wire/generated/market_pb.ts'
import { timing } from './limits.ts'
import type { Task } from './task.ts'

/** Of a link whose speed nobody has measured: what is under way during one round trip, and at most. */
const windowBytes = 64 << 10
const mostBytesPerMs = 50_000
/** A link whose round trip is below that is no long one. */
export const nearMs = 20
/** Transfers of fewer bytes say more about delays than about the link. */
const leastBytes = 32 << 10
/** Of a new measurement that moved a mebibyte; smaller ones count less. */
const weight = 0.5
/** Round trips for the award, the manifest, its trees, the files and what came out, and the sandbox. */
const roundTrips = 4
const setUpMs = 30
/** What it took the last times, which counts instead: a lender may have been busy once. */
const [mostSetUpMs, setUpWeight] = [2000, 0.3]
/** What a compile leaves, mostly, and its sources: of ten published packages between 5200 and 7000 and 600 and 1800. */
const usualBytesPerMs = 7000

/** What it takes to send work to each lender, as far as it is known. */
export class Links {
  readonly #bytesPerMs = new Map<string, number>()
  readonly #refusedUntil = new Map<string, { until: number; times: number }>()

  /** Lender → unit → bytes of its result that are under way from there. */
  readonly #coming = new Map<string, Map<string, number>>()

  /** Lender → milliseconds of an attempt that were neither its compile nor the fetching of inputs. */
  readonly #setUpMs = new Map<string, number>()

  /** It has made a unit, which will be fetched now, until `settled`. @param awayMs since it was awarded */
  made(peer: string, unit: string, { outputBytes, wallMs, fetchMs }: Done, awayMs: number): void {
    if (wallMs > 0) {
      const measured = Math.min(mostSetUpMs, Math.max(0, awayMs - wallMs - fetchMs))
      const known = this.#setUpMs.get(peer) ?? roundTrips + setUpMs
      this.#setUpMs.set(peer, known + setUpWeight * (measured - known))
    }
    const coming = this.#coming.get(peer) ?? new Map<string, number>()
    this.#coming.set(peer, coming.set(unit, Number(outputBytes)))
  }

  /** What somebody made of the unit has come, or is not wanted any more. */
  settled(unit: string): void {
    for (const [peer, coming] of this.#coming) {
      if (coming.delete(unit) && coming.size === 0) this.#coming.delete(peer)
    }
  }

  /** Whether results are under way. */
  isComing(peer: string): boolean {
    return this.#coming.has(peer)
  }

  /** So long its compiles may take to begin, by what the last ones took: twice as long. */
  layOutMs(peer: string): number {
    return 2 * (this.#setUpMs.get(peer) ?? 0)
  }

  forget(peer: string): void {
    this.#coming.delete(peer)
    this.#setUpMs.delete(peer)
    this.#bytesPerMs.delete(peer)
    this.#refusedUntil.delete(peer)
  }

  /**
   * Bytes have come or gone. Over a link without much delay the first measurement counts no more than any other: what a small transfer
   * took there says more about who was busy.
   * @param ms without the delay of a round trip; 0 when they were there already
   * @param answerMs as for `movingMs`
   */
  moved(peer: string, bytes: number, ms: number, answerMs: number = nearMs): void {
    this.#arrived(peer, bytes)
    if (bytes < leastBytes || ms <= 0) return
    const measured = bytes / Math.max(1, ms)
    const known = this.#bytesPerMs.get(peer) ?? (answerMs < nearMs ? usualRate(answerMs) : undefined)
    const share = weight * Math.min(1, bytes / (1 << 20))
    // In between of a fast and a slow one most of the time is the slow one's.
    const inverse = known === undefined ? 1 / measured : (1 - share) / known + share / measured
    this.#bytesPerMs.set(peer, 1 / inverse)
  }

  /** Whichever they are of: units are asked for in the order in which they were made. Whose bytes are all here does not come any more. */
  #arrived(peer: string, bytes: number): void {
    const coming = this.#coming.get(peer)
    let left = bytes
    for (const [unit, ahead] of coming ?? []) {
      if (ahead > left) {
        coming?.set(unit, ahead - left)
        return
      }
      this.settled(unit)
      left -= ahead
    }
  }

  isKnown(peer: string): boolean {
    return this.#bytesPerMs.has(peer)
  }

  /** As measured, or else what is usual for that delay. @param answerMs as for `movingMs` */
  bytesPerMs(peer: string, answerMs?: number): number {
    return this.#bytesPerMs.get(peer) ?? usualRate(answerMs)
  }

  /** @param answerMs what a frame and its answer take; undefined when that is not known */
  movingMs(peer: string, bytes: number, answerMs?: number): number {
    let ahead = 0
    for (const left of this.#coming.get(peer)?.values() ?? []) ahead += left
    return (ahead + bytes) / this.bytesPerMs(peer, answerMs)
  }

  /** From the award until all that came out is here, without the compile itself. */
  costMs(peer: string, task: Task, answerMs?: number): number {
    const setUp = this.#setUpMs.get(peer) ?? roundTrips * (answerMs ?? 1) + setUpMs
    return setUp + this.movingMs(peer, usualBytes(task), answerMs)
  }

  /** It bid, and nothing was worth sending there: it is not asked for a while, longer each time. */
  refuse(peer: string, now: number): void {
    const times = (this.#refusedUntil.get(peer)?.times ?? 0) + 1
    const ms = Math.min(timing.refusedMost, timing.refused * 2 ** (times - 1))
    this.#refusedUntil.set(peer, { until: now + ms, times })
  }

  accept(peer: string): void {
    this.#refusedUntil.delete(peer)
  }

  isRefused(peer: string, now: number): boolean {
    return (this.#refusedUntil.get(peer)?.until ?? now) > now
  }
}

/** Bytes per millisecond of a link of which no more is known than its delay. */
function usualRate(answerMs = 1): number {
  return Math.min(mostBytesPerMs, windowBytes / Math.max(1, answerMs))
}

/** What has to be moved for a unit, there and back. */
function usualBytes({ bytes, expectedMs }: Task): number {
  return bytes ?? usualBytesPerMs * expectedMs
}
