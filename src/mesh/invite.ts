import { createHash, hkdfSync } from 'node:crypto'
import { encode } from '@ipld/dag-cbor'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { decodeCbor } from '../wire/cbor.ts'
import {
  authorityOf,
  type CertificateBody,
  certificateSchema,
  chainOf,
  type Issuer,
  inviteIdBytes,
  issuedBy,
  issuedFields,
  mayGrant,
  type Role,
  roleOrder,
  rolesSchema,
} from './certificate.ts'
import { isSignedBy, type SigningKey, seedBytes, signatureBytes, signingKey } from './ed25519.ts'
import { type Genesis, meshKeyOf } from './genesis.ts'
import {
  bytesOf,
  decodeStatement,
  keySchema,
  maxChain,
  type Statement,
  sameBytes,
  signStatement,
  timeSchema,
} from './statement.ts'

export const inviteSecretBytes = 16
/** No invitation lives longer. */
export const inviteLifetimeMs = 24 * 3_600_000
const maxProofBytes = 512

/** That whoever knows a secret may join, once. Every inviter can redeem it; its issuer need not be there. */
export interface InviteBody {
  v: 1
  mesh: Uint8Array
  issuer: Uint8Array
  by: Uint8Array | null
  /** 8 bytes that follow from `verifier`. */
  invite: Uint8Array
  /** The public half of the key that follows from the secret. */
  verifier: Uint8Array
  roles: Role[]
  uses: 1
  notBefore: number
  notAfter: number
}

export type Invite = Statement<InviteBody, CertificateBody>

/** That a key has used an invitation: proof of everything in it, so that no inviter can invent one. */
export interface RedemptionBody {
  v: 1
  mesh: Uint8Array
  /** Who redeemed it: also the inviter that the proof was made for. */
  issuer: Uint8Array
  by: Uint8Array | null
  verifier: Uint8Array
  subject: Uint8Array
  channel: Uint8Array
  proof: Uint8Array
  at: number
}

export type Redemption = Statement<RedemptionBody, CertificateBody>

/** Says "I know the secret", to one inviter, on one channel, for one key. */
export interface JoinProof {
  /** The public half of the key that follows from the secret. */
  verifier: Uint8Array
  subject: Uint8Array
  inviter: Uint8Array
  /** 32 bytes that only these two ends of this connection have in common. */
  channel: Uint8Array
  sig: Uint8Array
}

export const inviteShape = {
  type: 'invite',
  body: z
    .strictObject({
      ...issuedFields,
      invite: bytesOf(inviteIdBytes),
      verifier: keySchema,
      roles: rolesSchema,
      uses: z.literal(1),
      notBefore: timeSchema,
      notAfter: timeSchema,
    })
    .refine((body) => sameBytes(body.invite, inviteIdOf(body.verifier)), 'invite: not that of the verifier'),
  link: certificateSchema,
} as const

export const redemptionShape = {
  type: 'redemption',
  body: z.strictObject({
    ...issuedFields,
    verifier: keySchema,
    subject: keySchema,
    channel: bytesOf(32),
    proof: bytesOf(signatureBytes),
    at: timeSchema,
  }),
  link: certificateSchema,
} as const

const proofSchema: z.ZodType<JoinProof> = z.strictObject({
  verifier: keySchema,
  subject: keySchema,
  inviter: keySchema,
  channel: bytesOf(32),
  sig: bytesOf(signatureBytes),
})

/**
 * Invites whoever knows `secret` (16 random bytes).
 * @param init.lifetimeMs at most and by default 24 hours
 * @throws ShoalError ERR_ROLE when the issuer may not grant `roles`, ERR_CHAIN_LENGTH, ERR_EXPIRED, ERR_NOT_YET_VALID
 */
export function createInvite(
  issuer: Issuer,
  init: { secret: Uint8Array; roles: readonly Role[]; lifetimeMs?: number },
  now: number,
): Invite {
  const verifier = inviteKey(init.secret, meshKeyOf(issuer.genesis)).publicKey
  const body: InviteBody = {
    ...issuedBy(issuer),
    invite: inviteIdOf(verifier),
    verifier,
    roles: roleOrder.filter((role) => init.roles.includes(role)),
    uses: 1,
    notBefore: now,
    notAfter: now + (init.lifetimeMs ?? inviteLifetimeMs),
  }
  const invite = signStatement('invite', body, issuer.key, chainOf(issuer))
  checkInvite(decodeStatement(invite.bytes, inviteShape), issuer.genesis)
  return invite
}

/** Everything about an invitation but signatures, time and revocations. @throws ShoalError as checkCertificate() */
export function checkInvite({ body, chain }: Invite, genesis: Genesis): void {
  const issuer = authorityOf(body, chain, body.notBefore, genesis)
  const refused = body.roles.find((role) => !mayGrant(issuer.roles, role))
  if (refused !== undefined) throw new ShoalError('ERR_ROLE', `the issuer may not make a ${refused}`)
  if (issuer.depth >= maxChain) throw new ShoalError('ERR_CHAIN_LENGTH', 'the issuer cannot let anybody in')
  const lifetime = body.notAfter - body.notBefore
  if (lifetime <= 0 || lifetime > inviteLifetimeMs) throw new ShoalError('ERR_ROLE', 'an invitation lives for a day')
}

/** Everything about a redemption but signatures, time and revocations. @throws ShoalError as checkCertificate() */
export function checkRedemption({ body, chain }: Redemption, genesis: Genesis): void {
  const issuer = authorityOf(body, chain, body.at, genesis)
  if (!mayGrant(issuer.roles, 'member')) throw new ShoalError('ERR_ROLE', 'the issuer may not let anybody in')
  if (issuer.depth >= maxChain) throw new ShoalError('ERR_CHAIN_LENGTH', 'the issuer cannot let anybody in')
}

/** @throws ShoalError ERR_SIGNATURE unless who knew the secret meant this subject, inviter and channel */
export function checkProof(proof: JoinProof, mesh: Uint8Array): void {
  if (!isSignedBy(proof.verifier, proofBytes(proof, mesh), proof.sig)) {
    throw new ShoalError('ERR_SIGNATURE', 'the proof of an invitation is wrong')
  }
}

/** What a redemption says of the newcomer's proof. */
export function proofOf(body: RedemptionBody): JoinProof {
  const { verifier, subject, issuer, channel, proof } = body
  return { verifier, subject, inviter: issuer, channel, sig: proof }
}

/** The proof that a newcomer sends; the secret itself goes nowhere. */
export function proveInvite(
  init: { secret: Uint8Array; mesh: Uint8Array } & Pick<JoinProof, 'subject' | 'inviter' | 'channel'>,
): JoinProof {
  const key = inviteKey(init.secret, init.mesh)
  const { subject, inviter, channel } = init
  const unsigned = { verifier: key.publicKey, subject, inviter, channel }
  return { ...unsigned, sig: key.sign(proofBytes(unsigned, init.mesh)) }
}

export function encodeProof(proof: JoinProof): Uint8Array {
  return encode(proof)
}

/** @throws ShoalError ERR_DECODE for anything that encodeProof() cannot have made */
export function decodeProof(bytes: Uint8Array): JoinProof {
  return decodeCbor(bytes, proofSchema, maxProofBytes)
}

/** Names an invitation: 8 bytes that nobody can choose. */
export function inviteIdOf(verifier: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update('shoal/1/invite-id\0').update(verifier).digest().subarray(0, 8))
}

function inviteKey(secret: Uint8Array, mesh: Uint8Array): SigningKey {
  return signingKey(new Uint8Array(hkdfSync('sha256', secret, mesh, 'shoal/1/invite-key', seedBytes)))
}

function proofBytes(proof: Omit<JoinProof, 'sig'>, mesh: Uint8Array): Uint8Array {
  const { verifier, subject, inviter, channel } = proof
  return Buffer.concat([Buffer.from('shoal/1/join\0'), encode({ mesh, verifier, subject, inviter, channel })])
}
