import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { isIP } from 'node:net'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Clock, Random } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { Interfaces } from './addresses.ts'
import { encodeAnswer, encodeQuestion, readPacket } from './mdns-packets.ts'

export interface LocalDiscoveryNeeds {
  clock: Clock
  random: Random
  log: Logger
  interfaces: Interfaces
  /** Where this node can be reached, with its peerId at the end. */
  addresses(): readonly Multiaddr[]
  /** Somebody says that a peer is there. */
  onFound(peerId: string, addresses: Multiaddr[]): void
}

const group = '224.0.0.251'
const port = 5353
const maxInterfaces = 16
/** RFC 6762, 6: who answers waits so long, so that not all answer at once. */
const soonestMs = 20
const latestMs = 120
/** Whoever asks more often waits for the next answer. */
const spacingMs = 500
const intervalMs = 20_000
/** After a change, when a link may carry nothing for another moment, what is said is said again. */
const repeatsMs = [0, 1000, 3000] as const

/**
 * Multicast DNS on every interface by itself. One socket for all would send by the default route, which may lead to a VPN, to containers or
 * nowhere; so each interface has its own, and says there how this node is reached from there.
 */
export class LocalDiscovery {
  readonly #needs: LocalDiscoveryNeeds
  readonly #service: string
  readonly #instance = randomBytes(16).toString('hex')
  /** By address. */
  readonly #sockets = new Map<string, Socket>()
  #cancels: (() => void)[] = []
  #cancelAnswer: (() => void) | undefined
  #answeredAt = Number.NEGATIVE_INFINITY
  #running = false

  /** @param service as `_name._udp.local` */
  constructor(needs: LocalDiscoveryNeeds, service: string) {
    this.#needs = needs
    this.#service = service
  }

  /** Begins to listen, asks who is there and says that this node is. A network that allows none of it is no error. */
  start(): void {
    this.#running = true
    this.refresh()
  }

  stop(): void {
    this.#running = false
    this.#forgetTimers()
    for (const address of [...this.#sockets.keys()]) this.#close(address)
  }

  /** The network has changed or the machine has woken up: asks again, on the interfaces that there are now. */
  refresh(): void {
    if (!this.#running) return
    this.#forgetTimers()
    for (const address of [...this.#sockets.keys()]) this.#close(address)
    const { clock } = this.#needs
    const again = (): void => {
      this.#speak()
      this.#cancels.push(clock.after(intervalMs, again))
    }
    for (const ms of repeatsMs) this.#cancels.push(clock.after(ms, () => this.#speak()))
    this.#cancels.push(clock.after(intervalMs, again))
  }

  #forgetTimers(): void {
    for (const cancel of this.#cancels) cancel()
    this.#cancels = []
    this.#cancelAnswer?.()
    this.#cancelAnswer = undefined
  }

  #speak(): void {
    this.#follow()
    this.#sendAll(() => encodeQuestion(this.#service))
    this.#answer()
  }

  #answer(): void {
    this.#answeredAt = this.#needs.clock.now()
    const all = this.#needs.addresses()
    if (all.length === 0) return
    this.#sendAll((here) => {
      const near = all.filter((address) => address.getComponents()[0]?.value === here)
      return encodeAnswer(this.#service, this.#instance, near.length > 0 ? near : all)
    })
  }

  #answerSoon(): void {
    if (this.#cancelAnswer !== undefined) return
    const { clock, random } = this.#needs
    const delayMs = soonestMs + random() * (latestMs - soonestMs)
    const spacing = this.#answeredAt + spacingMs - clock.now()
    this.#cancelAnswer = clock.after(Math.max(delayMs, spacing), () => {
      this.#cancelAnswer = undefined
      this.#answer()
    })
  }

  /** A socket for each interface that there is, and none for those that are gone. */
  #follow(): void {
    const here = new Set(listeningAddresses(this.#needs.interfaces))
    for (const address of [...this.#sockets.keys()]) if (!here.has(address)) this.#close(address)
    for (const address of here) if (!this.#sockets.has(address)) this.#open(address)
  }

  #open(address: string): void {
    const socket = createSocket({ type: 'udp4', reuseAddr: true })
    this.#sockets.set(address, socket)
    socket.unref()
    socket.on('error', (error) => this.#failed(address, socket, error))
    socket.on('message', (bytes) => this.#hear(bytes))
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

  /** The next time that something is said it is tried again. */
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

  #sendAll(packet: (address: string) => Uint8Array): void {
    for (const [address, socket] of this.#sockets) {
      const bytes = packet(address)
      // Sent once the socket is bound, and the callback that chooses the interface has run.
      socket.send(bytes, port, group, (error) => {
        if (error !== null) this.#needs.log.debug('not sent', { address, error: error.message })
      })
    }
  }

  // Whatever a host of the network sends is heard once for each interface; all of it may come twice.
  #hear(bytes: Uint8Array): void {
    if (!this.#running) return
    const { asks, found } = readPacket(bytes, this.#service, this.#instance)
    if (asks) this.#answerSoon()
    for (const [peerId, addresses] of found) this.#needs.onFound(peerId, addresses)
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
