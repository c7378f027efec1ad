import { ShoalError } from '../base/errors.ts'
import {
  adminLifetimeMs,
  type Certificate,
  certificateShape,
  checkCertificate,
  checkTime,
  lifetimeMs,
} from './certificate.ts'
import { type Clone, checkClone, cloneShape } from './clone.ts'
import type { Genesis } from './genesis.ts'
import { checkInvite, checkRedemption, type Invite, inviteShape, type Redemption, redemptionShape } from './invite.ts'
import { checkRevocation, isLeave, type Revocation, revocationShape } from './revocation.ts'
import { hex, lateMs, openEnvelope, readEnvelope } from './statement.ts'

/** How long two uses of one invitation are told apart, after the first. */
const redemptionMs = 62 * 24 * 3_600_000
/**
 * So long after a revocation nothing that was signed for its key, or by it, before can be valid: an administrator's certificate of the root,
 * what it was used to issue on its last day, and two days for clocks. From then on it only keeps the key from being let in once more.
 */
const settledMs = adminLifetimeMs + lifetimeMs + 2 * lateMs
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
      // Whatever a clock says: out is out. Only a good-bye is of no use any more when nothing is left that it ends.
      checkRevocation(entry.statement, genesis)
      if (now > endOf(entry)) throw new ShoalError('ERR_EXPIRED', 'a good-bye of long ago')
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
      return endOfRevocation(statement)
  }
}

/** Whether it is a member's own good-bye. */
export function isGoodBye({ kind, statement }: Entry): boolean {
  return kind === 'revocation' && isLeave(statement.body)
}

/** Whether it is a revocation, and not one of those that come of members' new keys. */
export function isOrder({ kind, statement }: Entry): boolean {
  return kind === 'revocation' && statement.body.reason !== 'rekeyed'
}

/**
 * Since when a revocation keeps out nothing but a key that somebody lets in anew; undefined for everything else, for good-byes, and for
 * the root's, which can be what keeps those of another from counting.
 */
export function settledSince(entry: Entry, now: number): number | undefined {
  if (entry.kind !== 'revocation' || isGoodBye(entry) || entry.statement.chain.length === 0) return undefined
  const since = entry.statement.body.at + settledMs
  return since <= now ? since : undefined
}

/** Of statements with the same name no more than `most` are kept. */
export function groupOf({ kind, statement }: Entry): { name: string; most: number } | undefined {
  switch (kind) {
    case 'certificate': {
      const { subject, issuer, roles } = statement.body
      return { name: [hex(subject), hex(issuer), ...roles, statement.chain.length].join(' '), most: 2 }
    }
    case 'revocation': {
      const { issuer, reason, target } = statement.body
      if (isLeave(statement.body)) return { name: `${hex(issuer)} ${reason}`, most: 1 }
      // Several administrators see at once that a key is over. (The root says nothing of that kind by itself.)
      const isEnd = reason === 'rekeyed' && target.kind === 'key' && statement.chain.length > 0
      return isEnd ? { name: `ended ${hex(target.key)}`, most: 1 } : undefined
    }
    default:
      return undefined
  }
}

/**
 * Of two of a group, which is dropped first: negative when it is `a`. Of certificates the older, of good-byes the one with the larger
 * id, of what administrators say of a key that is over the one of who is farther from the root: that is the likeliest to be taken back.
 */
export function compareWorth(a: Entry, b: Entry): number {
  const byId = Buffer.compare(a.statement.id, b.statement.id)
  if (isGoodBye(a)) return -byId
  if (a.kind !== 'certificate' || b.kind !== 'certificate')
    return b.statement.chain.length - a.statement.chain.length || -byId
  return a.statement.body.notBefore - b.statement.body.notBefore || byId
}

/** A good-bye outlives whatever was issued to its key before that key's last certificate ended. Everything else is for ever. */
function endOfRevocation({ body, chain }: Revocation): number {
  const own = chain[0]?.body
  if (own === undefined || !isLeave(body)) return Number.POSITIVE_INFINITY
  return own.notAfter + lateMs + (own.roles.includes('admin') ? adminLifetimeMs : lifetimeMs)
}
