import multicastDns, { type MulticastDNS, type ResponseOutgoingPacket } from 'multicast-dns'
import type { Interfaces } from './addresses.ts'
import { isNeighbour } from './neighbours.ts'

const anyAddress = '0.0.0.0'

/** Each may hear the same more than once: where it comes in, every socket gets it. */
export interface MulticastHandlers {
  /** @param from IP address */
  onQuery?(packet: unknown, from: string): void
  onResponse?(packet: unknown): void
}

/**
 * Multicast DNS on each network of this machine by itself. One socket would send to the network of the default route only, which
 * need not be the one where the others are.
 */
export class Multicast {
  readonly #interfaces: Interfaces
  readonly #handlers: MulticastHandlers
  /** By the own address on that network. */
  readonly #sockets = new Map<string, MulticastDNS>()

  constructor(interfaces: Interfaces, handlers: MulticastHandlers) {
    this.#interfaces = interfaces
    this.#handlers = handlers
    this.refresh()
  }

  /** How many networks there are to be heard on. */
  get size(): number {
    return this.#sockets.size
  }

  /** Follows the networks that this machine is on now. */
  refresh(): void {
    const present = new Set(addressesOf(this.#interfaces))
    for (const [address, socket] of this.#sockets) {
      if (present.delete(address)) continue
      this.#sockets.delete(address)
      socket.destroy()
    }
    for (const address of present) this.#sockets.set(address, this.#open(address))
  }

  /** Asks on all networks. */
  ask(name: string): void {
    for (const socket of this.#sockets.values()) socket.query({ questions: [{ name, type: 'PTR' }] })
  }

  /** The own address on the network that `from` is on; undefined when it is on none. */
  networkOf(from: string): string | undefined {
    return [...this.#sockets.keys()].find((address) => isNeighbour(from, only(this.#interfaces, address)))
  }

  /** Answers on one network. */
  answer(packet: ResponseOutgoingPacket, network: string): void {
    this.#sockets.get(network)?.respond({ ...packet })
  }

  async stop(): Promise<void> {
    const sockets = [...this.#sockets.values()]
    this.#sockets.clear()
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.destroy(() => resolve()))))
  }

  #open(address: string): MulticastDNS {
    const { onQuery, onResponse } = this.#handlers
    const socket = multicastDns({ interface: address, bind: anyAddress })
    if (onQuery !== undefined) socket.on('query', (packet, { address: from }) => onQuery(packet, from))
    if (onResponse !== undefined) socket.on('response', (packet) => onResponse(packet))
    // A network that cannot be listened on is one where nobody is heard.
    socket.on('error', () => this.#drop(address, socket))
    return socket
  }

  #drop(address: string, socket: MulticastDNS): void {
    if (this.#sockets.get(address) === socket) this.#sockets.delete(address)
    socket.destroy()
  }
}

/** One IPv4 address of each interface; that of the loopback only where there is no other. */
function addressesOf(interfaces: Interfaces): string[] {
  const own = Object.values(interfaces()).flatMap((entries) => {
    const entry = (entries ?? []).find(({ address }) => !address.includes(':'))
    return entry === undefined ? [] : [entry.address]
  })
  const outer = own.filter((address) => !address.startsWith('127.'))
  return outer.length > 0 ? outer : own
}

function only(interfaces: Interfaces, address: string): Interfaces {
  return () => {
    const all = interfaces()
    return Object.fromEntries(
      Object.entries(all).map(([name, entries]) => [name, entries?.filter((entry) => entry.address === address)]),
    )
  }
}
