import { encode } from '@ipld/dag-cbor'
import { ShoalError } from '../base/errors.ts'
import { type Certificate, chainOf, type Issuer, isEnding, type SignedCertificate } from './certificate.ts'
import { isAsOthersSay, replace } from './people.ts'
import { isEnough } from './ranking.ts'
import { isLeave, type Revocation, revoke, roomToKeep, type Target } from './revocation.ts'
import type { Roster } from './roster.ts'
import { hex, maxChain, sameBytes } from './statement.ts'

export interface KickOptions {
  /** Also everything that the key has issued, but for what `keep` names. Default false: whom it let in stays. */
  issued?: boolean
  /** Ids of certificates that survive `issued`, at most 12. Default none. */
  keep?: readonly Uint8Array[]
  /** Keys that go with it, and are not saved. Default none. */
  without?: readonly Uint8Array[]
  /** Keys that are over and no more: whom others let follow them stays. Default none. */
  alone?: readonly Uint8Array[]
}

export interface KickNeeds {
  roster: Roster
  issuer: Issuer
  /** So many random bytes. */
  random(length: number): Uint8Array
}

/**
 * Shuts a key out and takes from it the power to let others in, because whoever has stolen it can date a certificate back.
 * What the one who kicks stands on himself always survives: see `standingWithout`.
 * @returns what to add to the roster and to tell everybody, in this order. First comes what shuts the key out: say it before
 *   asking for the next, because how long the others take is up to the key. A member whom this issuer cannot give a new
 *   certificate is left out, and falls with the last.
 * @throws ShoalError ERR_ROLE when the issuer may not
 */
export function* kick(
  needs: KickNeeds,
  key: Uint8Array,
  options: KickOptions,
  now: number,
): Generator<Certificate | Revocation, void, void> {
  yield* shutOut(needs, [key], options, now)
  yield* disarm(needs, [key], options, now)
}

/** The first half of a kick: that the keys are out. @throws ShoalError ERR_ROLE when the issuer may not */
export function* shutOut(
  needs: KickNeeds,
  keys: readonly Uint8Array[],
  options: KickOptions,
  now: number,
): Generator<Revocation, void, void> {
  for (const key of keys) {
    const revocation = revoke(needs.issuer, { kind: 'key', key }, reasonFor(key, options), now)
    if (isNew(needs, revocation)) yield revocation
  }
}

/**
 * The second: that they let nobody in any more; before that, what lets those stay whom they have let in. All keep the same list, because
 * what was signed by one that follows another has to be on both. @throws ShoalError as `shutOut`
 */
export function* disarm(
  needs: KickNeeds,
  keys: readonly Uint8Array[],
  options: KickOptions,
  now: number,
): Generator<Certificate | Revocation, void, void> {
  const own = chainOf(needs.issuer).filter((link) => isFrom(link, keys))
  const keep = new Map(own.map(({ id }) => [hex(id), id]))
  if (options.issued === true) for (const id of options.keep ?? []) keep.set(hex(id), id)
  else yield* saved(needs, keys, [...keys, ...(options.without ?? [])], keep, now)
  for (const key of keys) {
    const target: Target = { kind: 'issuer', key, keep: [...keep.values()] }
    const revocation = revoke(needs.issuer, target, reasonFor(key, options), now)
    if (isNew(needs, revocation)) yield revocation
  }
}

/** Of keys that are over and no more is said that they have left: whoever comes after them is not named for that. */
function reasonFor(key: Uint8Array, { alone = [] }: KickOptions): Revocation['body']['reason'] {
  return alone.some((other) => sameBytes(other, key)) ? 'left' : 'kicked'
}

/** Whoever kicks twice says nothing twice: revocations stay for ever. (Not that a key is over: another's word can take the place of that.) */
function isNew({ roster, issuer }: KickNeeds, { body }: Revocation): boolean {
  const kicks = roster
    .revocationsBy(issuer.key.publicKey)
    .filter(({ body: { reason } }) => reason === 'kicked' || reason === body.reason)
  const said = kicks.map((other) => hex(encode(other.body.target)))
  return !said.includes(hex(encode(body.target)))
}

/**
 * The one who kicks, by a certificate that does not hang on the keys, if there is one that makes it as much and does not end soon: what it
 * says goes with what it stands on, and that has to stay.
 */
export function standingWithout(roster: Roster, issuer: Issuer, keys: readonly Uint8Array[], now: number): Issuer {
  const { certificate, key } = issuer
  if (certificate === undefined) return issuer
  const isAsMuch = (other: Certificate): boolean =>
    other.body.roles.includes('admin') &&
    (other.body.notAfter >= certificate.body.notAfter || !isEnding(other, now)) &&
    (other.chain.length + 1 < maxChain || certificate.chain.length + 1 >= maxChain)
  const other = roster
    .certificatesOf(key.publicKey, now)
    .find((each) => isAsMuch(each) && ![each, ...each.chain].some((link) => isFrom(link, keys)))
  return other === undefined ? issuer : { ...issuer, certificate: other }
}

/** Ids of the certificates issued by a key that members other than itself stand on. */
export function linksFrom(roster: Roster, key: Uint8Array, now: number): Uint8Array[] {
  return linksIn(roster.certificates(now), key)
}

/** The same of all certificates that count, first those of `linksFrom`: what speaks for a member now can be void one day. */
export function allLinksFrom(roster: Roster, key: Uint8Array, now: number): Uint8Array[] {
  const best = roster.certificates(now)
  return linksIn([...best, ...best.flatMap(({ body }) => roster.certificatesOf(body.subject, now))], key)
}

function linksIn(certificates: readonly Certificate[], key: Uint8Array): Uint8Array[] {
  const members = certificates.filter(({ body }) => !sameBytes(body.subject, key))
  const links = members.flatMap((member) => [member, ...member.chain]).filter((link) => isFrom(link, [key]))
  return [...new Map(links.map(({ id }) => [hex(id), id])).values()]
}

/** Of each member the certificate that hangs on `keys`, unless it has another that gives it as much for as long. */
function neededFrom(roster: Roster, keys: readonly Uint8Array[], now: number): Certificate[] {
  const isBelow = (certificate: Certificate): boolean =>
    [certificate, ...certificate.chain].some((link) => isFrom(link, keys))
  return roster.certificates(now).flatMap((best) => {
    const all = roster.certificatesOf(best.body.subject, now)
    const below = all.filter(isBelow).toSorted((a, b) => b.body.notAfter - a.body.notAfter)
    const [longest] = below.filter((each) => isEnough(each, best, now))
    const needed = isBelow(best) ? best : longest
    if (needed === undefined) return []
    const isAsGood = (other: Certificate): boolean =>
      isEnough(other, needed, now) && other.body.notAfter >= needed.body.notAfter
    return all.some((other) => !isBelow(other) && isAsGood(other)) ? [] : [needed]
  })
}

/** What lets those stay whom `keys` have let in, but for those who go with them: on the list `keep`, which it fills, and by new certificates. */
function* saved(
  { roster, issuer, random }: KickNeeds,
  keys: readonly Uint8Array[],
  without: readonly Uint8Array[],
  keep: Map<string, Uint8Array>,
  now: number,
): Generator<Certificate | Revocation, void, void> {
  const notSaved = new Set([...without, issuer.key.publicKey].map(hex))
  const isOwn = ({ body }: Certificate): boolean => notSaved.has(hex(body.subject))
  const members = neededFrom(roster, keys, now).filter((member) => !isOwn(member))
  const room = roomToKeep(issuer)
  const links = members.flatMap((member) => [member, ...member.chain])
  // What such a key alone says of whom somebody follows is renewed without that.
  const believed = links.filter((link) => isFrom(link, keys) && isAsOthersSay(roster, issuer, link, now))
  for (const [name, id] of mostNeeded(believed, keys)) {
    if (keep.size < room) keep.set(name, id)
  }
  for (const member of members) {
    if ([member, ...member.chain].every((link) => !isFrom(link, keys) || keep.has(hex(link.id)))) continue
    const renewed = renewedBy(roster, issuer, member, now, random(16))
    if (renewed === undefined) continue
    // A kicked key can have let in more than this one may renew.
    if (!roster.hasRoomFor(renewed)) break
    yield renewed
  }
  // Only the root takes back what an issuer has revoked, so only the root has to say it again.
  const again = issuer.certificate === undefined ? keys.flatMap((key) => roster.revocationsBy(key)) : []
  for (const { body } of again) if (!isLeave(body)) yield revoke(issuer, body.target, body.reason, now)
}

function renewedBy(
  roster: Roster,
  issuer: Issuer,
  member: Certificate,
  now: number,
  serial: Uint8Array,
): Certificate | undefined {
  try {
    return replace(roster, member, issuer, now, serial)
  } catch (error) {
    // The issuer is too far from the root, or stands on this member itself.
    if (error instanceof ShoalError) return undefined
    throw error
  }
}

/** The links that `keys` have issued, those first on which most depends. */
function mostNeeded(links: readonly SignedCertificate[], keys: readonly Uint8Array[]): [string, Uint8Array][] {
  const groups = Map.groupBy(
    links.filter((link) => isFrom(link, keys)),
    ({ id }) => hex(id),
  )
  const ranked = [...groups].toSorted(([, a], [, b]) => b.length - a.length)
  return ranked.flatMap(([name, [link]]): [string, Uint8Array][] => (link === undefined ? [] : [[name, link.id]]))
}

function isFrom(link: SignedCertificate, keys: readonly Uint8Array[]): boolean {
  return keys.some((key) => sameBytes(link.body.issuer, key))
}
