import { isIP } from 'node:net'
import type { MultiaddrConnection } from '@libp2p/interface'
import {
  CODE_DNS,
  CODE_DNS4,
  CODE_DNS6,
  CODE_IP4,
  CODE_IP6,
  CODE_P2P,
  CODE_TCP,
  type Multiaddr,
  multiaddr,
} from '@multiformats/multiaddr'
import { ShoalError } from '../base/errors.ts'

/** The addresses of one network interface, as `os.networkInterfaces()` reports them. */
export type Interfaces = () => Readonly<Record<string, readonly InterfaceAddress[] | undefined>>

interface InterfaceAddress {
  address: string
  /** The address and how many bits of it are the network's. */
  cidr?: string | null
}

/** Interfaces that lead to containers and virtual machines of this host only. */
const virtualInterface = /^(docker|br-|veth|virbr|cni|podman|lxcbr|lxdbr|vmnet|vboxnet)/
const hostCodes: readonly number[] = [CODE_IP4, CODE_IP6, CODE_DNS, CODE_DNS4, CODE_DNS6]

/**
 * Multiaddrs to listen on: each of `listen` is an IP address or a multiaddr of its own.
 * @throws ShoalError ERR_CONFIG naming the one that is neither.
 */
export function listenAddresses(listen: readonly string[], port: number): string[] {
  return listen.map((entry) => {
    const family = isIP(entry)
    if (family !== 0) return `/ip${family}/${entry}/tcp/${port}`
    const address = readMultiaddr(entry)
    if (address !== undefined && isTcp(address)) return entry
    throw new ShoalError('ERR_CONFIG', `mesh.listen: ${entry} is no address to listen on`)
  })
}

/**
 * What a node says besides of where it is.
 * @throws ShoalError ERR_CONFIG naming the one that nobody could dial
 */
export function announcedAddresses(announce: readonly string[]): string[] {
  return announce.map((entry) => {
    const address = readMultiaddr(entry)
    if (address !== undefined && isDialable(address) && peerOf(address) === undefined) return entry
    throw new ShoalError('ERR_CONFIG', `mesh.announce: ${entry} is no address that others can dial`, {
      hint: 'Write /dns4/HOST/tcp/PORT or /ip4/ADDRESS/tcp/PORT.',
    })
  })
}

/** Reads an address that came from a person or another machine; undefined when it is none. */
export function readMultiaddr(text: string): Multiaddr | undefined {
  if (text.length > 256) return undefined
  try {
    return multiaddr(text)
  } catch (error) {
    // The parser has no error type of its own; whatever it objects to is not an address.
    if (error instanceof Error) return undefined
    throw error
  }
}

/** Whether the text is the name of a peer, so that it can stand at the end of an address. */
export function isPeerId(text: string): boolean {
  const address = readMultiaddr(`/p2p/${text}`)
  return address !== undefined && peerOf(address) === text
}

/** TCP to a host, with or without the peer at the end: all that a member may ask another to dial. */
export function isDialable(address: Multiaddr): boolean {
  return isTcp(address) && address.getComponents()[1]?.value !== '0'
}

/** The address without `/p2p/…` at its end. */
export function withoutPeer(address: Multiaddr): Multiaddr {
  return address.decapsulateCode(CODE_P2P)
}

/** The peer that an address names at its end. */
export function peerOf(address: Multiaddr): string | undefined {
  return address.getComponents().findLast((part) => part.code === CODE_P2P)?.value
}

/**
 * Which of a node's own addresses it tells others: none of this host alone (loopback, links without a router, bridges
 * to containers), unless it has no other.
 */
export function announceFilter(interfaces: Interfaces): (addresses: Multiaddr[]) => Multiaddr[] {
  return (addresses) => {
    const hidden = new Set<string>()
    for (const [name, entries] of Object.entries(interfaces())) {
      if (virtualInterface.test(name)) for (const entry of entries ?? []) hidden.add(entry.address)
    }
    const reachable = addresses.filter((address) => {
      const host = hostOf(address)
      return !isLoopback(host) && !isLinkLocal(host) && !hidden.has(host)
    })
    return reachable.length > 0 ? reachable : addresses.filter((address) => isLoopback(hostOf(address)))
  }
}

/** Changes whenever this machine gets or loses an address. */
export function networkFingerprint(interfaces: Interfaces): string {
  const addresses = Object.values(interfaces()).flatMap((entries) => (entries ?? []).map((entry) => entry.address))
  return addresses.sort().join(' ')
}

function isTcp(address: Multiaddr): boolean {
  const parts = address.getComponents()
  const [host, port, peer] = parts
  if (host === undefined || port === undefined || parts.length > 3) return false
  if (!hostCodes.includes(host.code) || port.code !== CODE_TCP) return false
  return peer === undefined || peer.code === CODE_P2P
}

/** Its IP address or name, without the zone of one that has a meaning on one link only. */
export function hostOf(address: Multiaddr): string {
  return address.getComponents().find(({ code }) => hostCodes.includes(code))?.value ?? ''
}

/** The host that a raw connection comes from; empty when it cannot be told. */
export function remoteHostOf(connection: unknown): string {
  const { remoteAddr } = connection as Partial<MultiaddrConnection>
  return remoteAddr === undefined ? '' : hostOf(remoteAddr)
}

/** An IP address without a zone, and IPv4 that is written as IPv6 as IPv4. Whatever else it is stays as it is. */
export function plainHost(address: string): string {
  const [host = ''] = address.split('%')
  const words = wordsOf(host)
  if (words === undefined || words.slice(0, 6).join() !== '0,0,0,0,0,65535') return host
  const [high = 0, low = 0] = words.slice(6)
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

/**
 * The network that one may have all addresses of: of IPv6 the first 64 bits, of IPv4 the address itself. Whatever is limited for each address
 * is limited for this as well, or there is no limit.
 */
export function networkOf(address: string): string {
  const host = plainHost(address)
  const words = wordsOf(host)
  return words === undefined
    ? host
    : words
        .slice(0, 4)
        .map((word) => word.toString(16))
        .join(':')
}

/** The eight words of an IPv6 address. */
function wordsOf(host: string): number[] | undefined {
  if (isIP(host) !== 6) return undefined
  // The last two can be written as IPv4.
  const dotted = host.slice(host.lastIndexOf(':') + 1)
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split('.').map(Number)
  const last = dotted.includes('.') ? `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}` : dotted
  const [before = '', after] = (host.slice(0, host.length - dotted.length) + last).split('::')
  const wordsIn = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((word) => Number.parseInt(word, 16))
  const [head, tail] = [wordsIn(before), wordsIn(after ?? '')]
  return [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail]
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1'
}

/** Whether an IP address means something on one link only. */
export function isLinkLocal(host: string): boolean {
  return host.startsWith('169.254.') || /^fe[89ab]/i.test(host)
}
