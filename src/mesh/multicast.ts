import { createSocket, type Socket } from 'node:dgram'
import { isIP } from 'node:net'
import type { Logger } from '../base/log.ts'
import type { Interfaces } from './addresses.ts'
import { isNeighbour } from './neighbours.ts'

export interface MulticastNeeds {
  interfaces: Interfaces
  log: Logger
  /** What any host of a network sends is heard once for each interface; all of it may come twice. @param from IP address */
  onMessage(bytes: Uint8Array, from: string): void
}

const group = '224.0.0.251'
const port = 5353
const maxInterfaces = 16

/**
 * Multicast DNS on every interface by itself. One socket for all would send by the default route, which may lead to a VPN, to
 * containers or nowhere; so each interface has its own.
 */
export class Multicast {
  readonly #needs: MulticastNeeds
  /** By the own address on that network. */
  readonly #sockets = new Map<string, Socket>()

  constructor(needs: MulticastNeeds) {
    this.#needs = needs
  }

  /** How many networks there are to be heard on. */
  get size(): number {
    return this.#sockets.size
  }

  /** A socket for each interface that there is now, and none for those that are gone. A network that allows none is no error. */
  follow(): void {
    const here = new Set(listeningAddresses(this.#needs.interfaces))
    for (const address of [...this.#sockets.keys()]) if (!here.has(address)) this.#close(address)
    for (const address of here) if (!this.#sockets.has(address)) this.#open(address)
  }

  /** Closes all sockets; `follow` opens new ones. */
  close(): void {
    for (const address of [...this.#sockets.keys()]) this.#close(address)
  }

  /** The own address on the network that `from` is on; undefined when it is on none. */
  networkOf(from: string): string | undefined {
    return [...this.#sockets.keys()].find((address) => isNeighbour(from, only(this.#needs.interfaces, address)))
  }

  /** Sends on every network what `packet` makes for the own address there. */
  sendAll(packet: (address: string) => Uint8Array): void {
    for (const address of this.#sockets.keys()) this.send(packet(address), address)
  }

  /** Sends on the network of an own address. */
  send(bytes: Uint8Array, address: string): void {
    // Sent once the socket is bound, and the callback that chooses the interface has run.
    this.#sockets.get(address)?.send(bytes, port, group, (error) => {
      if (error !== null) this.#needs.log.debug('not sent', { address, error: error.message })
    })
  }

  #open(address: string): void {
    const socket = createSocket({ type: 'udp4', reuseAddr: true })
    this.#sockets.set(address, socket)
    socket.unref()
    socket.on('error', (error) => this.#failed(address, socket, error))
    socket.on('message', (bytes, { address: from }) => {
      if (this.#sockets.get(address) === socket) this.#needs.onMessage(bytes, from)
    })
    socket.bind({ port, address: '0.0.0.0' }, () => {
      try {
        socket.addMembership(group, address)
        socket.setMulticastInterface(address)
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
    if (this.#sockets.get(address) === socket) this.#close(address)
  }

  #close(address: string): void {
    const socket = this.#sockets.get(address)
    this.#sockets.delete(address)
    try {
      socket?.close()
    } catch (error) {
      this.#needs.log.debug('a socket did not close', { address, error: String(error) })
    }
  }
}

/** One address of each interface that others are behind; loopback where there is nothing else. */
function listeningAddresses(interfaces: Interfaces): string[] {
  const first = Object.values(interfaces()).flatMap((entries) => {
    const address = (entries ?? []).map((entry) => entry.address).find((candidate) => isIP(candidate) === 4)
    return address === undefined ? [] : [address]
  })
  const outside = first.filter((address) => !address.startsWith('127.'))
  return (outside.length > 0 ? outside : first).slice(0, maxInterfaces)
}

function only(interfaces: Interfaces, address: string): Interfaces {
  return () => {
    const all = interfaces()
    return Object.fromEntries(
      Object.entries(all).map(([name, entries]) => [name, entries?.filter((entry) => entry.address === address)]),
    )
  }
}
