import { BoundedMap } from '../base/bounded-map.ts'
import type { Clock } from '../base/clock.ts'
import type { ErrorCode } from '../base/errors.ts'

/** After a failure; twice as long after each further one. */
const retryMs = 30_000
const mostRetryMs = 1_800_000
/** After it is known that asking again would not help soon. */
const hopelessMs = 3_600_000
const hopeless: ReadonlySet<ErrorCode> = new Set(['ERR_UNSUPPORTED', 'ERR_LIMIT', 'ERR_DECODE', 'ERR_TOOLCHAIN'])
const maxRemembered = 256

/** When what failed may be tried again. Bounded: the oldest failure is forgotten first. */
export class Retries {
  readonly #clock: Pick<Clock, 'now'>
  readonly #failures = new BoundedMap<string, { count: number; until: number }>(maxRemembered)

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  mayTry(key: string): boolean {
    const failure = this.#failures.get(key)
    return failure === undefined || failure.until <= this.#clock.now()
  }

  failed(key: string, code: ErrorCode): void {
    const count = (this.#failures.get(key)?.count ?? 0) + 1
    const pause = hopeless.has(code) ? hopelessMs : Math.min(mostRetryMs, retryMs * 2 ** (count - 1))
    this.#failures.set(key, { count, until: this.#clock.now() + pause })
  }

  succeeded(key: string): void {
    this.#failures.delete(key)
  }
}
