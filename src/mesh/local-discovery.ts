import { randomBytes } from 'node:crypto'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Clock, Random } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { Interfaces } from './addresses.ts'
import { encodeAnswer, encodeQuestion, readPacket } from './mdns-packets.ts'
import { Multicast } from './multicast.ts'

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

/** What a mesh is called in mDNS: members look for nothing else, so meshes on one network do not see each other. @param id or its beginning */
export function memberService(id: string): string {
  return `_shoal-${id.slice(0, 8)}._udp.local`
}

/** RFC 6762, 6: who answers waits so long, so that not all answer at once. */
const soonestMs = 20
const latestMs = 120
/** Whoever asks more often waits for the next answer. */
const spacingMs = 500
const intervalMs = 20_000
/** After a change, when a link may carry nothing for another moment, what is said is said again. */
const repeatsMs = [0, 1000, 3000] as const

/** Says on every network how this node is reached from there, and hears who else is there. */
export class LocalDiscovery {
  readonly #needs: LocalDiscoveryNeeds
  readonly #service: string
  readonly #instance = randomBytes(16).toString('hex')
  readonly #multicast: Multicast
  #cancels: (() => void)[] = []
  #cancelAnswer: (() => void) | undefined
  #answeredAt = Number.NEGATIVE_INFINITY
  #running = false

  /** @param service as `_name._udp.local` */
  constructor(needs: LocalDiscoveryNeeds, service: string) {
    this.#needs = needs
    this.#service = service
    const { interfaces, log } = needs
    this.#multicast = new Multicast({ interfaces, log, onMessage: (bytes) => this.#hear(bytes) })
  }

  /** Begins to listen, asks who is there and says that this node is. A network that allows none of it is no error. */
  start(): void {
    this.#running = true
    this.refresh()
  }

  stop(): void {
    this.#running = false
    this.#forgetTimers()
    this.#multicast.close()
  }

  /** The network has changed or the machine has woken up: asks again, on the interfaces that there are now. */
  refresh(): void {
    if (!this.#running) return
    this.#forgetTimers()
    this.#multicast.close()
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
    this.#multicast.follow()
    this.#multicast.sendAll(() => encodeQuestion(this.#service))
    this.#answer()
  }

  #answer(): void {
    this.#answeredAt = this.#needs.clock.now()
    const all = this.#needs.addresses()
    if (all.length === 0) return
    this.#multicast.sendAll((here) => {
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

  #hear(bytes: Uint8Array): void {
    if (!this.#running) return
    const { asks, found } = readPacket(bytes, this.#service, this.#instance)
    if (asks) this.#answerSoon()
    for (const [peerId, addresses] of found) this.#needs.onFound(peerId, addresses)
  }
}
