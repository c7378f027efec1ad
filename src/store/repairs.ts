import type { CID } from 'multiformats/cid'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

const maxWaiting = 256

interface RepairsInit {
  /** Puts good bytes of a block into the store, from whoever has them; rejects when nobody does. */
  refetch: ((cid: CID, signal: AbortSignal) => Promise<unknown>) | undefined
  /** Called for a block that is not got again. */
  onLost(cid: CID): void
  log: Logger
}

/** Gets blocks again that were found to be bad: one after the other in the background, each once. */
export class Repairs {
  readonly #init: RepairsInit
  readonly #waiting: CID[] = []
  readonly #ending = new AbortController()
  #running: Promise<void> | undefined

  constructor(init: RepairsInit) {
    this.#init = init
  }

  /** Beyond 256 that wait nothing more is taken on. */
  add(cid: CID): void {
    const { refetch, onLost } = this.#init
    if (refetch === undefined || this.#ending.signal.aborted || this.#waiting.length >= maxWaiting) {
      onLost(cid)
      return
    }
    this.#waiting.push(cid)
    this.#running ??= this.#run()
  }

  /** Resolves when nothing is left to be done. */
  async idle(): Promise<void> {
    await this.#running
  }

  async stop(): Promise<void> {
    this.#ending.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending
    for (let cid = this.#waiting.shift(); cid !== undefined && !signal.aborted; cid = this.#waiting.shift()) {
      try {
        await this.#init.refetch?.(cid, signal)
        this.#init.log.info('corrupt block replaced', { cid: cid.toString() })
      } catch (error) {
        const { code, message } = toShoalError(error)
        this.#init.log.info('corrupt block not replaced', { code, cid: cid.toString(), message })
        this.#init.onLost(cid)
      }
    }
    this.#running = undefined
  }
}
