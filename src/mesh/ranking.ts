import { type Certificate, isEnding, mayGrant, powerOf, roleOrder } from './certificate.ts'
import type { Invite } from './invite.ts'
import { hex, maxChain, sameBytes } from './statement.ts'
import type { Verdict } from './verdict.ts'

/** By the hex of the subject, in the order given. */
export function grouped(certificates: readonly Certificate[]): Map<string, [Certificate, ...Certificate[]]> {
  const groups: Map<string, [Certificate, ...Certificate[]]> = new Map()
  for (const certificate of certificates) {
    const group = groups.get(hex(certificate.body.subject))
    if (group === undefined) groups.set(hex(certificate.body.subject), [certificate])
    else group.push(certificate)
  }
  return groups
}

/**
 * Which certificate speaks for a member comes first. Whatever it signs hangs on that one, and on who has signed that one: so another role
 * is no reason to take one farther from the root, or of somebody who is shut out. By the highest role, because with that one shuts out;
 * then what it can issue others' with; then what hangs on nobody who is shut out; then, of those who sign for others, the nearest to the
 * root; then the other roles, the newest, the larger id.
 */
export function ranked(
  certificates: readonly Certificate[],
  verdict: Pick<Verdict, 'hangsOnShutOut'>,
): readonly Certificate[] {
  const ranks = new Map(certificates.map((each) => [each, rankOf(each, verdict)]))
  return certificates.toSorted((a, b) => {
    const [of, than] = [ranks.get(a) ?? [], ranks.get(b) ?? []]
    const at = of.findIndex((value, place) => value !== than[place])
    return at < 0 ? byId(b, a) : (of[at] ?? 0) - (than[at] ?? 0)
  })
}

/** Whether a member can go on with one certificate when the one that speaks for it has run out: also in issuing others', unless that is near. */
export function isEnough({ body, chain }: Certificate, best: Certificate, now: number): boolean {
  if (powerOf(body.roles) < powerOf(best.body.roles)) return false
  return (
    chain.length <= Math.max(best.chain.length, maxChain - 2) ||
    !mayGrant(best.body.roles, 'member') ||
    isEnding(best, now)
  )
}

function rankOf(certificate: Certificate, verdict: Pick<Verdict, 'hangsOnShutOut'>): number[] {
  const { roles, notBefore } = certificate.body
  const isIssuer = mayGrant(roles, 'member')
  // Each certificate on the way to the root is one less that an issuer may grant.
  const depth = isIssuer ? certificate.chain.length : 0
  const highest = Math.max(...roles.map((role) => roleOrder.indexOf(role)))
  const mayIssue = isIssuer && depth + 1 < maxChain
  const isDoubtful = verdict.hangsOnShutOut(certificate)
  return [-highest, -Number(mayIssue), Number(isDoubtful), depth, -powerOf(roles), -notBefore]
}

/** By id. */
export function byId(a: { id: Uint8Array }, b: { id: Uint8Array }): number {
  return Buffer.compare(a.id, b.id)
}

const isAdministrators = ({ chain }: Invite): boolean => mayGrant(chain[0]?.body.roles ?? roleOrder, 'admin')

/** Of invitations the last one is to be believed: what counts, then what administrators have made, then the larger id. */
export function byMaker(verdict: Pick<Verdict, 'isVoid'>): (a: Invite, b: Invite) => number {
  const rank = (statement: Invite): number =>
    2 * Number(!verdict.isVoid({ kind: 'invite', statement })) + Number(isAdministrators(statement))
  return (a, b) => rank(a) - rank(b) || byId(a, b)
}

/** Who made an invitation, of which these are all the statements: its administrator, or whoever else was alone. */
export function makerOf(invites: readonly Invite[]): Uint8Array | undefined {
  const proven = invites.filter(isAdministrators)
  const [first, ...more] = (proven.length > 0 ? proven : invites).map(({ body }) => body.issuer)
  return first !== undefined && more.every((other) => sameBytes(other, first)) ? first : undefined
}
