import { ShoalError } from '../base/errors.ts'
import { type Certificate, type CertificateBody, checkTime, type SignedCertificate } from './certificate.ts'
import type { Clone } from './clone.ts'
import type { Genesis } from './genesis.ts'
import { inviteIdOf, type Redemption } from './invite.ts'
import { isLeave, type Revocation, type RevocationBody } from './revocation.ts'
import type { Entry } from './roster-entry.ts'
import { hex, type Statement, sameBytes } from './statement.ts'

type Reason = RevocationBody['reason']

/** Why a key is out, for people: they come after "because". */
const reasons: Readonly<Record<Reason, string>> = {
  kicked: 'an administrator has kicked it',
  left: 'a machine that has this key has left the mesh',
  rekeyed: 'another key has taken its place',
  burned: 'somebody has guessed at it',
}

/** What a set of revocations and redemptions makes void. A function of the set: the order in which it was heard is nothing. */
export class Verdict {
  /** Hex of the key → why. */
  readonly #keys = new Map<string, Reason>()
  /** Hex of the invitation → what was said of it. */
  readonly #invites = new Map<string, { reason: Reason; withCertificates: boolean }>()
  /** Hex of the issuer's key → for each revocation, the hex of the ids that it keeps. */
  readonly #issuers = new Map<string, Set<string>[]>()
  /** Hex of the invitation → who may have used it. */
  readonly #winners = new Map<string, { subject: Uint8Array; at: number; id: Uint8Array }>()

  /** Hex of the ids of revocations that the root has taken back. */
  readonly #takenBack: Set<string>

  /**
   * Revocations win over everything, and none can be undone by another, with one exception: when the root revokes an issuer,
   * also the revocations of that issuer are void that it does not keep. So a stolen administrator's key can shut everybody
   * out, but not for good. The root's revocations come first and nothing touches them, hence there is no circle.
   */
  constructor(genesis: Genesis, revocations: readonly Revocation[], redemptions: readonly Redemption[]) {
    const isRoots = ({ body }: Revocation): boolean => sameBytes(body.issuer, genesis.body.root)
    for (const revocation of revocations.filter(isRoots)) this.#apply(revocation, true)
    const others = revocations.filter((revocation) => !isRoots(revocation))
    const takenBack = new Set(others.filter((revocation) => !this.stands(revocation)))
    this.#takenBack = new Set([...takenBack].map(({ id }) => hex(id)))
    for (const revocation of others) if (!takenBack.has(revocation)) this.#apply(revocation, isAdmins(revocation))
    // Who came first does not depend on what has become of the inviter: each has the newcomer's own signature in it.
    for (const redemption of redemptions) this.#record(redemption)
  }

  /** @throws ShoalError ERR_REVOKED */
  checkKey(key: Uint8Array): void {
    const why = this.#keys.get(hex(key))
    if (why !== undefined) throw new ShoalError('ERR_REVOKED', `its key was shut out, because ${reasons[why]}`)
  }

  /** @throws ShoalError ERR_REVOKED, or ERR_INVITE_USED when another one came first on the same invitation */
  checkCertificate(certificate: Certificate): void {
    this.checkKey(certificate.body.subject)
    if (!this.stands(certificate) || !this.#isInvited(certificate)) {
      throw new ShoalError('ERR_REVOKED', 'its issuer or its invitation was revoked')
    }
    if ([certificate, ...certificate.chain].some((link) => this.#lost(link))) {
      throw new ShoalError('ERR_INVITE_USED', 'another one has used the same invitation first')
    }
  }

  /** @throws ShoalError ERR_REVOKED, ERR_INVITE_BURNED */
  checkInvite(invite: Statement<{ issuer: Uint8Array; invite: Uint8Array }, CertificateBody>): void {
    const said = this.#invites.get(hex(invite.body.invite))
    if (said?.reason === 'burned') throw new ShoalError('ERR_INVITE_BURNED', 'too many bad proofs were shown for it')
    if (said !== undefined || this.#keys.has(hex(invite.body.issuer)) || !this.stands(invite)) {
      throw new ShoalError('ERR_REVOKED', 'the invitation or who made it was revoked')
    }
  }

  /** Whether it still counts that somebody has seen a key twice: not what one who was shut out says. */
  believes(clone: Clone): boolean {
    return !this.#keys.has(hex(clone.body.issuer)) && this.stands(clone)
  }

  /** Whether a statement counts for nothing. Of revocations: those that the root has taken back, and good-byes of nobody. */
  isVoid({ kind, statement }: Entry): boolean {
    if (!this.stands(statement)) return kind !== 'revocation' || isLeave(statement.body) || this.#isTakenBack(statement)
    switch (kind) {
      case 'certificate':
        return (
          this.#keys.has(hex(statement.body.subject)) ||
          [statement, ...statement.chain].some((link) => this.#lost(link) || !this.#isInvited(link))
        )
      case 'invite':
        return this.#keys.has(hex(statement.body.issuer)) || this.#invites.has(hex(statement.body.invite))
      default:
        return false
    }
  }

  #isTakenBack({ id }: { id: Uint8Array }): boolean {
    return this.#takenBack.has(hex(id))
  }

  #apply({ body }: Revocation, withCertificates: boolean): void {
    const { target, reason } = body
    switch (target.kind) {
      case 'key':
        this.#keys.set(hex(target.key), smaller(this.#keys.get(hex(target.key)), reason))
        return
      case 'invite': {
        const said = this.#invites.get(hex(target.invite))
        this.#invites.set(hex(target.invite), {
          reason: smaller(said?.reason, reason),
          // That somebody has guessed at an invitation says nothing of who came with it.
          withCertificates: (withCertificates && reason !== 'burned') || said?.withCertificates === true,
        })
        return
      }
      case 'issuer': {
        const lists = this.#issuers.get(hex(target.key)) ?? []
        lists.push(new Set(target.keep.map(hex)))
        this.#issuers.set(hex(target.key), lists)
        return
      }
      default:
        target satisfies never
    }
  }

  /** Earliest wins, and of two at the same moment the one with the smaller id. */
  #record({ id, body }: Redemption): void {
    const name = hex(inviteIdOf(body.verifier))
    const first = this.#winners.get(name)
    const isFirst =
      first === undefined || body.at < first.at || (body.at === first.at && Buffer.compare(id, first.id) < 0)
    if (isFirst) this.#winners.set(name, { subject: body.subject, at: body.at, id })
  }

  isShutOut(key: Uint8Array): boolean {
    return this.#keys.has(hex(key))
  }

  /** Whether somebody has signed a certificate, or one on its way to the root, who is shut out: it can stand all the same, as on a list. */
  hangsOnShutOut({ body, chain }: Certificate): boolean {
    return this.#keys.size > 0 && [{ body }, ...chain].some((link) => this.isShutOut(link.body.issuer))
  }

  /** Whether it is this use of an invitation that holds. */
  isFirst({ id, body }: Redemption): boolean {
    const first = this.#winners.get(hex(inviteIdOf(body.verifier)))
    return first !== undefined && sameBytes(first.id, id)
  }

  /** Whether every issuer from the root down to this statement may have signed what it did. */
  stands(statement: Statement<{ issuer: Uint8Array }, CertificateBody>): boolean {
    const isKept = ({ id, body }: { id: Uint8Array; body: { issuer: Uint8Array } }): boolean =>
      (this.#issuers.get(hex(body.issuer)) ?? []).every((keep) => keep.has(hex(id)))
    return isKept(statement) && statement.chain.every((link) => isKept(link) && this.#isInvited(link))
  }

  #isInvited({ body }: SignedCertificate): boolean {
    return body.invite === null || this.#invites.get(hex(body.invite))?.withCertificates !== true
  }

  #lost({ body }: SignedCertificate): boolean {
    if (body.invite === null) return false
    const winner = this.#winners.get(hex(body.invite))
    return winner !== undefined && !sameBytes(winner.subject, body.subject)
  }
}

function isAdmins({ chain }: Statement<RevocationBody, CertificateBody>): boolean {
  return chain[0]?.body.roles.includes('admin') === true
}

function smaller<T extends string>(a: T | undefined, b: T): T {
  return a !== undefined && a < b ? a : b
}

/** Why a certificate does not count now; undefined when it does. */
export function objectionTo(certificate: Certificate, verdict: Verdict, now: number): ShoalError | undefined {
  try {
    verdict.checkCertificate(certificate)
    checkTime(certificate.body, now)
    return undefined
  } catch (error) {
    if (error instanceof ShoalError) return error
    throw error
  }
}
