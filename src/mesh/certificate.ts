import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import type { SigningKey } from './ed25519.ts'
import { type Genesis, meshKeyOf } from './genesis.ts'
import {
  bytesOf,
  checkSignature,
  decodeStatement,
  earlyMs,
  hex,
  idBytes,
  keySchema,
  lateMs,
  maxChain,
  meshBytes,
  nameSchema,
  type Signed,
  type Statement,
  sameBytes,
  signStatement,
  timeSchema,
} from './statement.ts'
import { before, checkFollows, type Follows, followsSchema } from './succession.ts'

/** From the least to the most powerful; certificates list them in this order. */
export const roleOrder = ['member', 'lender', 'ci', 'inviter', 'admin'] as const
export type Role = (typeof roleOrder)[number]

export const inviteIdBytes = 8

/** No certificate is longer valid than 30 days … */
export const lifetimeMs = 30 * 24 * 3_600_000
/** … but those of administrators that the root itself signed: the mesh has to outlive the absence of the root key. */
export const adminLifetimeMs = 400 * 24 * 3_600_000

/** That a key belongs to a member, and what it may do. Times are in ms since the Unix epoch. */
export interface CertificateBody {
  v: 1
  mesh: Uint8Array
  /** The member's Ed25519 key, which is also its peerId. */
  subject: Uint8Array
  name: string
  roles: Role[]
  notBefore: number
  notAfter: number
  issuer: Uint8Array
  /** The id of the issuer's certificate, the first of the chain; null when the root is the issuer. */
  by: Uint8Array | null
  /** The invitation that was used, through all renewals; null when there was none. */
  invite: Uint8Array | null
  /** Who let the member in, as the issuer says, which is proof only of an administrator: see `people.ts`. */
  invitedBy: Uint8Array
  /** 16 random bytes. */
  serial: Uint8Array
  /** The first key that the member had, and the word of the one before, through all renewals; absent for a first key. Only of administrators and the root. */
  follows?: Follows | undefined
}

export type SignedCertificate = Signed<CertificateBody>
export type Certificate = Statement<CertificateBody, CertificateBody>

export const rolesSchema = z
  .array(z.enum(roleOrder))
  .min(1)
  .max(roleOrder.length)
  .refine((list) => list[0] === 'member', 'the first role is member')
  .refine((list) => list.every((role, at) => at === 0 || weightOf(role) > weightOf(list[at - 1])), 'roles out of order')

/** What every statement below the genesis says of its issuer. */
export const issuedFields = {
  v: z.literal(1),
  mesh: bytesOf(meshBytes),
  issuer: keySchema,
  by: bytesOf(idBytes).nullable(),
}

export const certificateSchema: z.ZodType<CertificateBody> = z.strictObject({
  ...issuedFields,
  subject: keySchema,
  name: nameSchema,
  roles: rolesSchema,
  notBefore: timeSchema,
  notAfter: timeSchema,
  invite: bytesOf(inviteIdBytes).nullable(),
  invitedBy: keySchema,
  serial: bytesOf(16),
  follows: followsSchema.optional(),
})

/** Who signs: the root key itself, or a member's key with its certificate. */
export interface Issuer {
  genesis: Genesis
  key: SigningKey
  /** Absent for the root key. */
  certificate?: Certificate
}

/** What an issuer is. */
export interface Authority {
  key: Uint8Array
  isRoot: boolean
  roles: readonly Role[]
  /** How many certificates lead to it: 0 for the root. */
  depth: number
}

interface Issued {
  mesh: Uint8Array
  issuer: Uint8Array
  by: Uint8Array | null
}

export interface CertificateInit {
  subject: Uint8Array
  name: string
  roles: readonly Role[]
  /** Default: the longest that this issuer may grant. */
  lifetimeMs?: number
  invite?: Uint8Array | null
  /** Default: the issuer, by its first key. */
  invitedBy?: Uint8Array
  /** 16 random bytes. */
  serial: Uint8Array
  /** Default: none. */
  follows?: Follows | undefined
}

/**
 * Issues a certificate that is valid from `now` on.
 * @throws ShoalError ERR_ROLE, ERR_CHAIN_LENGTH, ERR_EXPIRED, ERR_NOT_YET_VALID or ERR_SIGNATURE when the others would refuse it.
 */
export function issueCertificate(issuer: Issuer, init: CertificateInit, now: number): Certificate {
  const { root } = issuer.genesis.body
  const roles = roleOrder.filter((role) => init.roles.includes(role))
  const isLong = sameBytes(issuer.key.publicKey, root) && roles.includes('admin')
  const body: CertificateBody = {
    ...issuedBy(issuer),
    subject: init.subject,
    name: init.name,
    roles,
    notBefore: now,
    notAfter: now + (init.lifetimeMs ?? (isLong ? adminLifetimeMs : lifetimeMs)),
    invite: init.invite ?? null,
    invitedBy: init.invitedBy ?? issuer.certificate?.body.follows?.key ?? issuer.key.publicKey,
    serial: init.serial,
    ...(init.follows === undefined ? {} : { follows: init.follows }),
  }
  checkFollows(body.mesh, body.subject, body.follows)
  const certificate = signStatement('certificate', body, issuer.key, chainOf(issuer))
  checkCertificate(decodeStatement(certificate.bytes, certificateShape), issuer.genesis)
  return certificate
}

/** Whether half of the certificate's time is over. */
export function needsRenewal(certificate: SignedCertificate, now: number): boolean {
  return now >= (certificate.body.notBefore + certificate.body.notAfter) / 2
}

/** Whether no more than a quarter is left of the certificate's time: then to stay a member is all that matters. */
export function isEnding({ body }: SignedCertificate, now: number): boolean {
  return now >= body.notAfter - (body.notAfter - body.notBefore) / 4
}

/**
 * The same subject, name, roles and invitation, valid from `now` on; from an administrator also the same key before.
 * @param more `invitedBy`: who has let the member in, as far as the issuer can prove it. Default: what the certificate says.
 *   `lifetimeMs`: as in `CertificateInit`
 * @throws ShoalError ERR_EXPIRED for a certificate that is over; ERR_ROLE when the issuer may not grant what it says.
 */
export function renew(
  certificate: SignedCertificate,
  issuer: Issuer,
  now: number,
  serial: Uint8Array,
  more: Pick<CertificateInit, 'invitedBy' | 'lifetimeMs'> = {},
): Certificate {
  checkTime(certificate.body, now)
  const { subject, name, roles, invite, follows, invitedBy } = certificate.body
  const kept = mayGrant(issuer.certificate?.body.roles ?? roleOrder, 'admin') ? follows : undefined
  return issueCertificate(issuer, { subject, name, roles, invite, invitedBy, serial, follows: kept, ...more }, now)
}

export const certificateShape = { type: 'certificate', body: certificateSchema, link: certificateSchema } as const

/** The fields that say by whom a statement of `issuer` is. */
export function issuedBy(issuer: Issuer) {
  return {
    v: 1 as const,
    mesh: meshKeyOf(issuer.genesis),
    issuer: issuer.key.publicKey,
    by: issuer.certificate?.id ?? null,
  }
}

/** The certificates that go with a statement of `issuer`. */
export function chainOf(issuer: Issuer): SignedCertificate[] {
  const { certificate } = issuer
  if (certificate === undefined) return []
  const { id, body, sig } = certificate
  return [{ id, body, sig }, ...certificate.chain]
}

/**
 * Everything about a certificate but signatures, time and revocations.
 * @throws ShoalError ERR_OTHER_MESH, ERR_ISSUER_UNKNOWN, ERR_CHAIN_LENGTH, ERR_ROLE, or ERR_EXPIRED when its issuer was
 *   none any more at the time.
 */
export function checkCertificate(certificate: Certificate, genesis: Genesis): void {
  const { body, chain } = certificate
  checkGrant(body, authorityOf(body, chain, body.notBefore, genesis), chain, genesis)
}

/**
 * What the issuer of a statement was when it signed, at `at`. Its certificate has to have been valid then and need not be
 * now: that an inviter goes on a holiday does not put those out that it let in.
 * @throws ShoalError as checkCertificate()
 */
export function authorityOf(
  issued: Issued,
  chain: readonly SignedCertificate[],
  at: number,
  genesis: Genesis,
): Authority {
  if (!sameBytes(issued.mesh, meshKeyOf(genesis))) throw new ShoalError('ERR_OTHER_MESH', 'it is of another mesh')
  const isRoot = sameBytes(issued.issuer, genesis.body.root)
  if (issued.by === null) {
    if (!isRoot) throw new ShoalError('ERR_ISSUER_UNKNOWN', 'nothing says who the issuer is')
    if (chain.length > 0) throw new ShoalError('ERR_CHAIN_LENGTH', 'the chain goes on behind the root')
    return { key: issued.issuer, isRoot, roles: roleOrder, depth: 0 }
  }
  const [link, ...rest] = chain
  if (link === undefined || !sameBytes(link.id, issued.by) || !sameBytes(link.body.subject, issued.issuer)) {
    throw new ShoalError('ERR_ISSUER_UNKNOWN', "the issuer's certificate is missing")
  }
  const above = authorityOf(link.body, rest, link.body.notBefore, genesis)
  checkGrant(link.body, above, rest, genesis)
  checkTime(link.body, at)
  return { key: issued.issuer, isRoot: false, roles: link.body.roles, depth: above.depth + 1 }
}

/**
 * The signatures of a statement and of its chain, with those of keys that went before. They cost the most, so they come last.
 * @param known of certificates that were verified before; what is verified now is added
 * @throws ShoalError ERR_SIGNATURE
 */
export function checkSignatures(statement: Statement<Issued, CertificateBody>, known: Set<string> = new Set()): void {
  checkSignature(statement.type, statement, statement.body.issuer)
  if (isCertificate(statement)) checkFollows(statement.body.mesh, statement.body.subject, statement.body.follows)
  for (const link of statement.chain) {
    const name = hex(link.id) + hex(link.sig)
    if (known.has(name)) continue
    checkSignature('certificate', link, link.body.issuer)
    checkFollows(link.body.mesh, link.body.subject, link.body.follows)
    known.add(name)
  }
}

/** @throws ShoalError ERR_NOT_YET_VALID, ERR_EXPIRED */
export function checkTime(validity: { notBefore: number; notAfter: number }, now: number): void {
  if (now < validity.notBefore - earlyMs)
    throw new ShoalError('ERR_NOT_YET_VALID', `valid from ${day(validity.notBefore)}`)
  if (now > validity.notAfter + lateMs) throw new ShoalError('ERR_EXPIRED', `valid until ${day(validity.notAfter)}`)
}

/** Whether who has `granting` may give `role` to others: inviters pass on what they have, administrators give everything. */
export function mayGrant(granting: readonly Role[], role: Role): boolean {
  if (granting.includes('admin')) return true
  return granting.includes('inviter') && granting.includes(role) && (role === 'member' || role === 'lender')
}

/** A number that is the higher the more powerful the roles are. */
export function powerOf(roles: readonly Role[]): number {
  return roles.reduce((sum, role) => sum + 2 ** weightOf(role), 0)
}

function weightOf(role: Role | undefined): number {
  return role === undefined ? -1 : roleOrder.indexOf(role)
}

function checkGrant(
  body: CertificateBody,
  issuer: Authority,
  above: readonly SignedCertificate[],
  genesis: Genesis,
): void {
  const ancestors = [genesis.body.root, issuer.key, ...above.map((link) => link.body.subject)]
  if (ancestors.some((key) => sameBytes(key, body.subject))) {
    throw new ShoalError('ERR_ROLE', 'a key cannot vouch for itself')
  }
  const { follows } = body
  const former = follows === undefined ? [] : [follows.key, before(follows)]
  if (former.some((key) => sameBytes(key, body.subject) || sameBytes(key, genesis.body.root))) {
    throw new ShoalError('ERR_ROLE', 'a key cannot follow itself, or the root')
  }
  if (follows !== undefined && !mayGrant(issuer.roles, 'admin')) {
    throw new ShoalError('ERR_ROLE', 'only an administrator can say which key another one follows')
  }
  const refused = body.roles.find((role) => !mayGrant(issuer.roles, role))
  if (refused !== undefined) throw new ShoalError('ERR_ROLE', `the issuer may not make a ${refused}`)
  if (issuer.depth >= maxChain) throw new ShoalError('ERR_CHAIN_LENGTH', `more than ${maxChain} certificates in a row`)
  const longest = issuer.isRoot && body.roles.includes('admin') ? adminLifetimeMs : lifetimeMs
  const lifetime = body.notAfter - body.notBefore
  if (lifetime <= 0 || lifetime > longest) throw new ShoalError('ERR_ROLE', 'the issuer may not grant it for so long')
}

function isCertificate(statement: Statement<Issued, CertificateBody>): statement is Certificate {
  return statement.type === 'certificate'
}

function day(time: number): string {
  return new Date(time).toISOString()
}
