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
 * The first key that a member had, as an administrator says, and the word of the key before: of the first itself, when that is the one, else
 * of `via`. (So nothing of a line is lost when the certificate in between is.) What has no such word was written by an earlier version, or
 * by a thief: it is an administrator's claim, and no reason to end anything.
 */
export type Follows =
  | Consent
  | { key: Uint8Array; via: Uint8Array; sig: Uint8Array }
  | { key: Uint8Array; via: Uint8Array }

export const followsSchema: z.ZodType<Follows> = z.union([
  z.strictObject({ key: keySchema, sig: bytesOf(signatureBytes) }),
  z.strictObject({ key: keySchema, via: keySchema, sig: bytesOf(signatureBytes) }),
  z.strictObject({ key: keySchema, via: keySchema }),
])

/** The key before. */
export const before = (follows: Follows): Uint8Array => ('via' in follows ? follows.via : follows.key)

/** Whether the key before has said so itself. */
export const isAgreed = (follows: Follows): boolean => 'sig' in follows

function consentBytes(mesh: Uint8Array, old: Uint8Array, next: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('shoal/1/follows\0'), encode({ mesh, old, new: next })])
}

/** What the old key says last: whose word it is from now on. */
export function handOver(mesh: Uint8Array, old: SigningKey, next: Uint8Array): Consent {
  return { key: old.publicKey, sig: old.sign(consentBytes(mesh, old.publicKey, next)) }
}

/** @throws ShoalError ERR_SIGNATURE unless the key before `subject` has said itself that this one follows it, where that is shown */
export function checkFollows(mesh: Uint8Array, subject: Uint8Array, follows: Follows | undefined): void {
  if (follows === undefined || !('sig' in follows)) return
  const old = before(follows)
  if (isSignedBy(old, consentBytes(mesh, old, subject), follows.sig)) return
  throw new ShoalError('ERR_SIGNATURE', 'the key before does not say that this one follows it')
}
