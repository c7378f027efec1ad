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
import { decodeStatement, hex, sameBytes, signStatement } from './statement.ts'

/** After so many bad proofs an invitation is burned. */
export const maxBadProofs = 5

/** Counts the bad proofs of one inviter. Only invitations that exist are counted, so it grows no larger than they. */
export class BadProofs {
  readonly #counts = new Map<string, number>()

  /** Whether the invitation is burned. */
  isBurned(invite: Uint8Array): boolean {
    return (this.#counts.get(hex(invite)) ?? 0) >= maxBadProofs
  }

  /** One more; whether that was the last. */
  count(invite: Uint8Array): boolean {
    this.#counts.set(hex(invite), (this.#counts.get(hex(invite)) ?? 0) + 1)
    return this.isBurned(invite)
  }

  /** Forgets those that `exists` does not know any more. */
  prune(exists: (invite: string) => boolean): void {
    for (const name of this.#counts.keys()) if (!exists(name)) this.#counts.delete(name)
  }
}

/** Where invitations are looked up: the roster. */
export interface InviteBook {
  /** @throws ShoalError unless the invitation can be redeemed now */
  openInvite(invite: Uint8Array, now: number): Invite
  /** @throws ShoalError ERR_REVOKED when the key was shut out */
  checkKey(key: Uint8Array): void
}

export interface RedeemNeeds {
  book: InviteBook
  bad: BadProofs
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
 *   ERR_REPLAYED for a proof that was made for another key, inviter or channel; ERR_SIGNATURE for a bad proof, which is
 *   counted; ERR_ROLE when this inviter may not grant what the invitation promises.
 */
export function redeem(
  needs: RedeemNeeds,
  request: JoinRequest,
  now: number,
): { certificate: Certificate; redemption: Redemption } {
  const { book, bad, issuer } = needs
  const { proof } = request
  const name = inviteIdOf(proof.verifier)
  const invite = book.openInvite(name, now)
  if (bad.isBurned(name)) throw burned()
  if (
    !sameBytes(proof.subject, request.remote) ||
    !sameBytes(proof.inviter, issuer.key.publicKey) ||
    !sameBytes(proof.channel, request.channel)
  ) {
    throw new ShoalError('ERR_REPLAYED', 'the proof was made for another connection')
  }
  try {
    checkProof(proof, meshKeyOf(issuer.genesis))
  } catch (error) {
    if (bad.count(name)) throw burned(error)
    throw error
  }
  book.checkKey(request.remote)
  const { roles } = invite.body
  const certificate = issueCertificate(
    mayGrant(roles, 'member') ? (needs.highest ?? issuer) : issuer,
    {
      subject: proof.subject,
      name: request.name,
      roles,
      invite: name,
      invitedBy: invite.body.issuer,
      serial: request.serial,
    },
    now,
  )
  return { certificate, redemption: record(issuer, proof, now) }
}

function record(issuer: Issuer, proof: JoinProof, now: number): Redemption {
  const { verifier, subject, channel, sig } = proof
  const body = { ...issuedBy(issuer), verifier, subject, channel, proof: sig, at: now }
  const redemption = signStatement<RedemptionBody, CertificateBody>('redemption', body, issuer.key, chainOf(issuer))
  checkRedemption(decodeStatement(redemption.bytes, redemptionShape), issuer.genesis)
  return redemption
}

function burned(cause?: unknown): ShoalError {
  return new ShoalError('ERR_INVITE_BURNED', `${maxBadProofs} bad proofs were shown for it`, { cause })
}
