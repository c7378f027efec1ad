import type { CID } from 'multiformats/cid'
import { codeOf, foreignText, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Award, Outcome } from '../wire/generated/market_pb.ts'
import type { LenderInput } from './lender-events.ts'
import type { WorkResult } from './task.ts'

export interface WorkOptions {
  /** The builder. */
  peer: string
  signal: AbortSignal
  /** The metadata is ready, and the dep-info before it complete. `trace`: encoded; empty when nothing watched the compile. */
  onMetadata(metadata: { name: string; cid: CID; size: number; depInfo: string; trace: Uint8Array }): void
}

const none = new Uint8Array()

export type Work = (award: Award, options: WorkOptions) => Promise<WorkResult>

/** The work on awarded tasks that goes on here. */
export class Guests {
  readonly #work: Work
  readonly #log: Logger
  readonly #tell: (input: LenderInput) => void
  readonly #running = new Map<string, { abort: AbortController; ended: Promise<void> }>()

  constructor(work: Work, log: Logger, tell: (input: LenderInput) => void) {
    this.#work = work
    this.#log = log
    this.#tell = tell
  }

  run(guest: string, peer: string, award: Award): void {
    const abort = new AbortController()
    const running = { abort, ended: Promise.resolve() }
    this.#running.set(guest, running)
    running.ended = this.#finish(guest, peer, award, abort.signal)
  }

  kill(guest: string): void {
    this.#running.get(guest)?.abort.abort()
  }

  /** Resolves when nothing runs any more. */
  async ended(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
  }

  async #finish(guest: string, peer: string, award: Award, signal: AbortSignal): Promise<void> {
    let result: WorkResult
    try {
      result = await this.#work(award, {
        peer,
        signal,
        onMetadata: ({ name, cid, size, depInfo, trace }) => {
          const rmeta = { name, cid: cid.bytes, size: BigInt(size) }
          this.#tell({ kind: 'metadata', guest, rmeta, depInfo: new TextEncoder().encode(depInfo), trace })
        },
      })
    } catch (error) {
      const failure = toShoalError(error)
      if (!signal.aborted) this.#log.warn('work failed', { peer, code: failure.code, message: failure.message })
      const code = codeOf(failure) ?? 'ERR_INTERNAL'
      const message = foreignText(failure.message)
      result = { outcome: Outcome.ERROR, code, message, result: none, trace: none, claim: none, wallMs: 0 }
    }
    this.#running.delete(guest)
    this.#tell({ kind: 'finished', guest, result })
  }
}
