import type { Clock } from '../base/clock.ts'
import { type ErrorCode, errorTable, foreignText } from '../base/errors.ts'

/** A current problem of this node, as `status` shows it. */
export interface Problem {
  code: ErrorCode
  text: string
  hint: string
  /** Times it was raised since it appeared. */
  count: number
  /** ISO 8601, UTC: when it was raised last. */
  lastSeen: string
}

export interface RaiseOptions {
  /** What the person can do; the error table's hint when absent. */
  hint?: string
  /** Stays until `clear`, such as a missing sandbox, whatever passing one of the same code comes. Otherwise it fades when not raised again. */
  lasting?: boolean
}

export interface HealthInit {
  /** After this long without being raised again a passing problem is over. Default 10 minutes. */
  fadeMs?: number
}

interface Entry {
  text: string
  hint: string
  count: number
  seenWall: number
  seenAt: number
  lasting: boolean
}

/** What is wrong with this node right now, one entry per error code. */
export class Health {
  readonly #clock: Clock
  readonly #fadeMs: number
  readonly #entries = new Map<ErrorCode, Entry>()

  constructor(clock: Clock, init: HealthInit = {}) {
    this.#clock = clock
    this.#fadeMs = init.fadeMs ?? 600_000
  }

  /** The newest text of a code wins; the count goes on. */
  raise(code: ErrorCode, text: string, options: RaiseOptions = {}): void {
    this.#fade()
    if (this.#entries.get(code)?.lasting === true && options.lasting !== true) return
    this.#entries.set(code, {
      text: foreignText(text),
      hint: options.hint ?? errorTable[code].hint,
      count: (this.#entries.get(code)?.count ?? 0) + 1,
      seenWall: this.#clock.wall(),
      seenAt: this.#clock.now(),
      lasting: options.lasting ?? false,
    })
  }

  /** The problem is solved. */
  clear(code: ErrorCode): void {
    this.#entries.delete(code)
  }

  /** Newest first. */
  problems(): Problem[] {
    this.#fade()
    return [...this.#entries]
      .toSorted(([, a], [, b]) => b.seenAt - a.seenAt)
      .map(([code, { text, hint, count, seenWall }]) => {
        return { code, text, hint, count, lastSeen: new Date(seenWall).toISOString() }
      })
  }

  #fade(): void {
    const limit = this.#clock.now() - this.#fadeMs
    for (const [code, entry] of this.#entries) {
      if (!entry.lasting && entry.seenAt < limit) this.#entries.delete(code)
    }
  }
}
