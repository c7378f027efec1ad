import { createHash } from 'node:crypto'
import { multiaddr } from '@multiformats/multiaddr'
import { base32 } from 'multiformats/bases/base32'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { isDialable, withoutPeer } from './addresses.ts'
import { inviteIdBytes } from './certificate.ts'
import { inviteSecretBytes } from './invite.ts'
import { bytesOf, meshBytes, nameSchema, sameBytes } from './statement.ts'

const prefix = 'shoal1:'
const makerBytes = 16
const maxAddresses = 8
/** Of a link that does not say who made it, from before they did. */
const maxAddressesBefore = 3
const maxObjectBytes = 1024
const maxAddressBytes = 768
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
  /** 16 bytes that follow from the key of whoever made the link: see `isMaker`. Absent in links from before they said so. */
  key?: Uint8Array
  /** Multiaddrs of whoever made it, at most eight. */
  addresses: string[]
}

const fields = {
  mesh: bytesOf(meshBytes),
  invite: bytesOf(inviteIdBytes),
  secret: bytesOf(inviteSecretBytes),
  name: nameSchema,
}
const addressBytes = z.array(z.instanceof(Uint8Array))
const schema = z.discriminatedUnion('v', [
  z.strictObject({ v: z.literal(2), ...fields, addresses: addressBytes.max(maxAddressesBefore) }),
  z.strictObject({ v: z.literal(3), ...fields, key: bytesOf(makerBytes), addresses: addressBytes.max(maxAddresses) }),
])

/** What a link says of the key of whoever made it: as much as nobody finds another key for. */
export function makerOf(key: Uint8Array): Uint8Array {
  return new Uint8Array(
    createHash('sha256').update('shoal/1/link-maker\0').update(key).digest().subarray(0, makerBytes),
  )
}

/** Whether a key can be that of whoever made a link: of those that do not say, anybody's can. */
export function isMaker({ key: said }: InviteLink, key: Uint8Array): boolean {
  return said === undefined || sameBytes(said, makerOf(key))
}

/** `shoal1:` and base32 of canonical dag-cbor. Of the addresses the first eight that others can dial are taken. */
export function encodeInviteLink(link: InviteLink): string {
  const dialable = link.addresses.map((address) => withoutPeer(multiaddr(address))).filter(isDialable)
  const distinct = asFit([...new Map(dialable.map((address) => [address.toString(), address.bytes])).values()])
  const { mesh, invite, secret, name, key } = link
  const said = { mesh, invite, secret, name }
  const { bytes } =
    key === undefined
      ? encodeCbor({ v: 2, ...said, addresses: distinct.slice(0, maxAddressesBefore) })
      : encodeCbor({ v: 3, ...said, key, addresses: distinct.slice(0, maxAddresses) })
  return prefix + base32.baseEncode(bytes)
}

/** As many as leave room for the rest: names of hosts can be long. */
function asFit(addresses: readonly Uint8Array[]): Uint8Array[] {
  let left = maxAddressBytes
  return addresses.slice(0, maxAddresses).filter(({ length }) => {
    const fits = length <= left
    if (fits) left -= length
    return fits
  })
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
    const { v: _, addresses, ...rest } = decodeCbor<z.output<typeof schema>>(bytes, schema, maxObjectBytes)
    const decoded = { ...rest, addresses: addresses.map((address) => multiaddr(address).toString()) }
    if (encodeInviteLink(decoded) === link) return decoded
  } catch (error) {
    throw new ShoalError('ERR_INVITE', 'the link is damaged or incomplete', { cause: error })
  }
  throw new ShoalError('ERR_INVITE', 'the link is not in canonical form')
}
