import { createSocket, type Socket } from 'node:dgram'
import { isIP } from 'node:net'
import type { Logger } from '../base/log.ts'
import { type Interfaces, isLinkLocal } from './addresses.ts'
import { isNeighbour, isOnNetwork } from './neighbours.ts'

export interface MulticastNeeds {
  interfaces: Interfaces
  log: Logger
  /** What any host of a network sends is heard once for each interface; all of it may come twice. @param from IP address */
  onMessage(bytes: Uint8Array, from: string): void
}

const groups = { udp4: '224.0.0.251', udp6: 'ff02::fb' } as const
const anywhere = { udp4: '0.0.0.0', udp6: '::' } as const
const port = 5353
const maxInterfaces = 16

/** An interface that others are behind. */
interface Network {
  /** The own address there. */
  address: string
  /** As the system calls it. */
  name: string
  family: keyof typeof groups
}

/**
 * Multicast DNS on every interface by itself. One socket for all would send by the default route, which may lead to a VPN, to
 * containers or nowhere; so each interface has its own. By IPv4, and by IPv6 where there is nothing else.
 */
export class Multicast {
  readonly #needs: MulticastNeeds
  /** By the own address on that network. */
  readonly #sockets = new Map<string, Network & { socket: Socket }>()

  constructor(needs: MulticastNeeds) {
    this.#needs = needs
  }

  /** How many networks there are to be heard on. */
  get size(): number {
    return this.#sockets.size
  }

  /** A socket for each interface that there is now, and none for those that are gone. A network that allows none is no error. */
  follow(): void {
    const here = new Map(networks(this.#needs.interfaces).map((network) => [network.address, network]))
    for (const address of [...this.#sockets.keys()]) if (!here.has(address)) this.#close(address)
    for (const network of here.values()) if (!this.#sockets.has(network.address)) this.#open(network)
  }

  /** Closes all sockets; `follow` opens new ones. */
  close(): void {
    for (const address of [...this.#sockets.keys()]) this.#close(address)
  }

  /** The own address on the network that `from` is on; undefined when it is on none. */
  networkOf(from: string): string | undefined {
    const all = [...this.#sockets.values()]
    // An address that means something on one link only says on which.
    const [, zone] = from.split('%')
    if (zone !== undefined) return all.find(({ name }) => name === zone)?.address
    return all.find(({ address }) => isNeighbour(from, only(this.#needs.interfaces, address)))?.address
  }

  /** Sends on every network what `packet` makes for the own address there. */
  sendAll(packet: (address: string) => Uint8Array): void {
    for (const address of this.#sockets.keys()) this.send(packet(address), address)
  }

  /** Sends on the network of an own address. */
  send(bytes: Uint8Array, address: string): void {
    // Sent once the socket is bound, and the callback that chooses the interface has run.
    const network = this.#sockets.get(address)
    network?.socket.send(bytes, port, groups[network.family], (error) => {
      if (error !== null) this.#needs.log.debug('not sent', { address, error: error.message })
    })
  }

  #open(network: Network): void {
    const { address, name, family } = network
    const socket = createSocket({ type: family, reuseAddr: true, ipv6Only: family === 'udp6' })
    this.#sockets.set(address, { ...network, socket })
    socket.unref()
    socket.on('error', (error) => this.#failed(address, socket, error))
    socket.on('message', (bytes, { address: from }) => {
      // RFC 6762, 11: what a router has carried here is not heard. (IPv4 is behind a translator, mostly, and has links with several networks.)
      if (family === 'udp6' && !from.includes('%') && !isOnNetwork(from, this.#needs.interfaces)) return
      if (this.#sockets.get(address)?.socket === socket) this.#needs.onMessage(bytes, from)
    })
    socket.bind({ port, address: anywhere[family] }, () => {
      try {
        const way = family === 'udp4' ? address : `::%${name}`
        socket.addMembership(groups[family], way)
        socket.setMulticastInterface(way)
        socket.setMulticastTTL(255)
        socket.setMulticastLoopback(true)
      } catch (error) {
        this.#failed(address, socket, error)
      }
    })
  }

  /** It is tried again when the networks are followed the next time. */
  #failed(address: string, socket: Socket, error: unknown): void {
    this.#needs.log.debug('no multicast here', { address, error: String(error) })
    if (this.#sockets.get(address)?.socket === socket) this.#close(address)
  }

  #close(address: string): void {
    const network = this.#sockets.get(address)
    this.#sockets.delete(address)
    try {
      network?.socket.close()
    } catch (error) {
      this.#needs.log.debug('a socket did not close', { address, error: String(error) })
    }
  }
}

/** Each interface that others are behind, with one address; loopback where there is nothing else. */
function networks(interfaces: Interfaces): Network[] {
  const all = Object.entries(interfaces()).flatMap(([name, entries]): Network[] => {
    const addresses = (entries ?? []).map((entry) => entry.address)
    const old = addresses.find((address) => isIP(address) === 4)
    if (old !== undefined) return [{ address: old, name, family: 'udp4' }]
    // What means something on this link alone is told nobody, so there would be nothing to say there.
    const address = addresses.find((each) => isIP(each) === 6 && each !== '::1' && !isLinkLocal(each))
    return address === undefined ? [] : [{ address, name, family: 'udp6' }]
  })
  const outside = all.filter(({ address }) => !address.startsWith('127.'))
  return (outside.length > 0 ? outside : all).slice(0, maxInterfaces)
}

function only(interfaces: Interfaces, address: string): Interfaces {
  return () => {
    const all = interfaces()
    return Object.fromEntries(
      Object.entries(all).map(([name, entries]) => [name, entries?.filter((entry) => entry.address === address)]),
    )
  }
}
