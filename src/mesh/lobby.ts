import type { MultiaddrConnection } from '@libp2p/interface'
import { remoteHostOf } from './addresses.ts'
import { fullest, type Origin, originOf } from './crowd.ts'

/** Connections that have not shown yet who they are. More are let in, and the oldest of whoever has most of them goes. */
const maxWaiting = 128

/**
 * Connections from outside between the first byte and the moment when it is known who is there. Whoever opens them and says
 * nothing pushes out its own, so a member always finds room.
 */
export class Lobby {
  /** The oldest first. */
  readonly #waiting = new Map<MultiaddrConnection, Origin & { connection: MultiaddrConnection }>()

  get size(): number {
    return this.#waiting.size
  }

  enter(connection: MultiaddrConnection): void {
    this.#waiting.set(connection, { ...originOf(remoteHostOf(connection)), connection })
    connection.addEventListener('close', () => this.leave(connection), { once: true })
    if (this.#waiting.size <= maxWaiting) return
    const [oldest] = fullest(this.#waiting.values())
    if (oldest === undefined) return
    this.leave(oldest.connection)
    oldest.connection.abort(new Error('too many connections wait at the door'))
  }

  /** It is known who is there, or nobody is any more. */
  leave(connection: MultiaddrConnection): void {
    this.#waiting.delete(connection)
  }
}
