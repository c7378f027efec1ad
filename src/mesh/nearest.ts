import { hash } from 'node:crypto'
import { peerIdFromString } from '@libp2p/peer-id'
import type { CID } from 'multiformats/cid'

/**
 * Sorts members by their distance to a key as the DHT measures it: the exclusive or of the sha2-256 of both names.
 * @param peers peerIds as text
 */
export function byDistance(key: CID, peers: readonly string[]): string[] {
  const place = sha256(key.multihash.bytes)
  const distances = peers.map((peer) => ({ peer, distance: xor(place, placeOf(peer)) }))
  return distances.sort((a, b) => Buffer.compare(a.distance, b.distance)).map(({ peer }) => peer)
}

const placeOf = (peer: string): Buffer => sha256(peerIdFromString(peer).toMultihash().bytes)

const sha256 = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer')

const xor = (a: Buffer, b: Buffer): Buffer => Buffer.from(a.map((byte, at) => byte ^ (b[at] ?? 0)))
