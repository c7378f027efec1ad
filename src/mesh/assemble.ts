import { join } from 'node:path'
import type { Connection, Stream } from '@libp2p/interface'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import { AddressBook } from './address-book.ts'
import { readMultiaddr } from './addresses.ts'
import { AskDesk } from './ask-desk.ts'
import { Beacon, beaconService } from './beacon.ts'
import { blockProtocol } from './block-frames.ts'
import type { Greeted } from './clone-watch.ts'
import { controlProtocol } from './control.ts'
import { doors } from './doors.ts'
import { createHost, type Host, recordValidityMs, startHost } from './host.ts'
import type { Identity } from './identity.ts'
import { keepPorts, withLastPorts } from './last-ports.ts'
import { LocalDiscovery, memberService } from './local-discovery.ts'
import type { Members } from './members.ts'
import type { Membership } from './membership.ts'
import { watchNetwork } from './network-watch.ts'
import { createParts, type MeshEvents, type MeshNeeds, maxStreams, type Parts } from './parts.ts'
import { restoreServiceOf } from './restore.ts'

export interface MeshInit {
  /** Identity, address book and peer database live here. */
  stateDir: string
  membership: Membership
  /** What other members see. */
  name: string
  /** IP addresses to listen on; default: all of IPv4. */
  listen?: readonly string[]
  /** TCP port; default 0, any: that of the last time, if it is free. */
  port?: number
  /** Multiaddrs at which others reach this node besides those that it listens on. */
  announce?: readonly string[]
  /** Multiaddrs to dial besides those of the membership. */
  bootstrap?: readonly string[]
  /** Default: true. */
  mdns?: boolean
  /** Whether newcomers without a link may ask for somebody's approval. Default: true. */
  joinByApproval?: boolean
  /** Members that this node stays connected to without need. Default: 128. */
  maxPeers?: number
}

/** A mesh that listens and dials. */
export interface RunningMesh extends Parts {
  host: Host
  book: AddressBook
  /** A member that may have provider records in the DHT is not connected, or may not have been met yet. */
  membersAway(): boolean
  stop(): Promise<void>
}

const stopDeadlineMs = 4000
const defaultMaxPeers = 128
const exploreDelayMs = 500
const lonelyDelayMs = 10_000
/** By then a node has met whom it can meet. */
const newcomerMs = 10_000

interface Own {
  identity: Identity
  members: Members
}

/** Makes all parts, connects them to a libp2p node and starts to listen and to dial. Errors as `Mesh.start()`. */
export async function assemble(
  needs: Required<MeshNeeds>,
  init: MeshInit,
  own: Own,
  events: MeshEvents,
): Promise<RunningMesh> {
  const { stateDir, port = 0, listen: wished = ['0.0.0.0'] } = init
  if (port !== 0) return await assembleOn(wished, needs, init, own, events)
  const listen = await withLastPorts({ stateDir }, wished)
  let running: RunningMesh
  try {
    running = await assembleOn(listen, needs, init, own, events)
  } catch (error) {
    // Somebody was quicker to take what was free a moment ago, and nobody has asked for this very port.
    if (codeOf(error) !== 'ERR_CONFIG' || listen.join() === wished.join()) throw error
    running = await assembleOn(wished, needs, init, own, events)
  }
  await keepPorts({ stateDir, log: needs.log }, wished, running.host.getMultiaddrs())
  return running
}

async function assembleOn(
  listen: readonly string[],
  needs: Required<MeshNeeds>,
  init: MeshInit,
  { identity, members }: Own,
  events: MeshEvents,
): Promise<RunningMesh> {
  const { clock, log, interfaces } = needs
  const byApproval = init.joinByApproval ?? true
  const { secret } = init.membership
  const desk = new AskDesk({ clock, log, members, interfaces, secret, byApproval })
  const onGreeted = (greeted: Greeted): void => parts.cloneWatch.greeted(greeted)
  const encrypters = [...doors({ clock, log, members, onGreeted }, init.membership), desk.encrypter()]
  const mayDial = (peerId: string): boolean => !members.isShutOut(peerId)
  const host = await createHost({ ...init, listen, identity, encrypters, mayDial, interfaces, log })
  const book = await AddressBook.load({ clock, log }, join(init.stateDir, 'members.json'))
  const maxPeers = init.maxPeers ?? defaultMaxPeers
  const self = { peerId: identity.peerId, name: init.name, maxPeers }
  const parts: Parts = createParts(needs, self, host, { book, members, desk }, events)
  const seeds = [...(init.bootstrap ?? []), ...init.membership.seeds]
  const discovery = new LocalDiscovery(
    {
      ...needs,
      addresses: () => host.getMultiaddrs(),
      onFound: (peerId, addresses) => parts.dialler.found(peerId, addresses, { alive: true }),
    },
    memberService(init.membership.id),
  )
  const timers = new Timers(needs)
  followHost(host, parts, book, timers, seeds)
  await handleStreams(host, parts, mayDial)

  const stopParts = (): void => {
    timers.stop()
    discovery.stop()
    parts.dialler.stop()
    parts.surplus.stop()
    parts.records.stop()
    parts.exchange.stop()
    parts.server.stop()
    parts.summaries.stop()
    parts.table.stop()
    parts.rosterSync.stop()
    parts.guard.stop()
    parts.renewal.stop()
  }
  parts.table.start()
  parts.surplus.start()
  try {
    await startHost(host)
  } catch (error) {
    stopParts()
    await host.end(stopDeadlineMs)
    throw error
  }
  const startedAt = clock.now()
  const addresses = (): string[] => host.getMultiaddrs().map(String)
  const { root } = members.genesis.body
  const services = { [beaconService]: () => desk.isOpen, [restoreServiceOf(root)]: () => true }
  const beacon = new Beacon({ clock, log, interfaces, services, addresses })
  if (init.mdns !== false) beacon.start()
  const stopWatching = watchNetwork(clock, interfaces, () => {
    log.info('network changed')
    host.services.ownAddresses.refresh()
    discovery.refresh()
    // A connection may have died with the network it went over, and nobody is told.
    for (const peerId of parts.connected) parts.table.probe(peerId)
    parts.dialler.wake()
  })
  if (init.mdns !== false) discovery.start()
  for (const { peerId, addresses } of book.all()) {
    const known = addresses.map(readMultiaddr).filter((address) => address !== undefined)
    // They cannot know that this node is back, so there is no point in waiting for them to dial.
    parts.dialler.found(peerId, known, { met: true, soon: true })
  }
  parts.dialler.addSeeds(seeds)
  const objection = members.objectionToSelf()
  if (objection !== undefined) {
    log.warn('this machine is no member any more', { code: objection.code, message: objection.message })
  }
  parts.guard.start()
  parts.renewal.start()

  return {
    ...parts,
    host,
    book,
    membersAway() {
      // Those whom it has not met yet are not even known to be away.
      if (clock.now() - startedAt < newcomerMs) return true
      const now = clock.wall()
      const up = new Set(parts.table.up())
      return parts.dialler.away().some((peerId) => {
        const seenAt = book.get(peerId)?.seenAt ?? now
        return !up.has(peerId) && now - seenAt < recordValidityMs
      })
    },
    async stop() {
      stopWatching()
      stopParts()
      beacon.stop()
      const report = (error: unknown): void => log.warn('not stopped cleanly', { error: toShoalError(error).message })
      await host.end(stopDeadlineMs).catch(report)
      await book.save().catch(report)
      await members.saved()
    },
  }
}

/** Tells the parts what happens to connections, and whom libp2p has heard of. */
function followHost(host: Host, parts: Parts, book: AddressBook, timers: Timers, seeds: readonly string[]): void {
  const { connected, dialler, guard, records, table } = parts
  host.addEventListener('connection:open', ({ detail }) => {
    const { remotePeer, remoteAddr, direction } = detail
    const peerId = remotePeer.toString()
    parts.cloneWatch.opened(detail)
    connected.add(peerId)
    if (direction === 'outbound') book.seen(peerId, { addresses: [remoteAddr] })
    dialler.up(peerId)
    table.connected(peerId)
    guard.check(peerId)
  })
  host.addEventListener('peer:disconnect', ({ detail }) => {
    const peerId = detail.toString()
    connected.delete(peerId)
    table.disconnected(peerId)
    dialler.down(peerId)
    timers.later('lonely', lonelyDelayMs, () => {
      if (connected.size === 0) dialler.addSeeds(seeds)
    })
  })
  host.addEventListener('peer:identify', ({ detail: { peerId, listenAddrs } }) => {
    dialler.found(peerId.toString(), listenAddrs, { met: true })
    book.seen(peerId.toString(), { addresses: listenAddrs })
    // By then the DHT knows the peer.
    timers.later('explore', exploreDelayMs, () => void records.explore())
  })
  host.addEventListener('peer:discovery', ({ detail: { id, multiaddrs } }) => dialler.found(id.toString(), multiaddrs))
}

async function handleStreams(
  host: Host,
  { table, server }: Parts,
  mayServe: (peerId: string) => boolean,
): Promise<void> {
  const limits = { maxInboundStreams: maxStreams, maxOutboundStreams: maxStreams }
  const onControl = (stream: Stream, connection: Connection): void => table.accept(stream, connection)
  const onBlocks = (stream: Stream, { remotePeer }: Connection): void => {
    if (mayServe(remotePeer.toString())) server.accept(stream, remotePeer.toString())
    else stream.abort(new ShoalError('ERR_REVOKED', 'the peer is shut out'))
  }
  await host.handle(controlProtocol, onControl, limits)
  await host.handle(blockProtocol, onBlocks, limits)
}

/** Things to be done later, at most one of each name; none after `stop()`. */
class Timers {
  readonly #needs: Pick<MeshNeeds, 'clock'>
  readonly #cancels = new Map<string, () => void>()
  #stopped = false

  constructor(needs: Pick<MeshNeeds, 'clock'>) {
    this.#needs = needs
  }

  later(name: string, delayMs: number, run: () => void): void {
    if (this.#stopped) return
    this.#cancels.get(name)?.()
    this.#cancels.set(name, this.#needs.clock.after(delayMs, run))
  }

  stop(): void {
    this.#stopped = true
    for (const cancel of this.#cancels.values()) cancel()
  }
}
