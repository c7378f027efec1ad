import type { MultiaddrConnection } from '@libp2p/interface'

/** Connections that have not shown yet who they are. More are let in, and the oldest of whoever has most of them goes. */
const maxWaiting = 128

/**
 * Connections from outside between the first byte and the moment when it is known who is there. Whoever opens them and says
 * nothing pushes out its own, so a member always finds room.
 */
export class Lobby {
  /** Host → its connections, the oldest first. */
  readonly #waiting = new Map<string, Set<MultiaddrConnection>>()
  #count = 0

  get size(): number {
    return this.#count
  }

  enter(connection: MultiaddrConnection): void {
    const host = hostOf(connection)
    const own = this.#waiting.get(host) ?? new Set()
    this.#waiting.set(host, own.add(connection))
    this.#count += 1
    connection.addEventListener('close', () => this.leave(connection), { once: true })
    if (this.#count <= maxWaiting) return
    const [oldest] = this.#largest()
    if (oldest === undefined) return
    this.leave(oldest)
    oldest.abort(new Error('too many connections wait at the door'))
  }

  /** It is known who is there, or nobody is any more. */
  leave(connection: MultiaddrConnection): void {
    const host = hostOf(connection)
    const own = this.#waiting.get(host)
    if (own?.delete(connection) !== true) return
    this.#count -= 1
    if (own.size === 0) this.#waiting.delete(host)
  }

  #largest(): Set<MultiaddrConnection> {
    let largest = new Set<MultiaddrConnection>()
    for (const own of this.#waiting.values()) if (own.size > largest.size) largest = own
    return largest
  }
}

function hostOf({ remoteAddr }: MultiaddrConnection): string {
  const [address] = remoteAddr.getComponents()
  return address?.value ?? ''
}
