import { multiaddr } from '@multiformats/multiaddr'
import { base32 } from 'multiformats/bases/base32'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { isDialable, withoutPeer } from './addresses.ts'
import { inviteIdBytes } from './certificate.ts'
import { inviteSecretBytes } from './invite.ts'
import { bytesOf, meshBytes, nameSchema } from './statement.ts'

const prefix = 'shoal1:'
const maxAddresses = 3
const maxObjectBytes = 1024
const maxLinkLength = prefix.length + Math.ceil((maxObjectBytes * 8) / 5)

/** What a one-use invitation link says. It carries a secret: whoever reads it first can join. */
export interface InviteLink {
  /** The first 16 bytes of the genesis' id: whoever answers has to show a genesis with this id. */
  mesh: Uint8Array
  /** 8 bytes. */
  invite: Uint8Array
  /** 16 random bytes. Never logged. */
  secret: Uint8Array
  /** The mesh's name, for people. */
  name: string
  /** Multiaddrs of members, at most three. */
  addresses: string[]
}

const schema = z.strictObject({
  v: z.literal(2),
  mesh: bytesOf(meshBytes),
  invite: bytesOf(inviteIdBytes),
  secret: bytesOf(inviteSecretBytes),
  name: nameSchema,
  addresses: z.array(z.instanceof(Uint8Array)).max(maxAddresses),
})

/** `shoal1:` and base32 of canonical dag-cbor. Of the addresses the first three that others can dial are taken. */
export function encodeInviteLink(link: InviteLink): string {
  const dialable = link.addresses.map((address) => withoutPeer(multiaddr(address))).filter(isDialable)
  const distinct = [...new Map(dialable.map((address) => [address.toString(), address.bytes])).values()]
  const { mesh, invite, secret, name } = link
  const { bytes } = encodeCbor({ v: 2, mesh, invite, secret, name, addresses: distinct.slice(0, maxAddresses) })
  return prefix + base32.baseEncode(bytes)
}

/**
 * Reads a link that a person pasted; white space around it is ignored.
 * @throws ShoalError ERR_INVITE for anything that encodeInviteLink() cannot have made
 */
export function decodeInviteLink(text: string): InviteLink {
  if (text.length > 2 * maxLinkLength) throw new ShoalError('ERR_INVITE', 'the link is too long')
  const link = text.trim()
  if (link.length > maxLinkLength) throw new ShoalError('ERR_INVITE', 'the link is too long')
  if (!link.startsWith(prefix)) throw new ShoalError('ERR_INVITE', `the link does not begin with ${prefix}`)
  try {
    const bytes = base32.baseDecode(link.slice(prefix.length))
    const { v, addresses, ...rest } = decodeCbor(bytes, schema, maxObjectBytes)
    const decoded = { ...rest, addresses: addresses.map((address) => multiaddr(address).toString()) }
    if (v === 2 && encodeInviteLink(decoded) === link) return decoded
  } catch (error) {
    throw new ShoalError('ERR_INVITE', 'the link is damaged or incomplete', { cause: error })
  }
  throw new ShoalError('ERR_INVITE', 'the link is not in canonical form')
}
