import type { Multiaddr } from '@multiformats/multiaddr'
import { type Answer, AUTHORITATIVE_ANSWER, type DecodedPacket, decode, encode } from 'dns-packet'
import { peerOf, readMultiaddr } from './addresses.ts'

/** RFC 6762, 17: nothing longer goes over multicast DNS. */
const maxPacketBytes = 9000
/** One string of a TXT record. */
const maxTextBytes = 255
const maxRecords = 64
const addressKey = 'dnsaddr='
const ttlSeconds = 120

/** What a packet of multicast DNS says about one service. */
export interface Heard {
  /** Somebody wants to know who is there. */
  asks: boolean
  /** Who is there, by peerId; nothing of it is proven. */
  found: Map<string, Multiaddr[]>
}

const nothing = (): Heard => ({ asks: false, found: new Map() })

/** "Who is there?" */
export function encodeQuestion(service: string): Uint8Array {
  return encode({ type: 'query', questions: [{ name: service, type: 'PTR' }] })
}

/**
 * "Here I am."
 * @param instance the name of this node among those of the service; of letters that a host name may have, up to 63
 * @param addresses with the peerId at the end
 */
export function encodeAnswer(service: string, instance: string, addresses: readonly Multiaddr[]): Uint8Array {
  const name = `${instance}.${service}`
  const texts = addresses.map((address) => `${addressKey}${address.toString()}`)
  const answers: Answer[] = [
    { name: service, type: 'PTR', class: 'IN', ttl: ttlSeconds, data: name },
    ...texts
      .filter((text) => Buffer.byteLength(text) <= maxTextBytes)
      .map((data): Answer => ({ name, type: 'TXT', class: 'IN', ttl: ttlSeconds, data })),
  ]
  return encode({ type: 'response', flags: AUTHORITATIVE_ANSWER, answers })
}

/**
 * Reads a packet that came from anybody. Never throws: what is not understood says nothing.
 * @param ownInstance answers of this one are left out
 */
export function readPacket(bytes: Uint8Array, service: string, ownInstance: string): Heard {
  const packet = parsePacket(bytes, service)
  if (packet === undefined) return nothing()
  if (packet.type === 'query') {
    const asks = (packet.questions ?? []).some(({ name, type }) => name === service && type === 'PTR')
    return { asks, found: new Map() }
  }
  return { asks: false, found: foundIn(packet, service, ownInstance) }
}

/** What anybody has sent, if it is a packet and mentions a service. Never throws. */
export function parsePacket(bytes: Uint8Array, service: string): DecodedPacket | undefined {
  if (bytes.length > maxPacketBytes || !mentions(bytes, service)) return undefined
  try {
    return decode(Buffer.from(bytes))
  } catch (error) {
    // The parser has no error type of its own; whatever it objects to is no packet.
    if (error instanceof Error) return undefined
    throw error
  }
}

function foundIn(packet: DecodedPacket, service: string, ownInstance: string): Map<string, Multiaddr[]> {
  const found = new Map<string, Multiaddr[]>()
  const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])].slice(0, maxRecords)
  for (const record of records) {
    if (record.type !== 'TXT' || !record.name.endsWith(`.${service}`)) continue
    if (record.name === `${ownInstance}.${service}`) continue
    for (const part of [record.data].flat()) {
      const text = part.toString()
      const address = text.startsWith(addressKey) ? readMultiaddr(text.slice(addressKey.length)) : undefined
      const peerId = address === undefined ? undefined : peerOf(address)
      if (address !== undefined && peerId !== undefined) found.set(peerId, [...(found.get(peerId) ?? []), address])
    }
  }
  return found
}

/** Whether the first label of the service stands in a packet: on a busy network most are about printers. */
function mentions(bytes: Uint8Array, service: string): boolean {
  const [label = ''] = service.split('.')
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(label)
}
