import { encode } from '@ipld/dag-cbor'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { isSignedBy, type SigningKey, signatureBytes } from './ed25519.ts'
import { bytesOf, keySchema } from './statement.ts'

/** That a key says that another one follows it. */
export interface Consent {
  key: Uint8Array
  /** 64 bytes. */
  sig: Uint8Array
}

/**
 * The first key that a member had, as an administrator says: with the word of that one, when it is the key before, else with the key before,
 * whose word only the administrator has seen. (So nothing of a line is lost, and a chain fits into a statement.)
 */
export type Follows = Consent | { key: Uint8Array; via: Uint8Array }

export const followsSchema: z.ZodType<Follows> = z.union([
  z.strictObject({ key: keySchema, sig: bytesOf(signatureBytes) }),
  z.strictObject({ key: keySchema, via: keySchema }),
])

/** The key before. */
export const before = (follows: Follows): Uint8Array => ('via' in follows ? follows.via : follows.key)

function consentBytes(mesh: Uint8Array, old: Uint8Array, next: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('shoal/1/follows\0'), encode({ mesh, old, new: next })])
}

/** What the old key says last: whose word it is from now on. */
export function handOver(mesh: Uint8Array, old: SigningKey, next: Uint8Array): Consent {
  return { key: old.publicKey, sig: old.sign(consentBytes(mesh, old.publicKey, next)) }
}

/** @throws ShoalError ERR_SIGNATURE unless the key that `subject` is said to follow has said so itself, where that is shown */
export function checkFollows(mesh: Uint8Array, subject: Uint8Array, follows: Follows | undefined): void {
  if (follows === undefined || 'via' in follows) return
  if (isSignedBy(follows.key, consentBytes(mesh, follows.key, subject), follows.sig)) return
  throw new ShoalError('ERR_SIGNATURE', 'the key before does not say that this one follows it')
}
