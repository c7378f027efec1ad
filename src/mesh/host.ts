import { join } from 'node:path'
import { yamux } from '@chainsafe/libp2p-yamux'
import { type Identify, type IdentifyPush, identify, identifyPush } from '@libp2p/identify'
import type { Libp2p, StreamMuxerFactory } from '@libp2p/interface'
import { type KadDHT, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { type Ping, ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type IndexDb, openIndexDb } from '../store/index-db.ts'
import { announcedAddresses, announceFilter, type Interfaces, isDialable, listenAddresses } from './addresses.ts'
import type { Encrypter } from './encryption.ts'
import type { Identity } from './identity.ts'
import { withFewerWrites } from './known-protocols.ts'
import { Lobby } from './lobby.ts'
import type { Membership } from './membership.ts'
import { withFewerUpdates } from './windows.ts'

/** Makes libp2p announce the addresses it listens on, and tell everybody connected when they have changed. */
interface OwnAddresses {
  refresh(): void
}

// A type, not an interface: libp2p wants an index signature.
type HostServices = {
  identify: Identify
  identifyPush: IdentifyPush
  ping: Ping
  dht: KadDHT
  ownAddresses: OwnAddresses
}

export type Host = Libp2p<HostServices> & {
  /** Stops the node and closes its database; what has not closed after `deadlineMs` is cut off. */
  end(deadlineMs: number): Promise<void>
}

export interface HostInit {
  identity: Identity
  membership: Pick<Membership, 'id'>
  /** Who may come in, and how: the first is what this node dials with. */
  encrypters: readonly Encrypter[]
  /** Whether it makes sense to dial a peer: not once it was shut out. */
  mayDial(peerId: string): boolean
  /** The database of peers and provider records is made here. */
  stateDir: string
  /** IP addresses or multiaddrs; default: all of IPv4. */
  listen?: readonly string[]
  /** Default: 0, any. */
  port?: number
  /** Multiaddrs to tell others besides; default: none. */
  announce?: readonly string[]
  interfaces: Interfaces
  log: Logger
}

const MiB = 1024 * 1024
const minuteMs = 60_000
const hourMs = 60 * minuteMs

/** How long a provider record lives; it is renewed when half of that is over. */
export const recordValidityMs = 4 * hourMs

/** Longer than any provider record: one whose member is no longer known would make a whole answer fail. */
const peerAgeMs = 48 * hourMs

/**
 * A libp2p node of one mesh, not started. A stranger gets as far as the encrypters and no further: no protocol handler exists
 * for a connection before they have let it in.
 * @throws ShoalError ERR_CONFIG for an address that cannot be listened on, ERR_STORE when the database cannot be opened.
 */
export async function createHost(init: HostInit): Promise<Host> {
  const { identity, membership, interfaces } = init
  const lobby = new Lobby()
  const listen = listenAddresses(init.listen ?? ['0.0.0.0'], init.port ?? 0)
  const appendAnnounce = announcedAddresses(init.announce ?? [])
  const db = await openDatastore(join(init.stateDir, 'peers', membership.id), identity.peerId, init.log)
  const node = await createLibp2p<HostServices>({
    start: false,
    privateKey: identity.privateKey,
    nodeInfo: { name: 'shoal', userAgent: 'shoal' },
    datastore: db.datastore,
    addresses: { listen, appendAnnounce, announceFilter: announceFilter(interfaces) },
    transports: [tcp({ backlog: 128 })],
    connectionEncrypters: [...init.encrypters],
    streamMuxers: [muxer],
    connectionManager: {
      maxConnections: 200,
      maxParallelDials: 16,
      // The lobby sees to it: these limits would turn away members together with whoever floods this node.
      inboundConnectionThreshold: Number.MAX_SAFE_INTEGER,
      maxIncomingPendingConnections: Number.MAX_SAFE_INTEGER,
      // Strangers are gone within three seconds, whatever else there is to do.
      inboundUpgradeTimeout: 2900,
      dialTimeout: 3000,
      addressDialTimeout: 1000,
      maxPeerAddrsToDial: 8,
      // Who is dialled again, and when, is the dialler's.
      maxParallelReconnects: 0,
      // In the order given: the dialler knows which address worked last.
      addressSorter: () => 0,
    },
    connectionGater: {
      filterMultiaddrForPeer: async (_peer, address) => isDialable(address),
      denyDialPeer: async (peer) => !init.mayDial(peer.toString()),
      async denyInboundConnection(connection) {
        lobby.enter(connection)
        return false
      },
      async denyInboundEncryptedConnection(_peer, connection) {
        lobby.leave(connection)
        return false
      },
    },
    // It opens a stream per connection every ten seconds and drops those of a busy machine. The control stream knows
    // better who is alive.
    connectionMonitor: { enabled: false },
    peerStore: { maxAddressAge: peerAgeMs, maxPeerAge: peerAgeMs },
    services: {
      identify: identify({ protocolPrefix: 'shoal' }),
      identifyPush: identifyPush({ protocolPrefix: 'shoal' }),
      ping: ping({ protocolPrefix: 'shoal', maxInboundStreams: 8, maxOutboundStreams: 8 }),
      dht: dhtOf(membership),
      ownAddresses,
    },
  })
  withFewerWrites(node.peerStore)
  return Object.assign(node, { end: (deadlineMs: number) => end(node, db, deadlineMs) })
}

/**
 * Starts to listen.
 * @throws ShoalError ERR_CONFIG when an address or the port cannot be had.
 */
export async function startHost(host: Host): Promise<void> {
  try {
    await host.start()
  } catch (error) {
    const hint = 'Is another program using the port? See `mesh.listen` and `mesh.port`.'
    throw new ShoalError('ERR_CONFIG', 'the mesh cannot listen', { hint, cause: error })
  }
  host.services.ownAddresses.refresh()
}

function dhtOf(membership: Pick<Membership, 'id'>): (components: Parameters<ReturnType<typeof kadDHT>>[0]) => KadDHT {
  return kadDHT({
    protocol: `/shoal/${membership.id}/kad/1.0.0`,
    clientMode: false,
    peerInfoMapper: passthroughMapper,
    // One provide and one look-up among 30 nodes cost 160 ms of CPU, all nodes together, at 8 and 413 at 20.
    kBucketSize: 8,
    allowQueryWithZeroPeers: true,
    initialQuerySelfInterval: 100,
    networkDialTimeout: { minTimeout: 300, maxTimeout: 2000 },
    pingNewContactTimeout: { minTimeout: 500, maxTimeout: 2000 },
    pingOldContactTimeout: { minTimeout: 500, maxTimeout: 2000 },
    reprovide: {
      validity: recordValidityMs,
      threshold: recordValidityMs / 2,
      interval: 10 * minuteMs,
      concurrency: 2,
    },
  })
}

/**
 * Yamux with a window that carries a fast network: the usual 256 KiB grows only where a round trip takes a millisecond or
 * more. Both ends must begin with the same window, or the connection is lost; so it has a protocol id of its own. The
 * window must stay below the read buffer, or a stream that is not read is aborted.
 */
function muxer(): StreamMuxerFactory {
  const factory = yamux({
    maxInboundStreams: 256,
    streamOptions: {
      initialStreamWindowSize: 2 * MiB,
      maxStreamWindowSize: 2 * MiB,
      maxReadBufferLength: 4 * MiB,
      maxWriteBufferLength: 32 * MiB,
    },
  })()
  factory.protocol = '/shoal/yamux/1.0.0'
  return withFewerUpdates(factory)
}

function ownAddresses(components: {
  addressManager: { confirmObservedAddr(address: Multiaddr, options: { type: 'transport' }): void }
  transportManager: { getAddrs(): Multiaddr[] }
}): OwnAddresses {
  return {
    refresh() {
      for (const address of components.transportManager.getAddrs()) {
        components.addressManager.confirmObservedAddr(address, { type: 'transport' })
      }
    },
  }
}

async function openDatastore(directory: string, self: string, log: Logger): Promise<IndexDb> {
  // Addresses and records of others: what is damaged there is learnt again.
  const db = await openIndexDb({ dir: directory, log })
  const { datastore } = db
  try {
    // What this node announced in an earlier session would be renewed for ever; whoever still holds it announces again.
    for await (const key of datastore.queryKeys({ prefix: '/dht/provider' })) {
      if (key.name() === self) await datastore.delete(key)
    }
  } catch (error) {
    await db.close()
    throw new ShoalError('ERR_STORE', `${directory} cannot be read`, { cause: error })
  }
  return db
}

async function end(node: Libp2p, db: IndexDb, deadlineMs: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, deadlineMs)
  const stopped = Promise.resolve(node.stop())
  try {
    await Promise.race([stopped, late])
  } catch (error) {
    throw toShoalError(error)
  } finally {
    clearTimeout(timer)
    for (const connection of node.getConnections()) connection.abort(new Error('the node is stopping'))
    await db.close()
  }
}
