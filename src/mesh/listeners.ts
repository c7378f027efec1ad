import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

/** Handlers of one kind of event. A handler that throws is logged and keeps nobody else from hearing of the event. */
export class Listeners<Args extends unknown[]> {
  readonly #log: Logger
  readonly #handlers = new Set<(...args: Args) => void>()

  constructor(log: Logger) {
    this.#log = log
  }

  /** Returns how to stop listening. */
  add(handler: (...args: Args) => void): () => void {
    this.#handlers.add(handler)
    return () => {
      this.#handlers.delete(handler)
    }
  }

  call(...args: Args): void {
    for (const handler of [...this.#handlers]) {
      try {
        handler(...args)
      } catch (error) {
        const { code, message } = toShoalError(error)
        this.#log.error('handler failed', { code, error: message })
      }
    }
  }
}
