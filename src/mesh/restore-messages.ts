import { encode } from '@ipld/dag-cbor'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { decodeCbor } from '../wire/cbor.ts'
import { isSignedBy, type SigningKey, signatureBytes } from './ed25519.ts'
import { answered, maxAskBytes, statement } from './join-messages.ts'
import { bytesOf, keySchema } from './statement.ts'

/** What who has the root key of a mesh and nothing else of it says to a member, and what that answers. See membership.md. */

/** "I have the root key of your mesh." */
export interface RootClaim {
  /** The root key's public half. */
  root: Uint8Array
  /** See `proveRoot`. */
  sig: Uint8Array
}

/** What the mesh is; the roster follows. */
export interface Restored {
  genesis: Uint8Array
  /** The mesh's secret. */
  secret: Uint8Array
  /** Of the member that says so. */
  certificate: Uint8Array
}

/** The two ends of a connection, by their keys, and the hash of their handshake. */
export interface Between {
  claimant: Uint8Array
  member: Uint8Array
  channel: Uint8Array
}

const v = z.literal(1)
const claimSchema = z.strictObject({ v, root: keySchema, sig: bytesOf(signatureBytes) })
const restoredSchema = z.strictObject({ v, genesis: statement, secret: bytesOf(32), certificate: statement })

export const encodeClaim = (claim: RootClaim): Uint8Array => encode({ v: 1, ...claim })
export const encodeRestored = (restored: Restored): Uint8Array => encode({ v: 1, ...restored })

/** @throws ShoalError ERR_DECODE */
export function decodeClaim(bytes: Uint8Array): RootClaim {
  return decodeCbor(bytes, claimSchema, maxAskBytes)
}

/** @throws ShoalError ERR_DECODE, or with the code of the refusal */
export function decodeRestored(bytes: Uint8Array): Restored {
  return answered(bytes, restoredSchema)
}

/** Signed for these two ends of this connection, so that it is worth nothing on another one. */
export function proveRoot(root: SigningKey, between: Between): RootClaim {
  return { root: root.publicKey, sig: root.sign(signedBytes(between)) }
}

/** @throws ShoalError ERR_SIGNATURE */
export function checkClaim({ root, sig }: RootClaim, between: Between): void {
  if (isSignedBy(root, signedBytes(between), sig)) return
  throw new ShoalError('ERR_SIGNATURE', 'the root key was not shown')
}

function signedBytes({ claimant, member, channel }: Between): Uint8Array {
  return Buffer.concat([Buffer.from('shoal/1/restore\0'), encode({ claimant, member, channel })])
}
