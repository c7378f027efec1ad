import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import {
  type Authority,
  authorityOf,
  type CertificateBody,
  certificateSchema,
  chainOf,
  type Issuer,
  inviteIdBytes,
  issuedBy,
  issuedFields,
} from './certificate.ts'
import type { Genesis } from './genesis.ts'
import {
  bytesOf,
  decodeStatement,
  idBytes,
  keySchema,
  maxStatementBytes,
  type Statement,
  sameBytes,
  signStatement,
  timeSchema,
} from './statement.ts'

/** As many as fit beside the longest chain where nobody in it had another key before: see `roomToKeep`. */
export const maxKeep = 12
/** What one more costs: its length and itself. */
const keptBytes = idBytes + 2
const reasons = ['kicked', 'left', 'burned', 'rekeyed'] as const

/** What is over. */
export type Target =
  /** No certificate for this key counts any more. */
  | { kind: 'key'; key: Uint8Array }
  /** The invitation; from an administrator also every certificate that came of it. */
  | { kind: 'invite'; invite: Uint8Array }
  /** Of what this key has signed, or will, nothing counts but the statements with these ids (sorted, at most 12). */
  | { kind: 'issuer'; key: Uint8Array; keep: Uint8Array[] }

export interface RevocationBody {
  v: 1
  mesh: Uint8Array
  issuer: Uint8Array
  by: Uint8Array | null
  target: Target
  reason: (typeof reasons)[number]
  /** Milliseconds since the Unix epoch; a revocation holds from whenever it is known, and for ever. */
  at: number
}

export type Revocation = Statement<RevocationBody, CertificateBody>

const keepSchema = z
  .array(bytesOf(idBytes))
  .max(maxKeep)
  .refine((ids) => ids.every((id, at) => at === 0 || Buffer.compare(ids[at - 1] ?? id, id) < 0), 'ids out of order')

export const revocationShape = {
  type: 'revocation',
  body: z.strictObject({
    ...issuedFields,
    target: z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('key'), key: keySchema }),
      z.strictObject({ kind: z.literal('invite'), invite: bytesOf(inviteIdBytes) }),
      z.strictObject({ kind: z.literal('issuer'), key: keySchema, keep: keepSchema }),
    ]),
    reason: z.enum(reasons),
    at: timeSchema,
  }),
  link: certificateSchema,
} as const

/** Shuts something out for ever. @throws ShoalError ERR_ROLE, ERR_EXPIRED or ERR_NOT_YET_VALID when others would refuse it */
export function revoke(issuer: Issuer, target: Target, reason: RevocationBody['reason'], now: number): Revocation {
  const sorted = target.kind === 'issuer' ? { ...target, keep: target.keep.toSorted(Buffer.compare) } : target
  const body: RevocationBody = { ...issuedBy(issuer), target: sorted, reason, at: now }
  const revocation = signStatement('revocation', body, issuer.key, chainOf(issuer))
  checkRevocation(decodeStatement(revocation.bytes, revocationShape), issuer.genesis)
  return revocation
}

/** How many ids fit into what `issuer` says of another: fewer than twelve beside certificates with long names of keys that follow others. */
export function roomToKeep(issuer: Issuer): number {
  const target: Target = { kind: 'issuer', key: issuer.key.publicKey, keep: [] }
  const body: RevocationBody = { ...issuedBy(issuer), target, reason: 'rekeyed', at: Number.MAX_SAFE_INTEGER }
  const { length } = signStatement('revocation', body, issuer.key, chainOf(issuer)).bytes
  return Math.min(maxKeep, Math.floor((maxStatementBytes - length) / keptBytes))
}

/** A member takes itself out. Whom it let in stays. */
export function leave(issuer: Issuer, now: number): Revocation {
  return revoke(issuer, { kind: 'key', key: issuer.key.publicKey }, 'left', now)
}

/** Whether a statement is a member's own good-bye. */
export function isLeave({ issuer, target }: RevocationBody): boolean {
  return target.kind === 'key' && sameBytes(target.key, issuer)
}

/**
 * Everything about a revocation but signatures.
 * @throws ShoalError as checkCertificate(); ERR_ROLE for who may not revoke that
 */
export function checkRevocation({ body, chain }: Revocation, genesis: Genesis): void {
  const issuer = authorityOf(body, chain, body.at, genesis)
  if (!mayRevoke(issuer, body.target, genesis)) throw new ShoalError('ERR_ROLE', 'the issuer may not revoke that')
}

/** Root: everything. Administrators: everything but the root. Inviters: invitations. Everybody: itself. */
function mayRevoke(issuer: Authority, target: Target, genesis: Genesis): boolean {
  if (issuer.isRoot) return true
  if (target.kind !== 'invite' && sameBytes(target.key, genesis.body.root)) return false
  if (issuer.roles.includes('admin')) return true
  const mayInvite = issuer.roles.includes('inviter')
  if (target.kind === 'invite') return mayInvite
  return sameBytes(target.key, issuer.key) && (target.kind === 'key' || mayInvite)
}
