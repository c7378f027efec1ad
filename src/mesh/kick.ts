import { type Certificate, chainOf, type Issuer, renew, type SignedCertificate } from './certificate.ts'
import { maxKeep, type Revocation, revoke } from './revocation.ts'
import type { Roster } from './roster.ts'
import { hex, sameBytes } from './statement.ts'

export interface KickOptions {
  /** Also everything that the key has issued, but for what `keep` names. Default false: whom it let in stays. */
  issued?: boolean
  /** Ids of certificates that survive `issued`, at most 12. Default none. */
  keep?: readonly Uint8Array[]
}

export interface KickNeeds {
  roster: Roster
  issuer: Issuer
  /** So many random bytes. */
  random(length: number): Uint8Array
}

/**
 * Shuts a key out and takes from it the power to let others in, because whoever has stolen it can date a certificate back.
 * What the one who kicks stands on himself always survives.
 * @returns what to add to the roster and to tell everybody, in this order
 * @throws ShoalError ERR_ROLE when the issuer may not
 */
export function kick(
  needs: KickNeeds,
  key: Uint8Array,
  options: KickOptions,
  now: number,
): (Certificate | Revocation)[] {
  const { roster, issuer, random } = needs
  const own = chainOf(issuer).filter((link) => isFrom(link, key))
  const shutOut = revoke(issuer, { kind: 'key', key }, 'kicked', now)
  const disarm = (keep: Uint8Array[]): Revocation => revoke(issuer, { kind: 'issuer', key, keep }, 'kicked', now)
  if (options.issued === true) {
    const kept = [...own.map(({ id }) => id), ...(options.keep ?? [])]
    return [shutOut, disarm([...new Map(kept.map((id) => [hex(id), id])).values()])]
  }
  const members = roster.certificates(now).filter(({ body }) => !sameBytes(body.subject, key))
  const kept = mostNeeded([...own, ...members.flatMap((member) => [member, ...member.chain])], key)
  const falling = members.filter((member) =>
    [member, ...member.chain].some((link) => isFrom(link, key) && !kept.has(hex(link.id))),
  )
  // Only the root takes back what an issuer has revoked, so only the root has to say it again.
  const again = issuer.certificate === undefined ? roster.revocationsBy(key) : []
  return [
    ...falling.map((member) => renew(member, issuer, now, random(16))),
    ...again.map(({ body }) => revoke(issuer, body.target, body.reason, now)),
    shutOut,
    disarm([...kept.values()]),
  ]
}

/** Ids of the certificates issued by a key that members other than itself stand on. */
export function linksFrom(roster: Roster, key: Uint8Array, now: number): Uint8Array[] {
  const members = roster.certificates(now).filter(({ body }) => !sameBytes(body.subject, key))
  const links = members.flatMap((member) => [member, ...member.chain]).filter((link) => isFrom(link, key))
  return [...new Map(links.map(({ id }) => [hex(id), id])).values()]
}

/** Of the links that `key` has issued, those on which most depends. */
function mostNeeded(links: readonly SignedCertificate[], key: Uint8Array): Map<string, Uint8Array> {
  const groups = Map.groupBy(
    links.filter((link) => isFrom(link, key)),
    ({ id }) => hex(id),
  )
  const ranked = [...groups].toSorted(([, a], [, b]) => b.length - a.length)
  return new Map(ranked.slice(0, maxKeep).flatMap(([name, [link]]) => (link === undefined ? [] : [[name, link.id]])))
}

function isFrom(link: SignedCertificate, key: Uint8Array): boolean {
  return sameBytes(link.body.issuer, key)
}
