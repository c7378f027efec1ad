import type { Clock } from '../base/clock.ts'
import type { ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Members } from './members.ts'

export interface GuardNeeds {
  clock: Clock
  log: Logger
  members: Members
  /** Everybody with an open connection. */
  connected(): readonly string[]
  /** Closes all connections to a peer at once. */
  drop(peerId: string, reason: ShoalError): void
}

/** How often it is looked whether somebody's certificate has run out. */
const intervalMs = 60_000

/** Drops the connections of whoever is no member any more: at once when that is heard, within a minute when it was a date. */
export class Guard {
  readonly #needs: GuardNeeds
  readonly #stopListening: () => void
  #cancel: () => void = () => undefined

  constructor(needs: GuardNeeds) {
    this.#needs = needs
    this.#stopListening = needs.members.onChange(() => this.#look())
  }

  start(): void {
    this.#cancel = this.#needs.clock.after(intervalMs, () => {
      this.#look()
      this.start()
    })
  }

  stop(): void {
    this.#stopListening()
    this.#cancel()
  }

  #look(): void {
    const { members, log } = this.#needs
    for (const peerId of this.#needs.connected()) {
      const objection = members.objectionTo(peerId)
      if (objection === undefined) continue
      log.info('a peer is no member any more', { peer: peerId, code: objection.code, message: objection.message })
      this.#needs.drop(peerId, objection)
    }
  }
}
