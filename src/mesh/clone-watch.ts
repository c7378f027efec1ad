import { randomBytes } from 'node:crypto'
import type { Connection, StreamMessageEvent } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

/** A member has shown who it is on a new connection. */
export interface Greeted {
  direction: 'inbound' | 'outbound'
  peerId: string
  /** The multiaddr of the other end. */
  address: string
  /** What it drew when it was started. */
  boot: Uint8Array
}

export interface CloneWatchNeeds {
  clock: Clock
  log: Logger
  /** Open connections to a peer. */
  connections(peerId: string): readonly Connection[]
  /** Two nodes with this key are alive at the same time. */
  onClone(peerId: string): void
}

const echoProtocol = '/shoal/ping/1.0.0'
const echoBytes = 32
/** Longer than a busy machine takes to echo. */
const echoMs = 2000
/** Where one of them took too long, it is tried again. */
const againMs = 5000
const maxWaiting = 256

/**
 * Notices when one key is used by two nodes, as after a disk was copied. A node that was started again shows another boot number than
 * before, too, and its old connection may still look open here; so both have to echo something after the second one has shown its number.
 * The process that was there before cannot do that any more.
 */
export class CloneWatch {
  readonly #needs: CloneWatchNeeds
  readonly #boots = new WeakMap<Connection, string>()
  /** Greeted, and not open yet. */
  readonly #waiting = new Map<string, string>()
  readonly #checking = new Set<string>()

  constructor(needs: CloneWatchNeeds) {
    this.#needs = needs
  }

  greeted({ direction, peerId, address, boot }: Greeted): void {
    if (this.#waiting.size >= maxWaiting) this.#waiting.clear()
    this.#waiting.set(nameOf(direction, peerId, address), Buffer.from(boot).toString('hex'))
  }

  opened(connection: Connection): void {
    const peerId = connection.remotePeer.toString()
    const name = nameOf(connection.direction, peerId, connection.remoteAddr.toString())
    const boot = this.#waiting.get(name)
    this.#waiting.delete(name)
    if (boot === undefined) return
    this.#boots.set(connection, boot)
    for (const other of this.#needs.connections(peerId)) {
      const otherBoot = this.#boots.get(other)
      if (otherBoot !== undefined && otherBoot !== boot) void this.#compare(peerId, other, connection)
    }
  }

  async #compare(peerId: string, before: Connection, now: Connection): Promise<void> {
    if (this.#checking.has(peerId)) return
    this.#checking.add(peerId)
    const [isOldAlive, isNewAlive] = await Promise.all([this.#echoes(before), this.#echoes(now)])
    this.#checking.delete(peerId)
    if (isOldAlive && isNewAlive) this.#needs.onClone(peerId)
    else if (isNewAlive) before.abort(new Error('the peer was started again'))
    else this.#needs.clock.after(againMs, () => this.#again(peerId, before, now))
  }

  #again(peerId: string, before: Connection, now: Connection): void {
    if (before.status === 'open' && now.status === 'open') void this.#compare(peerId, before, now)
  }

  async #echoes(connection: Connection): Promise<boolean> {
    const said = randomBytes(echoBytes)
    const deadline = AbortSignal.timeout(echoMs)
    try {
      const stream = await connection.newStream(echoProtocol, { signal: deadline })
      try {
        return await new Promise<boolean>((resolve) => {
          let heard = Buffer.alloc(0)
          stream.addEventListener('message', ({ data }: StreamMessageEvent) => {
            heard = Buffer.concat([heard, data.subarray()])
            if (heard.length >= echoBytes) resolve(heard.equals(said))
          })
          stream.addEventListener('close', () => resolve(false))
          deadline.addEventListener('abort', () => resolve(false))
          stream.send(said)
        })
      } finally {
        stream.abort(new Error('done'))
      }
    } catch (error) {
      this.#needs.log.debug('no echo', { peer: connection.remotePeer.toString(), error: toShoalError(error).message })
      return false
    }
  }
}

function nameOf(direction: string, peerId: string, address: string): string {
  return `${direction} ${peerId} ${address.replace(/\/p2p\/[^/]+$/, '')}`
}
