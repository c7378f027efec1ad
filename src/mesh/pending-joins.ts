import type { Clock } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'
import { networkOf } from './addresses.ts'
import { hex } from './statement.ts'

/** A newcomer that waits for somebody to say yes. Its name is what it calls itself. */
export interface PendingJoin {
  key: Uint8Array
  name: string
  /** IP address. */
  address: string
  /** Milliseconds since the Unix epoch. */
  since: number
}

interface Entry extends PendingJoin {
  code: string
  /** By the clock that does not jump. */
  askedAt: number
  seenAt: number
  wake: () => void
}

const minuteMs = 60_000
/** Each may be guessed right once in a million, so not many may be open at once. */
const maxPending = 8
/** So long a newcomer may wait … */
export const patienceMs = 5 * minuteMs
/** … as long as it is heard. */
const silentMs = 15_000
/** In this time a key or an address may begin so often … */
const windowMs = 10 * minuteMs
const maxAttempts = 3
/** … one network, of which somebody can have all addresses, so that some are left for others … */
const maxAttemptsOfNetwork = 18
/** … and all of them together: whoever makes up addresses gets no more guesses than that. */
const maxAttemptsOfAll = 24

/** Newcomers that have asked to be let in, and how often they have tried. Bounded, whatever they do. */
export class PendingJoins {
  readonly #clock: Clock
  /** Hex of the key. */
  readonly #entries = new Map<string, Entry>()
  #attempts: { at: number; key: string; address: string; network: string }[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Somebody begins: to be called before it learns anything from which a code follows.
   * @throws ShoalError ERR_LIMIT when it, or all together, have tried too often, or too many wait
   */
  attempt(key: Uint8Array, address: string): void {
    this.#prune()
    const name = hex(key)
    const others = [...this.#entries.keys()].filter((known) => known !== name).length
    const network = networkOf(address)
    const own = this.#attempts.filter((attempt) => attempt.key === name || attempt.address === address).length
    const near = this.#attempts.filter((attempt) => attempt.network === network).length
    const isTooMany = own >= maxAttempts || near >= maxAttemptsOfNetwork || this.#attempts.length >= maxAttemptsOfAll
    if (isTooMany || others >= maxPending) throw new ShoalError('ERR_LIMIT', 'too many ask to be let in')
    this.#attempts.push({ at: this.#clock.now(), key: name, address, network })
  }

  /** Both sides know the code: from now on it can be approved. */
  add(pending: Omit<PendingJoin, 'since'>, code: string): void {
    const now = this.#clock.now()
    const entry = { ...pending, code, since: this.#clock.wall(), askedAt: now, seenAt: now, wake: () => undefined }
    this.#entries.get(hex(pending.key))?.wake()
    this.#entries.set(hex(pending.key), entry)
  }

  /** Waits until the newcomer was approved, or `ms` are over. @throws ShoalError ERR_EXPIRED when it waits no more */
  async decided(key: Uint8Array, ms: number): Promise<void> {
    this.#prune()
    const entry = this.#entries.get(hex(key))
    if (entry === undefined) throw new ShoalError('ERR_EXPIRED', 'nobody waits under this key')
    entry.seenAt = this.#clock.now()
    entry.wake()
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(ms, resolve)
      entry.wake = () => {
        cancel()
        resolve()
      }
    })
  }

  /** Those who wait, the first first. */
  list(): PendingJoin[] {
    this.#prune()
    return [...this.#entries.values()].map(({ key, name, address, since }) => ({ key, name, address, since }))
  }

  /** The one that shows this code; undefined when there is none, or it is not clear which. */
  withCode(code: string): PendingJoin | undefined {
    this.#prune()
    const [first, ...more] = [...this.#entries.values()].filter((entry) => entry.code === code)
    return more.length === 0 ? first : undefined
  }

  /** It waits no more. */
  remove(key: Uint8Array): void {
    const entry = this.#entries.get(hex(key))
    this.#entries.delete(hex(key))
    entry?.wake()
  }

  #prune(): void {
    const now = this.#clock.now()
    this.#attempts = this.#attempts.filter(({ at }) => now - at < windowMs)
    for (const [key, { askedAt, seenAt, wake }] of this.#entries) {
      if (now - askedAt < patienceMs && now - seenAt < silentMs) continue
      this.#entries.delete(key)
      wake()
    }
  }
}
