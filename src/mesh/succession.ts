import { encode } from '@ipld/dag-cbor'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { isSignedBy, type SigningKey, signatureBytes } from './ed25519.ts'
import { bytesOf, keySchema } from './statement.ts'

/** The key that a member had before, and its word that this one follows it. */
export interface Follows {
  key: Uint8Array
  /** 64 bytes. */
  sig: Uint8Array
}

export const followsSchema: z.ZodType<Follows> = z.strictObject({ key: keySchema, sig: bytesOf(signatureBytes) })

function consentBytes(mesh: Uint8Array, old: Uint8Array, next: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('shoal/1/follows\0'), encode({ mesh, old, new: next })])
}

/** What the old key says last: whose word it is from now on. */
export function handOver(mesh: Uint8Array, old: SigningKey, next: Uint8Array): Follows {
  return { key: old.publicKey, sig: old.sign(consentBytes(mesh, old.publicKey, next)) }
}

/** @throws ShoalError ERR_SIGNATURE unless the key that `subject` is said to follow has said so itself */
export function checkFollows(mesh: Uint8Array, subject: Uint8Array, follows: Follows | undefined): void {
  if (follows === undefined || isSignedBy(follows.key, consentBytes(mesh, follows.key, subject), follows.sig)) return
  throw new ShoalError('ERR_SIGNATURE', 'the key before does not say that this one follows it')
}
