import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { codeOf, foreignText, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Award, Outcome } from '../wire/generated/market_pb.ts'
import type { Reading } from './gauge.ts'
import type { LenderInput } from './lender-events.ts'
import type { WorkResult } from './task.ts'

export interface WorkOptions {
  /** The builder. */
  peer: string
  signal: AbortSignal
  /** So many bytes of inputs have come. */
  onFetched?(bytes: number): void
  /** All inputs are here. */
  onInputs?(): void
  /** The compile has begun. @param cpuMs tells, as long as it runs, what processor time it has taken */
  onStarted?(cpuMs: () => number): void
  /** The metadata is ready, and the dep-info before it complete. `trace`: encoded; empty when nothing watched the compile. */
  onMetadata(metadata: { name: string; cid: CID; size: number; depInfo: string; trace: Uint8Array }): void
  /** This is what the builder is told, at once, and its slot is free. The work may go on; what it ends with counts for nothing then. */
  onResult?(result: WorkResult): void
}

export interface GuestsNeeds {
  work: Work
  log: Logger
  clock: Pick<Clock, 'now'>
  /** Whether processor time can be told here. Default: no. */
  measures?: boolean
}

interface Running {
  readonly abort: AbortController
  readonly startedAt: number
  fetchedBytes: number
  /** From the start until the last of them came. */
  fetchMs: number
  isFetching: boolean
  cpuMs: (() => number) | undefined
}

const none = new Uint8Array()

export type Work = (award: Award, options: WorkOptions) => Promise<WorkResult>

/** The work on awarded tasks that goes on here. */
export class Guests {
  readonly #work: Work
  readonly #log: Logger
  readonly #tell: (input: LenderInput) => void
  readonly #running = new Map<string, Running>()
  readonly #ends = new Set<Promise<void>>()
  readonly #clock: Pick<Clock, 'now'>
  readonly #measures: boolean

  constructor({ work, log, clock, measures = false }: GuestsNeeds, tell: (input: LenderInput) => void) {
    this.#work = work
    this.#clock = clock
    this.#measures = measures
    this.#log = log
    this.#tell = tell
  }

  run(guest: string, peer: string, award: Award): void {
    const running: Running = {
      abort: new AbortController(),
      startedAt: this.#clock.now(),
      fetchedBytes: 0,
      fetchMs: 0,
      isFetching: true,
      cpuMs: undefined,
    }
    this.#running.set(guest, running)
    const end: Promise<void> = this.#finish(guest, peer, award, running).finally(() => this.#ends.delete(end))
    this.#ends.add(end)
  }

  /** How the work on it advances; undefined when it has ended. */
  reading(guest: string): Reading | undefined {
    const running = this.#running.get(guest)
    if (running === undefined) return undefined
    const { fetchedBytes, fetchMs, isFetching, cpuMs } = running
    return { cpuMs: this.#measures ? (cpuMs?.() ?? 0) : undefined, fetchedBytes, fetchMs, isFetching }
  }

  kill(guest: string): void {
    this.#running.get(guest)?.abort.abort()
  }

  /** Resolves when nothing runs any more. */
  async ended(): Promise<void> {
    await Promise.all(this.#ends)
  }

  async #finish(guest: string, peer: string, award: Award, running: Running): Promise<void> {
    const { signal } = running.abort
    const end = (result: WorkResult): void => {
      if (!this.#running.delete(guest)) return
      this.#tell({ kind: 'finished', guest, result: { ...result, fetchMs: running.fetchMs } })
    }
    try {
      const result = await this.#work(award, {
        peer,
        signal,
        onFetched: (bytes) => {
          running.fetchedBytes += bytes
          running.fetchMs = this.#clock.now() - running.startedAt
        },
        onInputs: () => {
          running.isFetching = false
        },
        onStarted: (cpuMs) => {
          running.isFetching = false
          running.cpuMs = cpuMs
        },
        onMetadata: ({ name, cid, size, depInfo, trace }) => {
          const rmeta = { name, cid: cid.bytes, size: BigInt(size) }
          this.#tell({ kind: 'metadata', guest, rmeta, depInfo: new TextEncoder().encode(depInfo), trace })
        },
        onResult: end,
      })
      end(result)
    } catch (error) {
      const failure = toShoalError(error)
      if (!signal.aborted) this.#log.warn('work failed', { peer, code: failure.code, message: failure.message })
      const code = codeOf(failure) ?? 'ERR_INTERNAL'
      const message = foreignText(failure.message)
      end({ outcome: Outcome.ERROR, code, message, result: none, trace: none, claim: none, wallMs: 0 })
    }
  }
}
