import { peerIdFromString } from '@libp2p/peer-id'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Clock, Random } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { AddressBook } from './address-book.ts'
import type { Interfaces } from './addresses.ts'
import { Approvals } from './approvals.ts'
import type { AskDesk } from './ask-desk.ts'
import { blockProtocol } from './block-frames.ts'
import { BlockServer } from './block-server.ts'
import { Claims } from './claims.ts'
import { CloneWatch } from './clone-watch.ts'
import { controlProtocol } from './control.ts'
import { Dialler } from './dialler.ts'
import { resolved } from './dns-addresses.ts'
import { BlockExchange } from './exchange.ts'
import { Guard } from './guard.ts'
import { Holdings, type HoldingsLookup } from './holdings.ts'
import type { Host } from './host.ts'
import type { Members } from './members.ts'
import { PeerTable, type PeerTableEvents } from './peer-table.ts'
import { ProviderRecords } from './provider-records.ts'
import { Renewal } from './renewal.ts'
import { RosterSync } from './roster-sync.ts'
import type { BlockSource } from './served-blocks.ts'
import { Summaries } from './summaries.ts'
import { Surplus } from './surplus.ts'

export interface MeshNeeds {
  clock: Clock
  random: Random
  log: Logger
  /** What this node serves to members. */
  source: BlockSource
  /** What this node answers when a member asks for action keys. */
  lookup: HoldingsLookup
  /** Bytes of blocks went to a member. */
  onServed?(bytes: number): void
  /** A second source was asked for what a slow one owed. */
  onHedge?(): void
  /** Default: the machine's. */
  interfaces?: Interfaces
}

export interface MeshEvents extends Omit<PeerTableEvents, 'onDiffer' | 'onOpening'> {
  /** A peer has something that it had not before. */
  onHoldings(peerId: string): void
}

/** What a mesh consists of while it runs, besides the libp2p node. */
export interface Parts {
  /** Peers with an open connection. */
  connected: Set<string>
  dialler: Dialler
  surplus: Surplus
  table: PeerTable
  claims: Claims
  holdings: Holdings
  summaries: Summaries
  exchange: BlockExchange
  server: BlockServer
  records: ProviderRecords
  rosterSync: RosterSync
  guard: Guard
  renewal: Renewal
  approvals: Approvals
  cloneWatch: CloneWatch
}

/** Streams of one protocol that a peer may have open at once, in each direction. */
export const maxStreams = 4
/** So long a peer that is shut out may still hear why. */
const farewellMs = 20

/** Makes the parts and gives each what it needs of the others. Nothing runs yet. */
export function createParts(
  needs: Required<MeshNeeds>,
  self: { peerId: string; name: string; maxPeers: number },
  host: Host,
  { book, members, desk }: { book: AddressBook; members: Members; desk: AskDesk },
  events: MeshEvents,
): Parts {
  const { clock, log, random } = needs
  const connected = new Set<string>()
  /** Peers that are shut out, and whose connections are open for another moment. */
  const leaving = new Set<string>()
  const dial = async (addresses: Multiaddr[], signal: AbortSignal) => {
    const { remotePeer, remoteAddr } = await host.dial(await resolved(addresses), { signal })
    return { peerId: remotePeer.toString(), address: remoteAddr }
  }
  const dialler = new Dialler({ clock, random, log, dial, connected, maxPeers: self.maxPeers }, self.peerId)
  const table = new PeerTable(
    {
      clock,
      log,
      connections: (peerId) => openConnections(host, peerId),
      isCloned: (peerId) => members.cloned().has(peerId),
    },
    { ...self, rosterDigest: () => members.roster.digest(members.now) },
    {
      onPeer(peerId, up) {
        const name = up ? table.view(peerId)?.name : undefined
        if (!members.isShutOut(peerId)) book.seen(peerId, name === undefined ? {} : { name })
        if (up) {
          records.poke()
          summaries.onUp(peerId)
          renewal.onUp(peerId)
        } else {
          summaries.onDown(peerId)
          holdings.onDown(peerId)
          rosterSync.onDown(peerId)
          approvals.onDown(peerId)
        }
        events.onPeer(peerId, up)
      },
      onDiffer: (peerId) => rosterSync.onDiffer(peerId),
      onOpening: (peerId) => rosterSync.opening(peerId),
      onSuspect: events.onSuspect,
      onFrame(peerId, body) {
        if (leaving.has(peerId)) return
        if (body.case === 'holdingsQuery') holdings.onQuery(peerId, body.value)
        else if (body.case === 'holdingsAnswer') holdings.onAnswer(peerId, body.value)
        else if (body.case === 'holdingsWait') holdings.onWait(peerId, body.value)
        else if (body.case === 'holdingsDone') holdings.onDone(peerId, body.value)
        else if (body.case === 'holdingsSummary') summaries.onSummary(peerId, body.value)
        else if (body.case === 'rosterIds') rosterSync.onIds(peerId, body.value.ids)
        else if (body.case === 'rosterStatements') rosterSync.onStatements(peerId, body.value)
        else if (body.case === 'renewalRequest') renewal.onRequest(peerId, body.value.name)
        else if (body.case === 'approvalRequest') void approvals.onRequest(peerId, body.value)
        else if (body.case === 'approvalAnswer') approvals.onAnswer(peerId, body.value)
        else if (body.case === 'rekeyRequest') renewal.onRekey(peerId, body.value)
        // It is not known which of two is behind the key, so neither is trusted with work.
        else if (body.case !== 'offer' || !members.isDoubtful(peerId)) events.onFrame(peerId, body)
      },
    },
  )
  const summaries = new Summaries({
    clock,
    peers: () => table.up(),
    send: (peerId, body) => table.send(peerId, body),
    onMore: (peerId) => events.onHoldings(peerId),
  })
  const claims = new Claims({
    clock,
    self: self.peerId,
    sendWait: (peerId, work) => table.send(peerId, { case: 'holdingsWait', value: { works: [work] } }),
    sendDone: (peerId, work, held) => table.send(peerId, { case: 'holdingsDone', value: { works: [work], held } }),
    onWorking: (working) => summaries.setWorking(working),
  })
  const holdings = new Holdings({
    clock,
    log,
    lookup: needs.lookup,
    claims,
    summaries,
    peers: () => table.up().filter((peerId) => !members.isDoubtful(peerId)),
    send: (peerId, body) => table.send(peerId, body),
  })
  const exchange = new BlockExchange({
    clock,
    random,
    log,
    self: self.peerId,
    async open(peerId, signal) {
      const connection = table.connection(peerId) ?? (await host.dial(peerIdFromString(peerId), { signal }))
      return connection.newStream(blockProtocol, { signal, maxOutboundStreams: maxStreams })
    },
    isConnected: (peerId) => connected.has(peerId),
    onHedge: () => needs.onHedge(),
  })
  const records = new ProviderRecords({
    clock,
    log,
    dht: host.services.dht,
    self: host.peerId,
    connected: () => connected.size,
    onFound: (peerId, addresses, wanted) => dialler.found(peerId, addresses, { wanted }),
  })
  const surplus = new Surplus(
    {
      clock,
      log,
      connections: () => host.getConnections(),
      isUsed: (peerId, since) => table.isUsed(peerId, since),
    },
    self.maxPeers,
  )
  const server = new BlockServer({
    clock,
    random,
    log,
    source: needs.source,
    incoming: (cid) => exchange.incoming(cid),
    onServed: (bytes) => needs.onServed(bytes),
  })
  // Before the guard: who is shut out hears why.
  const rosterSync = new RosterSync({
    members,
    peers: () => table.greeted(),
    send: (peerId, body) => table.send(peerId, body),
    onAgreed: (peerId) => table.agreed(peerId),
  })
  const guard = new Guard({
    clock,
    log,
    members,
    connected: () => [...connected],
    drop: (peerId, reason) => {
      if (members.isShutOut(peerId)) {
        dialler.forget(peerId)
        book.forget(peerId)
      }
      const cut = (): void => {
        leaving.delete(peerId)
        for (const connection of host.getConnections(peerIdFromString(peerId))) connection.abort(reason)
      }
      if (!members.isShutOut(peerId) || !table.greeted().includes(peerId)) return cut()
      // It has been told why, and is to hear it: who does not know goes on letting newcomers in. Of what it says itself nothing is heard,
      // and nothing else is given.
      leaving.add(peerId)
      for (const { streams } of host.getConnections(peerIdFromString(peerId))) {
        for (const stream of streams) if (stream.protocol !== controlProtocol) stream.abort(reason)
      }
      clock.after(farewellMs, cut)
    },
  })
  const cloneWatch = new CloneWatch({
    clock,
    log,
    connections: (peerId) => openConnections(host, peerId),
    onClone(peerId) {
      // What `status` says of it follows from what everybody is told.
      log.info('two machines use the same key', { peer: peerId })
      members.reportClone(peerId).catch((error: unknown) => {
        const { code, message } = toShoalError(error)
        log.warn('that a key is in use twice was not told', { peer: peerId, code, message })
      })
    },
  })
  const renewal = new Renewal({
    clock,
    random,
    log,
    members,
    peers: () => table.up(),
    send: (peerId, body) => table.send(peerId, body),
  })
  const approvals = new Approvals({
    clock,
    members,
    desk,
    peers: () => table.up(),
    send: (peerId, body) => table.send(peerId, body),
  })
  return {
    approvals,
    rosterSync,
    guard,
    renewal,
    cloneWatch,
    connected,
    dialler,
    surplus,
    table,
    claims,
    holdings,
    summaries,
    exchange,
    server,
    records,
  }
}

function openConnections(host: Host, peerId: string) {
  return host.getConnections(peerIdFromString(peerId)).filter((connection) => connection.status === 'open')
}
