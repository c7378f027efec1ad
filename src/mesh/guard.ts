import type { Clock } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'
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
  /** Peers of whom it is known that it is not known who they are. */
  readonly #doubtful = new Set<string>()
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

  /** A connection has opened: since its peer was let in, something may have been heard of it. */
  check(peerId: string): void {
    const { members, log } = this.#needs
    const objection = members.objectionTo(peerId)
    if (objection === undefined) return
    log.info('a peer is no member any more', { peer: peerId, code: objection.code, message: objection.message })
    this.#needs.drop(peerId, objection)
  }

  #look(): void {
    const { members, connected, drop } = this.#needs
    // Who is out comes first: that is to be at once.
    for (const peerId of connected()) this.check(peerId)
    const doubtful = new Set([...members.cloned(), ...members.rivals()])
    for (const peerId of connected()) {
      // It may come back at once; what it has offered before is forgotten.
      if (doubtful.has(peerId) && !this.#doubtful.has(peerId))
        drop(peerId, new ShoalError('ERR_CLONED', 'two nodes claim to be this member'))
    }
    this.#doubtful.clear()
    for (const peerId of doubtful) this.#doubtful.add(peerId)
  }
}
