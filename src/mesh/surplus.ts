import type { Connection } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { blockProtocol } from './block-frames.ts'

interface SurplusNeeds {
  clock: Clock
  log: Logger
  /** All open connections. */
  connections(): readonly Connection[]
  /** Whether frames were exchanged with a peer since then (by `Clock.now`), or somebody watches it. */
  isUsed(peerId: string, since: number): boolean
}

const lookMs = 2000
const idleMs = 5000

/**
 * Closes connections beyond a number of members that this node opened for a question of the DHT or a search, once they are
 * idle. Those that were opened first stay, and those that others opened are theirs to close: so nobody dials anew
 * what was closed here, unless it has room for it.
 */
export class Surplus {
  readonly #needs: SurplusNeeds
  readonly #maxPeers: number
  #cancel: () => void = () => undefined

  constructor(needs: SurplusNeeds, maxPeers: number) {
    this.#needs = needs
    this.#maxPeers = maxPeers
  }

  start(): void {
    this.#cancel = this.#needs.clock.after(lookMs, () => {
      this.#look()
      this.start()
    })
  }

  stop(): void {
    this.#cancel()
  }

  #look(): void {
    const connections = this.#needs.connections()
    const byAge = connections.toSorted((a, b) => a.timeline.open - b.timeline.open)
    const kept = new Set([...new Set(byAge.map(peerOf))].slice(0, this.#maxPeers))
    const since = this.#needs.clock.now() - idleMs
    for (const connection of connections) {
      const peerId = peerOf(connection)
      if (kept.has(peerId) || connection.direction === 'inbound' || connection.status !== 'open') continue
      const isYoung = this.#needs.clock.wall() - connection.timeline.open < idleMs
      const isBusy = connection.streams.some((stream) => stream.protocol === blockProtocol)
      if (isYoung || isBusy || this.#needs.isUsed(peerId, since)) continue
      this.#needs.log.debug('idle connection closed', { peer: peerId })
      connection.close().catch((error: unknown) => connection.abort(new Error(String(error))))
    }
  }
}

const peerOf = (connection: Connection): string => connection.remotePeer.toString()
