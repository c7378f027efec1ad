import type { Multiaddr } from '@multiformats/multiaddr'
import { type Answer, AUTHORITATIVE_ANSWER, encode } from 'dns-packet'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { type Interfaces, isDialable, peerOf, readMultiaddr } from './addresses.ts'
import { askAround } from './ask-around.ts'
import { parsePacket } from './mdns-packets.ts'
import { Multicast } from './multicast.ts'

/** What newcomers ask for, whatever the mesh: whoever knows of none cannot ask by its id. */
export const beaconService = '_shoal-join._udp.local'

const attribute = 'dnsaddr='
const maxAddresses = 8
const maxRecords = 64
const maxTextBytes = 255
/** However many ask on one network, no more than one answer in as long. */
const pauseMs = 500
const refreshMs = 5000

export interface BeaconNeeds {
  clock: Clock
  log: Logger
  interfaces: Interfaces
  /** By the service that is asked for: whether who asks is answered. */
  services: Readonly<Record<string, () => boolean>>
  /** Multiaddrs with the peerId at the end. */
  addresses(): string[]
}

/** Tells who asks on the local networks where to find this node: addresses, and nothing about the mesh. */
export class Beacon {
  readonly #needs: BeaconNeeds
  readonly #multicast: Multicast
  #cancelRefresh: () => void = () => undefined
  /** Service and network → when it was answered there, and how not to answer again. */
  readonly #answers = new Map<string, { at: number; cancel: (() => void) | undefined }>()

  constructor(needs: BeaconNeeds) {
    this.#needs = needs
    const { interfaces, log } = needs
    this.#multicast = new Multicast({ interfaces, log, onMessage: (bytes, from) => this.#onMessage(bytes, from) })
  }

  start(): void {
    this.#multicast.follow()
    this.#refresh()
  }

  stop(): void {
    this.#cancelRefresh()
    for (const { cancel } of this.#answers.values()) cancel?.()
    this.#multicast.close()
  }

  #refresh(): void {
    this.#cancelRefresh = this.#needs.clock.after(refreshMs, () => {
      this.#multicast.follow()
      // Networks that are gone; those that remain lose half a second's memory.
      for (const [place, { cancel }] of this.#answers) if (cancel === undefined) this.#answers.delete(place)
      this.#refresh()
    })
  }

  #onMessage(bytes: Uint8Array, from: string): void {
    for (const [service, isOpen] of Object.entries(this.#needs.services)) {
      const packet = parsePacket(bytes, service)
      if (packet?.type !== 'query' || !packet.questions?.some(({ name }) => name === service)) continue
      const network = this.#multicast.networkOf(from)
      if (network !== undefined && isOpen()) this.#answerSoon(service, network)
    }
  }

  #answerSoon(service: string, network: string): void {
    const { clock, addresses } = this.#needs
    const place = `${service} ${network}`
    const { at = Number.NEGATIVE_INFINITY, cancel } = this.#answers.get(place) ?? {}
    if (cancel !== undefined) return
    const answer = (): void => {
      this.#answers.set(place, { at: clock.now(), cancel: undefined })
      const answers = answersWith(service, addresses())
      if (answers.length === 0) return
      this.#multicast.send(encode({ type: 'response', flags: AUTHORITATIVE_ANSWER, answers }), network)
    }
    this.#answers.set(place, { at, cancel: clock.after(Math.max(0, at + pauseMs - clock.now()), answer) })
  }
}

/**
 * Listens for nodes that newcomers may ask. What is heard is hearsay: anybody can say it.
 * @param options.ms how long at most
 * @param options.service what they answer to
 * @param options.quietMs once somebody was heard, for how long nothing new has to be heard
 * @returns the addresses of each peer; at once with none where there is no network
 */
export async function hearBeacons(
  { interfaces, log }: Pick<BeaconNeeds, 'interfaces' | 'log'>,
  options: { ms: number; quietMs: number; service?: string },
): Promise<Map<string, Multiaddr[]>> {
  const { service = beaconService } = options
  const heard = new Map<string, Multiaddr[]>()
  const ending = new AbortController()
  let quiet: NodeJS.Timeout | undefined
  const onMessage = (bytes: Uint8Array): void => {
    for (const [peerId, addresses] of addressesIn(parsePacket(bytes, service), service)) {
      if (heard.size >= maxRecords || heard.has(peerId)) continue
      heard.set(peerId, addresses)
      clearTimeout(quiet)
      quiet = setTimeout(() => ending.abort(), options.quietMs)
    }
  }
  await askAround({ interfaces, log }, { service, ms: options.ms, signal: ending.signal, onMessage })
  clearTimeout(quiet)
  return heard
}

/** What a decoded packet says of where to find whom; nothing in it is believed to have any shape. */
export function addressesIn(packet: unknown, service: string): Map<string, Multiaddr[]> {
  const found = new Map<string, Multiaddr[]>()
  const records = [...listOf(packet, 'answers'), ...listOf(packet, 'additionals')].slice(0, maxRecords)
  for (const record of records) {
    if (field(record, 'type') !== 'TXT' || field(record, 'name') !== service) continue
    for (const text of [field(record, 'data')].flat()) {
      const address = addressOf(text)
      const peerId = address === undefined ? undefined : peerOf(address)
      if (address === undefined || peerId === undefined) continue
      const known = found.get(peerId) ?? []
      if (known.length < maxAddresses) found.set(peerId, [...known, address])
    }
  }
  return found
}

function addressOf(text: unknown): Multiaddr | undefined {
  if (!(typeof text === 'string' || text instanceof Uint8Array) || text.length > maxTextBytes) return undefined
  const said = Buffer.from(text).toString('utf8')
  const address = said.startsWith(attribute) ? readMultiaddr(said.slice(attribute.length)) : undefined
  return address !== undefined && isDialable(address) ? address : undefined
}

function answersWith(service: string, addresses: readonly string[]): Answer[] {
  return addresses
    .map((address) => attribute + address)
    .filter((data) => data.length <= maxTextBytes)
    .slice(0, maxAddresses)
    .map((data) => ({ name: service, type: 'TXT' as const, class: 'IN' as const, ttl: 120, data }))
}

function field(record: unknown, name: string): unknown {
  return typeof record === 'object' && record !== null ? Reflect.get(record, name) : undefined
}

function listOf(packet: unknown, name: string): unknown[] {
  const list = field(packet, name)
  return Array.isArray(list) ? list : []
}
