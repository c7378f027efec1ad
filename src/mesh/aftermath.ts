import type { Certificate, SignedCertificate } from './certificate.ts'
import { hex } from './statement.ts'
import { before } from './succession.ts'

/** A certificate and those that lead from its issuer to the root. */
export interface Link extends SignedCertificate {
  chain: readonly SignedCertificate[]
}

/**
 * What comes after keys that were kicked: certificates that name one of these as before their subject, or a key of which all that
 * administrators say leads to one. An administrator who had not heard of a kick has signed them, or a thief who wanted a member to go
 * with somebody; so it is those certificates that count for nothing, and not their subjects.
 *
 * A function of the set of statements. Dates are nothing to it: what was certified after a key that is forgotten by now is not void.
 */
export class Aftermath {
  /** Hex of keys. */
  readonly #kicked: ReadonlySet<string>
  /** Hex of a key → hex of those that certificates name as before it. */
  readonly #former = new Map<string, Set<string>>()
  /** Hex of the keys that anybody has certified to come after one that was kicked … */
  readonly #after: ReadonlySet<string>
  /** … and of those of which nothing else is said, and the kicked ones. */
  readonly #tainted: ReadonlySet<string>
  /** What a certificate names, as far as it is tainted → what `through` says. */
  readonly #through = new Map<string, readonly string[]>()
  /** Hex of the ids of the certificates from which this follows. */
  readonly #evidence = new Set<string>()

  /** @param stands whether a certificate counts, as far as it is revoked by what names its issuers */
  constructor(kicked: ReadonlySet<string>, certificates: readonly Certificate[], stands: (link: Link) => boolean) {
    this.#kicked = kicked
    const links = kicked.size === 0 ? [] : certificates.flatMap(linksOf)
    const later = new Map<string, Set<string>>()
    const following = distinct(links.filter(({ body }) => body.follows !== undefined)).filter(stands)
    for (const link of following) {
      const subject = hex(link.body.subject)
      for (const former of namedBy(link)) {
        add(later, former, subject)
        add(this.#former, subject, former)
      }
    }
    this.#after = reached(later, kicked)
    const others = links.filter(({ body }) => this.#after.size > 0 && this.#after.has(hex(body.subject)))
    this.#tainted = this.#withoutSound(distinct(others.filter(isByAdministrator)).filter(stands))
    for (const link of following) if (this.isAfter(link)) this.#evidence.add(hex(link.id))
  }

  /** Whether a certificate is void because of what it follows. */
  isAfter(certificate: Pick<SignedCertificate, 'body'>): boolean {
    return this.#tainted.size > 0 && namedBy(certificate).some((key) => this.#tainted.has(key))
  }

  /** Hex of the kicked keys to which what a certificate follows leads. */
  through(certificate: Pick<SignedCertificate, 'body'>): readonly string[] {
    if (this.#tainted.size === 0) return []
    const isTainted = (key: string): boolean => this.#tainted.has(key)
    const from = namedBy(certificate).filter(isTainted)
    if (from.length === 0) return []
    const known = this.#through.get(from.join())
    if (known !== undefined) return known
    const seen = new Set(from)
    for (const key of seen) for (const former of this.#former.get(key) ?? []) if (isTainted(former)) seen.add(former)
    const kicked = [...seen].filter((key) => this.#kicked.has(key))
    this.#through.set(from.join(), kicked)
    return kicked
  }

  /** Whether others would be judged differently without this certificate, although it counts for nothing itself. */
  isEvidence({ id }: Pick<Certificate, 'id'>): boolean {
    return this.#evidence.size > 0 && this.#evidence.has(hex(id))
  }

  /** Whether anything can come out differently with this certificate, or without it. */
  concerns({ body, chain }: Certificate): boolean {
    if (this.#kicked.size === 0) return false
    return [{ body }, ...chain].some(
      (link) => link.body.follows !== undefined || this.#after.has(hex(link.body.subject)),
    )
  }

  /** All that were kicked, and of what comes after them those for which no certificate speaks that leads past them. */
  #withoutSound(links: readonly Link[]): Set<string> {
    const tainted = new Set([...this.#kicked, ...this.#after])
    const waiting = new Map<string, { subject: string; open: number }[]>()
    const ready: { subject: string; open: number }[] = []
    for (const link of links) {
      const subject = hex(link.body.subject)
      if (this.#kicked.has(subject)) continue
      // Who issued it counts as well: a key must not be able to vouch for the one after which it comes.
      const needs = [...new Set([link, ...link.chain].flatMap(namedBy))].filter((key) => tainted.has(key))
      const one = { subject, open: needs.length }
      for (const key of needs) {
        const others = waiting.get(key)
        if (others === undefined) waiting.set(key, [one])
        else others.push(one)
      }
      if (needs.length === 0) ready.push(one)
    }
    for (const { subject } of ready) {
      if (!tainted.delete(subject)) continue
      for (const one of waiting.get(subject) ?? []) {
        one.open -= 1
        if (one.open === 0) ready.push(one)
      }
    }
    return tainted
  }
}

function linksOf(certificate: Certificate): Link[] {
  const { chain } = certificate
  return [certificate, ...chain.map((link, at) => ({ ...link, chain: chain.slice(at + 1) }))]
}

/** The root is one. */
function isByAdministrator({ chain }: Link): boolean {
  return chain[0] === undefined || chain[0].body.roles.includes('admin')
}

/** Hex of the first key of its line and of the one before, as a certificate says. */
function namedBy({ body: { follows } }: Pick<SignedCertificate, 'body'>): string[] {
  return follows === undefined ? [] : [...new Set([follows.key, before(follows)].map(hex))]
}

function distinct(links: readonly Link[]): Link[] {
  return [...new Map(links.map((link) => [hex(link.id), link])).values()]
}

function reached(later: ReadonlyMap<string, ReadonlySet<string>>, from: Iterable<string>): Set<string> {
  const seen = new Set<string>()
  for (const key of from) for (const next of later.get(key) ?? []) seen.add(next)
  for (const key of seen) for (const next of later.get(key) ?? []) seen.add(next)
  return seen
}

function add(map: Map<string, Set<string>>, key: string, value: string): void {
  map.set(key, (map.get(key) ?? new Set()).add(value))
}
