import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { base32 } from 'multiformats/bases/base32'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { isDialable, withoutPeer } from './addresses.ts'
import { type Membership, membershipOf, meshName, secretBytes } from './membership.ts'

const prefix = 'shoal1:'
const maxAddresses = 3
const maxObjectBytes = 1024
const maxLinkLength = prefix.length + Math.ceil((maxObjectBytes * 8) / 5)

const schema = z.strictObject({
  v: z.literal(1),
  name: meshName,
  secret: z.instanceof(Uint8Array).refine((bytes) => bytes.length === secretBytes, `not ${secretBytes} bytes`),
  addresses: z.array(z.instanceof(Uint8Array)).max(maxAddresses),
})

/**
 * The invitation to a mesh: `shoal1:` and the lower-case base32 of a dag-cbor object. It carries the secret: whoever
 * reads it can join. Of `addresses` (multiaddrs of members) the first three that others can dial are taken.
 */
export function encodeLink(membership: Pick<Membership, 'name' | 'secret'>, addresses: readonly string[]): string {
  const dialable = addresses.map((address) => withoutPeer(multiaddr(address))).filter(isDialable)
  const distinct = [...new Map(dialable.map((address) => [address.toString(), address.bytes])).values()]
  const { name, secret } = membership
  const { bytes } = encodeCbor({ v: 1, name, secret, addresses: distinct.slice(0, maxAddresses) })
  return prefix + base32.baseEncode(bytes)
}

/**
 * Reads a link that a person pasted; white space around it is ignored.
 * @returns the membership; the link's addresses are its `seeds`.
 * @throws ShoalError ERR_INVITE for anything that `encodeLink` cannot have made.
 */
export function decodeLink(text: string): Membership {
  const link = text.trim()
  if (link.length > maxLinkLength) throw new ShoalError('ERR_INVITE', 'the link is too long')
  if (!link.startsWith(prefix)) throw new ShoalError('ERR_INVITE', `the link does not begin with ${prefix}`)
  try {
    const bytes = base32.baseDecode(link.slice(prefix.length))
    const { name, secret, addresses } = decodeCbor(bytes, schema, maxObjectBytes)
    const seeds = addresses.map((address) => readAddress(address).toString())
    const membership = membershipOf({ name, secret: new Uint8Array(secret), open: false, seeds })
    if (encodeLink(membership, seeds) === link) return membership
  } catch (error) {
    throw new ShoalError('ERR_INVITE', 'the link is damaged or incomplete', { cause: error })
  }
  throw new ShoalError('ERR_INVITE', 'the link is not in canonical form')
}

function readAddress(bytes: Uint8Array): Multiaddr {
  const address = multiaddr(bytes)
  if (!isDialable(address)) throw new ShoalError('ERR_INVITE', 'the link holds an address that cannot be dialled')
  return address
}
