import { ShoalError } from '../base/errors.ts'
import {
  type Certificate,
  type CertificateBody,
  chainOf,
  type Issuer,
  issueCertificate,
  issuedBy,
  mayGrant,
} from './certificate.ts'
import { meshKeyOf } from './genesis.ts'
import {
  checkProof,
  checkRedemption,
  type Invite,
  inviteIdOf,
  type JoinProof,
  type Redemption,
  type RedemptionBody,
  redemptionShape,
} from './invite.ts'
import { decodeStatement, sameBytes, signStatement } from './statement.ts'

/** Where invitations are looked up: the roster. */
export interface InviteBook {
  /** @throws ShoalError unless the invitation can be redeemed now */
  openInvite(invite: Uint8Array, now: number): Invite
  /** @throws ShoalError ERR_REVOKED when the key was shut out */
  checkKey(key: Uint8Array): void
}

export interface RedeemNeeds {
  book: InviteBook
  issuer: Issuer
  /** The root key, where it is here: it signs for those who may let others in, so that their chain is short. */
  highest?: Issuer
}

export interface JoinRequest {
  proof: JoinProof
  /** The key that the other end of the connection has shown to own. */
  remote: Uint8Array
  /** 32 bytes that only these two ends of this connection have in common. */
  channel: Uint8Array
  /** What the newcomer calls itself: 1 to 64 bytes. */
  name: string
  /** 16 random bytes. */
  serial: Uint8Array
}

/**
 * Lets a newcomer in. Add both statements to the roster before anything is sent: what is kept is what is used up.
 * @throws ShoalError ERR_INVITE_UNKNOWN, ERR_INVITE_USED, ERR_INVITE_BURNED, ERR_EXPIRED, ERR_NOT_YET_VALID, ERR_REVOKED;
 *   ERR_REPLAYED for a proof that was made for another key, inviter or channel; ERR_SIGNATURE for a bad proof; ERR_ROLE when this inviter may not grant what the invitation promises.
 */
export function redeem(
  needs: RedeemNeeds,
  request: JoinRequest,
  now: number,
): { certificate: Certificate; redemption: Redemption } {
  const { book, issuer } = needs
  const { proof } = request
  const name = inviteIdOf(proof.verifier)
  const invite = book.openInvite(name, now)
  // Bad ones are not counted: nobody guesses 128 bits, and whoever could use up an invitation by guessing would.
  checkRequest(issuer, request)
  book.checkKey(request.remote)
  const { roles } = invite.body
  const certificate = issueCertificate(
    mayGrant(roles, 'member') ? (needs.highest ?? issuer) : issuer,
    {
      subject: proof.subject,
      name: request.name,
      roles,
      invite: name,
      invitedBy: invite.chain[0]?.body.follows?.key ?? invite.body.issuer,
      serial: request.serial,
    },
    now,
  )
  return { certificate, redemption: record(issuer, proof, now) }
}

/**
 * Whether a newcomer has the secret of the invitation that its proof names, and has shown it on this connection.
 * @throws ShoalError ERR_REPLAYED, ERR_SIGNATURE
 */
export function checkRequest({ genesis, key }: Issuer, { proof, remote, channel }: JoinRequest): void {
  const isMade = sameBytes(proof.subject, remote) && sameBytes(proof.inviter, key.publicKey)
  if (!isMade || !sameBytes(proof.channel, channel)) {
    throw new ShoalError('ERR_REPLAYED', 'the proof was made for another connection')
  }
  checkProof(proof, meshKeyOf(genesis))
}

function record(issuer: Issuer, proof: JoinProof, now: number): Redemption {
  const { verifier, subject, channel, sig } = proof
  const body = { ...issuedBy(issuer), verifier, subject, channel, proof: sig, at: now }
  const redemption = signStatement<RedemptionBody, CertificateBody>('redemption', body, issuer.key, chainOf(issuer))
  checkRedemption(decodeStatement(redemption.bytes, redemptionShape), issuer.genesis)
  return redemption
}
