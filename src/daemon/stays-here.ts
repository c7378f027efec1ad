import type { CID } from 'multiformats/cid'
import type { Reason } from '../plan/classify.ts'
import { hexOf } from '../wire/cid.ts'

const maxKeys = 4096

/** Actions that were compiled away for nothing, and why: sources change, but what a macro looks for stays the same. */
export class StaysHere {
  readonly #reasons = new Map<string, Reason>()

  /** The oldest is forgotten when there are too many. */
  add(key: CID, reason: Reason): void {
    const [oldest] = this.#reasons.keys()
    if (oldest !== undefined && this.#reasons.size >= maxKeys) this.#reasons.delete(oldest)
    this.#reasons.set(hexOf(key), reason)
  }

  /** Undefined when it may go away, as far as is known. */
  reason(key: CID): Reason | undefined {
    return this.#reasons.get(hexOf(key))
  }
}
