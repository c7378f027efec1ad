import { type Certificate, mayGrant, powerOf, roleOrder } from './certificate.ts'
import type { Invite } from './invite.ts'
import { hex, sameBytes } from './statement.ts'
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

/** The most powerful first, then of those who sign for others the one nearest to the root, then the newest, then the one with the larger id. */
export function byRank(a: Certificate, b: Certificate): number {
  // Each certificate on the way to the root is one less that an issuer may grant.
  const depth = mayGrant(a.body.roles, 'member') ? a.chain.length - b.chain.length : 0
  return powerOf(b.body.roles) - powerOf(a.body.roles) || depth || b.body.notBefore - a.body.notBefore || byId(b, a)
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
