import { z } from 'zod'
import {
  authorityOf,
  type CertificateBody,
  certificateSchema,
  chainOf,
  type Issuer,
  issuedBy,
  issuedFields,
} from './certificate.ts'
import type { Genesis } from './genesis.ts'
import { decodeStatement, keySchema, type Statement, signStatement, timeSchema } from './statement.ts'

/** A member has seen two nodes with the same key, both alive. */
export interface CloneBody {
  v: 1
  mesh: Uint8Array
  issuer: Uint8Array
  by: Uint8Array | null
  /** The key that both have. */
  subject: Uint8Array
  /** Milliseconds since the Unix epoch. */
  at: number
}

export type Clone = Statement<CloneBody, CertificateBody>

export const cloneShape = {
  type: 'clone',
  body: z.strictObject({ ...issuedFields, subject: keySchema, at: timeSchema }),
  link: certificateSchema,
} as const

/** Says that a key is in use twice. @throws ShoalError as checkClone() */
export function reportClone(issuer: Issuer, subject: Uint8Array, now: number): Clone {
  const body: CloneBody = { ...issuedBy(issuer), subject, at: now }
  const clone = signStatement('clone', body, issuer.key, chainOf(issuer))
  checkClone(decodeStatement(clone.bytes, cloneShape), issuer.genesis)
  return clone
}

/** Everything about it but signatures, time and revocations: any member may say it. @throws ShoalError as checkCertificate() */
export function checkClone({ body, chain }: Clone, genesis: Genesis): void {
  authorityOf(body, chain, body.at, genesis)
}
