import type { Connection, Stream } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import type { ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { blockProtocol } from './block-frames.ts'
import { type ControlBody, type ControlMessage, ControlStream, controlProtocol } from './control.ts'

export interface PeerTableNeeds {
  clock: Clock
  log: Logger
  /** Open connections to a peer, oldest first. */
  connections(peerId: string): readonly Connection[]
  /** Two nodes are behind this peerId. */
  isCloned(peerId: string): boolean
}

export interface Self {
  peerId: string
  name: string
  /** The digest of this node's roster, now. */
  rosterDigest(): Uint8Array
}

export interface PeerTableEvents {
  onPeer(peerId: string, up: boolean): void
  onSuspect(peerId: string, suspect: boolean): void
  onFrame(peerId: string, body: ControlBody): void
  /** A control stream is about to be opened. Until it has greeted or is closed, what is new must be kept for the peer. */
  onOpening(peerId: string): { greeted(): void; closed(): void }
  /** The peer knows of other members than this node; it is not up before `agreed()` was called for it. */
  onDiffer(peerId: string): void
}

/** What is known of a peer that is up. */
export interface PeerState {
  name: string
  suspect: boolean
  rttMs: number | undefined
  /** Seconds since the last byte. */
  silentS: number
  unknownFrames: number
}

interface Peer {
  name: string
  connection: Connection | undefined
  control: ControlStream | undefined
  opening: boolean
  failures: number
  suspect: boolean
  watchers: number
  /** When a frame that is no ping last went to or fro. */
  usedAt: number
  cancelRetry: () => void
  /** It is being found out whether the connection is alive. */
  cancelProbe: (() => void) | undefined
}

const tickMs = 1000
const openTimeoutMs = 3000
/** Ticks of silence after which a peer is suspect, and after which its connection is given up. */
const patience = {
  watched: { pingEvery: 1, suspect: 3, dead: 15 },
  unwatched: { pingEvery: 15, suspect: 34, dead: 50 },
}
const surplusEveryTicks = 10
/** Of one peer, besides the one with the control stream: both sides may dial, over several networks, at the same time. */
const maxConnections = 4
/** The one that does not decide which connection stays waits so much longer before it closes one. */
const surplusPatience = 3
/** How long a peer has to answer when the connection to it may be dead, twice. */
const probeMs = 500
/** A timer that comes so much later says that this node was busy, and nothing of the peer: its answer may lie here unread. */
const lateMs = 250
/** A control stream that lives this long has not failed. */
const provenTicks = 10

/**
 * The members we are connected to, each with its one control stream. The member with the lower peerId opens it, and
 * opens it again for as long as a connection lives.
 */
export class PeerTable {
  readonly #needs: PeerTableNeeds
  readonly #self: Self
  readonly #events: PeerTableEvents
  readonly #peers = new Map<string, Peer>()
  #ticks = 0
  #running = false
  #cancelTick: () => void = () => undefined

  constructor(needs: PeerTableNeeds, self: Self, events: PeerTableEvents) {
    this.#needs = needs
    this.#self = self
    this.#events = events
  }

  start(): void {
    this.#running = true
    this.#cancelTick = this.#needs.clock.after(tickMs, () => this.#tick())
  }

  /** Closes all control streams; peers that were up are reported down. */
  stop(): void {
    this.#running = false
    this.#cancelTick()
    for (const peer of this.#peers.values()) {
      peer.cancelRetry()
      peer.cancelProbe?.()
      peer.control?.close()
    }
    this.#peers.clear()
  }

  /** A connection has been opened, by either side. */
  connected(peerId: string): void {
    if (!this.#running) return
    const peer = this.#peerOf(peerId)
    peer.failures = 0
    this.#limit(peerId, peer)
    if (!this.#opens(peerId)) return
    // Both of them are to hear of it: whoever came last has the word.
    if (this.#needs.isCloned(peerId)) peer.control?.close()
    this.#open(peerId, peer)
    // Who dials again may have lost the connection that is still open here.
    if (peer.control?.ready === true) this.#probe(peerId, peer, this.#needs.connections(peerId).slice(0, -1))
  }

  /** The connections to a peer may have died without a word: unless it gives a sign of life soon, they are given up. */
  probe(peerId: string): void {
    const peer = this.#peers.get(peerId)
    if (this.#running && peer !== undefined) this.#probe(peerId, peer, this.#needs.connections(peerId))
  }

  /** The last connection to a peer has closed. */
  disconnected(peerId: string): void {
    const peer = this.#peers.get(peerId)
    if (peer === undefined) return
    peer.cancelRetry()
    peer.cancelProbe?.()
    peer.cancelProbe = undefined
    peer.control?.close()
    if (peer.watchers === 0) this.#peers.delete(peerId)
  }

  /** The other side has opened a control stream. */
  accept(stream: Stream, connection: Connection): void {
    const peerId = connection.remotePeer.toString()
    if (!this.#running || this.#opens(peerId)) {
      stream.abort(new Error('the member with the lower peerId opens the control stream'))
      return
    }
    this.#adopt(peerId, this.#peerOf(peerId), stream, connection)
  }

  /** Peers whose control stream is ready. */
  up(): string[] {
    return [...this.#peers].filter(([, peer]) => peer.control?.ready === true).map(([peerId]) => peerId)
  }

  /** Peers that have greeted us: they hear of new members. */
  greeted(): string[] {
    return [...this.#peers].filter(([, peer]) => peer.control?.greeted === true).map(([peerId]) => peerId)
  }

  /** The state of a peer; undefined unless it is up. */
  view(peerId: string): PeerState | undefined {
    const peer = this.#peers.get(peerId)
    if (peer?.control?.ready !== true) return undefined
    const { rttMs, silentTicks, unknownFrames } = peer.control
    return { name: peer.name, suspect: peer.suspect, rttMs, silentS: silentTicks, unknownFrames }
  }

  /** The connection that carries the control stream, else any open one. */
  connection(peerId: string): Connection | undefined {
    const preferred = this.#peers.get(peerId)?.connection
    return preferred?.status === 'open' ? preferred : this.#needs.connections(peerId).at(-1)
  }

  /** See `ControlStream.agreed`. */
  agreed(peerId: string): void {
    this.#peers.get(peerId)?.control?.agreed()
  }

  /** See `ControlStream.send`; false also for a peer that is not up. */
  send(peerId: string, body: ControlMessage): boolean {
    const peer = this.#peers.get(peerId)
    if (peer?.control?.send(body) !== true) return false
    peer.usedAt = this.#needs.clock.now()
    return true
  }

  /** Whether frames other than pings were exchanged with a peer since then (by `Clock.now`), or somebody watches it. */
  isUsed(peerId: string, since: number): boolean {
    const peer = this.#peers.get(peerId)
    return peer !== undefined && (peer.watchers > 0 || peer.usedAt >= since)
  }

  /**
   * Pings the peer each second until the returned function is called, so that three seconds of silence are noticed;
   * without a watcher it takes half a minute.
   */
  watch(peerId: string): () => void {
    const peer = this.#peerOf(peerId)
    peer.watchers += 1
    if (peer.watchers === 1 && peer.control !== undefined) {
      peer.control.silentTicks = 0
      peer.control.ping()
    }
    let released = false
    return () => {
      if (released) return
      released = true
      peer.watchers -= 1
      const gone = peer.control === undefined && this.#needs.connections(peerId).length === 0
      if (peer.watchers === 0 && gone) this.#peers.delete(peerId)
    }
  }

  #peerOf(peerId: string): Peer {
    let peer = this.#peers.get(peerId)
    if (peer === undefined) {
      peer = {
        name: '',
        connection: undefined,
        control: undefined,
        opening: false,
        failures: 0,
        suspect: false,
        watchers: 0,
        usedAt: Number.NEGATIVE_INFINITY,
        cancelRetry: () => undefined,
        cancelProbe: undefined,
      }
      this.#peers.set(peerId, peer)
    }
    return peer
  }

  #opens(peerId: string): boolean {
    return this.#self.peerId < peerId
  }

  #open(peerId: string, peer: Peer): void {
    if (!this.#running || peer.opening || peer.control !== undefined) return
    // The newest: an older one may lead to an address that the peer no longer has.
    const connection = this.#needs.connections(peerId).at(-1)
    if (connection === undefined) return
    peer.opening = true
    connection.newStream(controlProtocol, { signal: AbortSignal.timeout(openTimeoutMs) }).then(
      (stream) => {
        peer.opening = false
        if (this.#running) this.#adopt(peerId, peer, stream, connection)
        else stream.abort(new Error('stopped'))
      },
      (error: unknown) => {
        peer.opening = false
        this.#needs.log.debug('control stream not opened', { peer: peerId, error: String(error) })
        this.#retry(peerId, peer)
      },
    )
  }

  #adopt(peerId: string, peer: Peer, stream: Stream, connection: Connection): void {
    peer.control?.close()
    let up = false
    const opening = this.#events.onOpening(peerId)
    const greeting = { name: this.#self.name, rosterDigest: this.#self.rosterDigest() }
    const control = new ControlStream(this.#needs.clock, stream, greeting, {
      onGreeted: () => opening.greeted(),
      onDiffer: () => this.#events.onDiffer(peerId),
      onHello: ({ name }) => {
        up = true
        peer.name = name
        this.#events.onPeer(peerId, true)
      },
      onFrame: (body) => {
        peer.usedAt = this.#needs.clock.now()
        this.#events.onFrame(peerId, body)
      },
      onClose: (reason) => {
        opening.closed()
        if (peer.control === control) peer.control = undefined
        if (reason !== undefined) this.#logClose(peerId, reason)
        this.#setSuspect(peerId, peer, false)
        if (up) this.#events.onPeer(peerId, false)
        this.#retry(peerId, peer)
        // What is left may be of a time before: if it carries nothing, nobody would dial.
        if (connection.status !== 'open' && this.#running) this.probe(peerId)
      },
    })
    peer.control = control
    peer.connection = connection
    control.start()
  }

  #retry(peerId: string, peer: Peer): void {
    if (!this.#running || !this.#opens(peerId)) return
    peer.cancelRetry()
    const delayMs = Math.min(100 * 2 ** peer.failures, 30_000)
    peer.failures += 1
    peer.cancelRetry = this.#needs.clock.after(delayMs, () => this.#open(peerId, peer))
  }

  #logClose(peerId: string, reason: ShoalError): void {
    const fields = { peer: peerId, code: reason.code, error: reason.message }
    if (reason.code === 'ERR_PEER_LOST') this.#needs.log.debug('control stream closed', fields)
    else this.#needs.log.warn('control stream closed', fields)
  }

  #tick(): void {
    this.#ticks += 1
    for (const [peerId, peer] of this.#peers) {
      if (peer.control !== undefined) this.#tickPeer(peerId, peer, peer.control)
      if (this.#ticks % surplusEveryTicks === 0) this.#closeSurplus(peerId, peer)
    }
    if (this.#running) this.#cancelTick = this.#needs.clock.after(tickMs, () => this.#tick())
  }

  #tickPeer(peerId: string, peer: Peer, control: ControlStream): void {
    control.tick()
    if (!control.ready) return
    const { pingEvery, suspect, dead } = peer.watchers > 0 ? patience.watched : patience.unwatched
    if (this.#ticks % pingEvery === 0) control.ping()
    if (control.ageTicks >= provenTicks) peer.failures = 0
    this.#setSuspect(peerId, peer, control.silentTicks >= suspect)
    const stale = peer.suspect && this.#needs.connections(peerId).at(-1) !== peer.connection
    if (control.silentTicks >= dead || stale) {
      this.#needs.log.info('connection given up', { peer: peerId, silentS: control.silentTicks })
      peer.connection?.abort(new Error('the peer is silent'))
    }
  }

  #probe(peerId: string, peer: Peer, suspects: readonly Connection[]): void {
    const { control } = peer
    peer.cancelProbe?.()
    if (suspects.length > 0) this.#askForLife(peerId, peer, { control, heard: control?.heard ?? 0, suspects }, 2)
  }

  #askForLife(
    peerId: string,
    peer: Peer,
    asked: { control: ControlStream | undefined; heard: number; suspects: readonly Connection[] },
    rounds: number,
  ): void {
    asked.control?.ping()
    const { clock } = this.#needs
    const dueAt = clock.now() + probeMs
    peer.cancelProbe = clock.after(probeMs, () => {
      peer.cancelProbe = undefined
      const isAlive = peer.control !== asked.control || (peer.control !== undefined && peer.control.heard > asked.heard)
      if (isAlive) return
      const isLate = clock.now() - dueAt > lateMs
      if (isLate || rounds > 1) {
        this.#askForLife(peerId, peer, asked, isLate ? rounds : rounds - 1)
        return
      }
      this.#needs.log.info('connection given up', { peer: peerId, reason: 'no sign of life' })
      for (const connection of asked.suspects) connection.abort(new Error('the peer gives no sign of life'))
    })
  }

  #setSuspect(peerId: string, peer: Peer, suspect: boolean): void {
    if (peer.suspect === suspect) return
    peer.suspect = suspect
    this.#events.onSuspect(peerId, suspect)
  }

  /** One member must not take the connections that are for all. The newest are likelier to work. */
  #limit(peerId: string, peer: Peer): void {
    for (const connection of this.#needs.connections(peerId).slice(0, -maxConnections)) {
      if (connection !== peer.connection) connection.abort(new Error('too many connections of one member'))
    }
  }

  // Both sides may have dialled at the same moment. What carries neither control nor blocks is not needed.
  #closeSurplus(peerId: string, peer: Peer): void {
    if (peer.control?.ready !== true) return
    const youngestMs = surplusEveryTicks * tickMs * (this.#opens(peerId) ? 1 : surplusPatience)
    for (const connection of this.#needs.connections(peerId)) {
      const ageMs = this.#needs.clock.wall() - connection.timeline.open
      const busy = connection.streams.some((stream) => stream.protocol === blockProtocol)
      if (connection === peer.connection || busy || ageMs < youngestMs) continue
      connection.close().catch((error: unknown) => connection.abort(new Error(String(error))))
    }
  }
}
