import { type Certificate, mayGrant, powerOf } from './certificate.ts'
import { hex } from './statement.ts'

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
