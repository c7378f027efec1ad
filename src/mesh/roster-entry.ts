import { ShoalError } from '../base/errors.ts'
import { type Certificate, certificateShape, checkCertificate, checkTime } from './certificate.ts'
import { type Clone, checkClone, cloneShape } from './clone.ts'
import type { Genesis } from './genesis.ts'
import { checkInvite, checkRedemption, type Invite, inviteShape, type Redemption, redemptionShape } from './invite.ts'
import { checkRevocation, type Revocation, revocationShape } from './revocation.ts'
import { lateMs, openEnvelope, readEnvelope } from './statement.ts'

/** How long two uses of one invitation are told apart, after the first. */
const redemptionMs = 62 * 24 * 3_600_000
/** How long it counts that a key was seen twice, unless that is seen again: longer than any certificate of a lender lives. */
const cloneMs = 62 * 24 * 3_600_000

/** One statement of a roster. */
export type Entry =
  | { kind: 'certificate'; statement: Certificate }
  | { kind: 'invite'; statement: Invite }
  | { kind: 'redemption'; statement: Redemption }
  | { kind: 'revocation'; statement: Revocation }
  | { kind: 'clone'; statement: Clone }

/** @throws ShoalError ERR_DECODE, ERR_NOT_CANONICAL */
export function decodeEntry(bytes: Uint8Array): Entry {
  const envelope = openEnvelope(bytes)
  const { type } = envelope
  switch (type) {
    case 'certificate':
      return { kind: type, statement: readEnvelope(envelope, certificateShape) }
    case 'invite':
      return { kind: type, statement: readEnvelope(envelope, inviteShape) }
    case 'redemption':
      return { kind: type, statement: readEnvelope(envelope, redemptionShape) }
    case 'revocation':
      return { kind: type, statement: readEnvelope(envelope, revocationShape) }
    case 'clone':
      return { kind: type, statement: readEnvelope(envelope, cloneShape) }
    default:
      throw new ShoalError('ERR_DECODE', 'no statement of a roster')
  }
}

/** Everything about a statement but signatures and revocations. @throws as `Roster.add`, without ERR_SIGNATURE */
export function checkEntry(entry: Entry, genesis: Genesis, now: number): void {
  switch (entry.kind) {
    case 'certificate':
      checkCertificate(entry.statement, genesis)
      checkTime(entry.statement.body, now)
      return
    case 'invite':
      checkInvite(entry.statement, genesis)
      checkTime(entry.statement.body, now)
      return
    case 'redemption': {
      checkRedemption(entry.statement, genesis)
      const { at } = entry.statement.body
      checkTime({ notBefore: at, notAfter: at + redemptionMs - lateMs }, now)
      return
    }
    case 'revocation':
      // Whatever a clock says: out is out.
      checkRevocation(entry.statement, genesis)
      return
    case 'clone': {
      checkClone(entry.statement, genesis)
      const { at } = entry.statement.body
      checkTime({ notBefore: at, notAfter: at + cloneMs - lateMs }, now)
      return
    }
    default:
      entry satisfies never
  }
}

/** The first moment at which a statement means anything to anybody; that of a revocation is always. */
export function startOf({ kind, statement }: Entry): number {
  switch (kind) {
    case 'certificate':
    case 'invite':
      return statement.body.notBefore
    case 'redemption':
    case 'clone':
    case 'revocation':
      return statement.body.at
  }
}

/** The last moment at which a statement means anything to anybody. */
export function endOf({ kind, statement }: Entry): number {
  switch (kind) {
    case 'certificate':
    case 'invite':
      return statement.body.notAfter + lateMs
    case 'redemption':
      return statement.body.at + redemptionMs
    case 'clone':
      return statement.body.at + cloneMs
    case 'revocation':
      return Number.POSITIVE_INFINITY
  }
}
