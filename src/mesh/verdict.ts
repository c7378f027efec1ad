import { ShoalError } from '../base/errors.ts'
import { Aftermath } from './aftermath.ts'
import { type Certificate, type CertificateBody, checkTime, type SignedCertificate } from './certificate.ts'
import type { Clone } from './clone.ts'
import type { Genesis } from './genesis.ts'
import { inviteIdOf, type Redemption } from './invite.ts'
import { isLeave, type Revocation, type RevocationBody } from './revocation.ts'
import type { Entry } from './roster-entry.ts'
import { hex, type Statement, sameBytes } from './statement.ts'

/** What a verdict follows from. */
interface Said {
  revocations: readonly Revocation[]
  redemptions: readonly Redemption[]
  certificates: readonly Certificate[]
  /** Keys, as if they were kicked too. */
  kicked: readonly Uint8Array[]
}

/** What somebody has signed, as far as it matters whether that counts. */
type Issued = Pick<Statement<{ issuer: Uint8Array }, CertificateBody>, 'id' | 'body'>

/** What a set of statements makes void of itself. A function of the set: the order in which it was heard is nothing. */
export class Verdict {
  /** Hex of the key → why. */
  readonly #keys = new Map<string, string>()
  /** Hex of the invitation → what was said of it. */
  readonly #invites = new Map<string, { reason: string; withCertificates: boolean }>()
  /** Hex of the issuer's key → for each revocation, the hex of the ids that it keeps, and whether it goes for what comes after the key as well. */
  readonly #issuers = new Map<string, { keep: Set<string>; isKick: boolean }[]>()
  /** Hex of the keys that others have kicked: not those that are only over. */
  readonly #kicked = new Set<string>()
  #aftermath: Aftermath | undefined
  /** Hex of the invitation → who may have used it. */
  readonly #winners = new Map<string, { subject: Uint8Array; at: number; id: Uint8Array }>()

  /** Hex of the ids of revocations that the root has taken back. */
  readonly #takenBack: Set<string>

  /**
   * Revocations win over everything, and none can be undone by another, with one exception: when the root revokes an issuer,
   * also the revocations of that issuer are void that it does not keep. So a stolen administrator's key can shut everybody
   * out, but not for good. The root's revocations come first and nothing touches them, hence there is no circle.
   */
  constructor(genesis: Genesis, { revocations, redemptions, certificates, kicked }: Said) {
    const isRoots = ({ body }: Revocation): boolean => sameBytes(body.issuer, genesis.body.root)
    for (const revocation of revocations.filter(isRoots)) this.#apply(revocation, true)
    this.#lookBehind(certificates)
    const others = revocations.filter((revocation) => !isRoots(revocation))
    const takenBack = new Set(others.filter((revocation) => !this.stands(revocation)))
    this.#takenBack = new Set([...takenBack].map(({ id }) => hex(id)))
    for (const revocation of others) if (!takenBack.has(revocation)) this.#apply(revocation, isAdmins(revocation))
    for (const key of kicked) this.#kicked.add(hex(key))
    this.#lookBehind(certificates)
    for (const redemption of redemptions) if (this.stands(redemption)) this.#record(redemption)
  }

  /** @throws ShoalError ERR_REVOKED */
  checkKey(key: Uint8Array): void {
    const why = this.#keys.get(hex(key))
    if (why !== undefined) throw new ShoalError('ERR_REVOKED', `the key was revoked: ${why}`)
  }

  /** @throws ShoalError ERR_REVOKED, or ERR_INVITE_USED when another one came first on the same invitation */
  checkCertificate(certificate: Certificate): void {
    this.checkIssued(certificate)
    if (this.#aftermath?.isAfter(certificate)) throw new ShoalError('ERR_REVOKED', 'it follows a key that was kicked')
  }

  /** Everything about a certificate but what it follows. @throws ShoalError as `checkCertificate` */
  checkIssued(certificate: Certificate): void {
    this.checkKey(certificate.body.subject)
    if (!this.stands(certificate) || !this.#isInvited(certificate)) {
      throw new ShoalError('ERR_REVOKED', 'its issuer or its invitation was revoked')
    }
    if ([certificate, ...certificate.chain].some((link) => this.#lost(link))) {
      throw new ShoalError('ERR_INVITE_USED', 'another one has used the same invitation first')
    }
  }

  /** Hex of the kicked keys because of which a certificate is void: those that it follows. */
  through(certificate: Certificate): readonly string[] {
    return this.#aftermath?.through(certificate) ?? []
  }

  /** Whether anything can come out differently with this certificate, or without it. */
  concerns(certificate: Certificate): boolean {
    return this.#aftermath?.concerns(certificate) ?? false
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

  /**
   * Whether a statement counts for nothing. Of revocations: those that the root has taken back, and good-byes of nobody. Not what shows
   * that others count for nothing.
   */
  isVoid({ kind, statement }: Entry): boolean {
    if (kind === 'certificate' && this.#aftermath?.isEvidence(statement)) return false
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
    const { target, reason, issuer } = body
    const isKick = reason === 'kicked' && !(target.kind !== 'invite' && sameBytes(target.key, issuer))
    switch (target.kind) {
      case 'key':
        this.#keys.set(hex(target.key), smaller(this.#keys.get(hex(target.key)), reason))
        if (isKick) this.#kicked.add(hex(target.key))
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
        lists.push({ keep: new Set(target.keep.map(hex)), isKick })
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

  /** Whether every issuer from the root down to this statement may have signed what it did. */
  stands({ id, body, chain }: Issued & { chain: readonly SignedCertificate[] }): boolean {
    if (!this.#isKept({ id, body }, chain[0])) return false
    return chain.every((link, at) => this.#isInvited(link) && this.#isKept(link, chain[at + 1]))
  }

  /** @param by the issuer's certificate: where that follows a kicked key, what it has signed is as if that key had */
  #isKept({ id, body }: Issued, by: SignedCertificate | undefined): boolean {
    const own = this.#issuers.get(hex(body.issuer)) ?? []
    const former = by === undefined || this.#aftermath === undefined ? [] : this.#aftermath.through(by)
    const lists = [...own, ...former.flatMap((key) => (this.#issuers.get(key) ?? []).filter(({ isKick }) => isKick))]
    return lists.every(({ keep }) => keep.has(hex(id)))
  }

  /** Finds out what comes after the keys that are known to be kicked, by the certificates that stand without that. */
  #lookBehind(certificates: readonly Certificate[]): void {
    this.#aftermath = undefined
    this.#aftermath = new Aftermath(this.#kicked, certificates, (link) => this.stands(link))
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

function smaller(a: string | undefined, b: string): string {
  return a !== undefined && a < b ? a : b
}

/** Why a certificate does not count now; undefined when it does. */
export function objectionTo(certificate: Certificate, verdict: Verdict, now: number): ShoalError | undefined {
  return failure(() => {
    verdict.checkCertificate(certificate)
    checkTime(certificate.body, now)
  })
}

/** Whether a certificate would count now if it followed nothing. */
export function countsAsIssued(certificate: Certificate, verdict: Verdict, now: number): boolean {
  const objection = failure(() => {
    verdict.checkIssued(certificate)
    checkTime(certificate.body, now)
  })
  return objection === undefined
}

function failure(check: () => void): ShoalError | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    if (error instanceof ShoalError) return error
    throw error
  }
}
