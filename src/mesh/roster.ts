import { createHash } from 'node:crypto'
import { ShoalError } from '../base/errors.ts'
import { type Certificate, checkSignatures, checkTime } from './certificate.ts'
import type { Clone } from './clone.ts'
import { type Findings, findingsOf, isIdle, verdictOf } from './findings.ts'
import type { Genesis } from './genesis.ts'
import { checkProof, type Invite, inviteIdOf, proofOf } from './invite.ts'
import { Lines } from './lines.ts'
import { type MemberView, viewOf } from './member-view.ts'
import { byId, makerOf } from './ranking.ts'
import type { Revocation } from './revocation.ts'
import {
  checkEntry,
  compareWorth,
  decodeEntry,
  type Entry,
  endOf,
  groupOf,
  isOrder,
  settledSince,
  startOf,
} from './roster-entry.ts'
import { maxStatements, Places, rosterLimits } from './roster-places.ts'
import { earlyMs, hex, sameBytes } from './statement.ts'
import { objectionTo, type Verdict } from './verdict.ts'

/**
 * What one node knows of who belongs to its mesh: a set of statements each of which is proof of itself. Two nodes that hold
 * the same set come to the same conclusions at the same time, in whatever order they heard of it.
 * `now` is in milliseconds since the Unix epoch throughout.
 */
export class Roster {
  readonly genesis: Genesis
  /** Hex of the id → statement. */
  readonly #entries = new Map<string, Entry>()
  /** Name of a group → the names of its entries. */
  readonly #groups = new Map<string, Set<string>>()
  readonly #places: Places
  /** Nothing void is left: whoever looks for room need not search again. */
  #isSifted = true
  /** Certificates in chains whose signatures were verified. */
  readonly #verified = new Set<string>()
  #findings: Findings | undefined
  #verdict: Verdict | undefined
  #lines: Lines | undefined
  #digest: Uint8Array | undefined
  #nextDrop = Number.POSITIVE_INFINITY

  constructor(genesis: Genesis, limits = rosterLimits) {
    this.genesis = genesis
    this.#places = new Places(genesis.body.root, limits)
  }

  get size(): number {
    return this.#entries.size
  }

  /**
   * Takes in what another member, or this node, says. A revoked member's certificate is taken in like any other: what
   * counts is said by `verify`.
   * @returns whether it was new
   * @throws ShoalError ERR_DECODE, ERR_NOT_CANONICAL, ERR_OTHER_MESH, ERR_ISSUER_UNKNOWN, ERR_CHAIN_LENGTH, ERR_ROLE,
   *   ERR_EXPIRED, ERR_NOT_YET_VALID, ERR_SIGNATURE, ERR_ROSTER_FULL
   */
  add(bytes: Uint8Array, now: number): 'added' | 'known' {
    return this.#insert(this.#read(bytes, now), now)
  }

  /**
   * Takes in what this node has kept on its disk, whatever the clock says today: one that was wrong for a moment must not cost anybody
   * its membership. What counts is said by `verify`.
   * @throws ShoalError as `add`, but nothing about dates, or places: it had one when it was written
   */
  restore(bytes: Uint8Array): void {
    const entry = this.#read(bytes, startOf(decodeEntry(bytes)))
    this.#insert(entry, Number.NEGATIVE_INFINITY)
  }

  /** The certificate of a key that would speak for it, were they all valid; undefined when none is known. */
  latestOf(key: Uint8Array): Certificate | undefined {
    return this.#look().certificates.get(hex(key))?.[0]
  }

  /**
   * Takes in the certificate that `remote`, the key at the other end of a connection, shows of itself.
   * @throws ShoalError as `add` and `verify`; ERR_REPLAYED when it is the certificate of another key
   */
  admit(bytes: Uint8Array, remote: Uint8Array, now: number): MemberView {
    const entry = this.#read(bytes, now)
    if (entry.kind !== 'certificate') throw new ShoalError('ERR_DECODE', 'not a certificate')
    if (!sameBytes(entry.statement.body.subject, remote)) {
      throw new ShoalError('ERR_REPLAYED', 'the certificate belongs to another key')
    }
    const verdict = this.#judge()
    const known = this.#look().certificates.get(hex(remote)) ?? []
    // Whoever was away has not heard of what was signed for it since, or that what it shows is void by now.
    const isMember = known.some((certificate) => objectionTo(certificate, verdict, now) === undefined)
    if (!isMember) verdict.checkCertificate(entry.statement)
    if (objectionTo(entry.statement, verdict, now) === undefined) this.#insert(entry, now)
    return this.verify(remote, now)
  }

  /**
   * Whether a key belongs to a member, and to which.
   * @throws ShoalError ERR_NOT_MEMBER, ERR_REVOKED, ERR_INVITE_USED, ERR_EXPIRED, ERR_NOT_YET_VALID
   */
  verify(key: Uint8Array, now: number): MemberView {
    return viewOf(this.certificatesOf(key, now))
  }

  /** The certificate that speaks for a key: of those that count, the first. @throws as `verify` */
  certificateOf(key: Uint8Array, now: number): Certificate {
    return this.certificatesOf(key, now)[0]
  }

  /**
   * The certificates of a key that count, ranked.
   * @throws as `verify`
   */
  certificatesOf(key: Uint8Array, now: number): [Certificate, ...Certificate[]] {
    this.#drop(now)
    const verdict = this.#judge()
    const all = this.#look().certificates.get(hex(key)) ?? []
    const [first, ...more] = all.filter((certificate) => objectionTo(certificate, verdict, now) === undefined)
    if (first !== undefined) return [first, ...more]
    verdict.checkKey(key)
    const [best] = all
    throw (
      (best && objectionTo(best, verdict, now)) ??
      new ShoalError('ERR_NOT_MEMBER', 'no certificate of this key is known')
    )
  }

  /** Which keys are one member's, as of now. */
  lines(now: number): Lines {
    this.#drop(now)
    const { certificates } = this.#look()
    if (this.#lines?.isOf(certificates, now) === true) return this.#lines
    this.#lines = new Lines(this.genesis, certificates, this.#judge(), now)
    return this.#lines
  }

  /** Everybody who belongs to the mesh now, by key. */
  members(now: number): MemberView[] {
    return this.#counting(now).map(viewOf)
  }

  /** Everybody of whom any certificate is here, also who belongs to the mesh no more. */
  known(now: number): MemberView[] {
    this.#drop(now)
    return [...this.#look().certificates.values()].map(viewOf)
  }

  /** For everybody who belongs to the mesh now the certificate that counts, by key. */
  certificates(now: number): Certificate[] {
    return this.#counting(now).map(([best]) => best)
  }

  #counting(now: number): [Certificate, ...Certificate[]][] {
    this.#drop(now)
    const { certificates } = this.#look()
    const verdict = this.#judge()
    const counting = [...certificates.values()].flatMap((all): [Certificate, ...Certificate[]][] => {
      const [best, ...more] = all.filter((certificate) => objectionTo(certificate, verdict, now) === undefined)
      return best === undefined ? [] : [[best, ...more]]
    })
    return counting.toSorted(([a], [b]) => Buffer.compare(a.body.subject, b.body.subject))
  }

  /**
   * An invitation that can be redeemed now.
   * @throws ShoalError ERR_INVITE_UNKNOWN, ERR_INVITE_USED, ERR_INVITE_BURNED, ERR_REVOKED, ERR_EXPIRED, ERR_NOT_YET_VALID
   */
  openInvite(invite: Uint8Array, now: number): Invite {
    this.#drop(now)
    const { invites, used } = this.#look()
    if (used.has(hex(invite))) throw new ShoalError('ERR_INVITE_USED', 'the invitation was used')
    const known = invites.get(hex(invite))
    if (known === undefined) throw new ShoalError('ERR_INVITE_UNKNOWN', 'no such invitation is known here')
    this.#judge().checkInvite(known)
    checkTime(known.body, now)
    // Unlike a certificate, an invitation has no day of grace: nobody depends on it.
    if (now > known.body.notAfter + earlyMs) throw new ShoalError('ERR_EXPIRED', 'the invitation is too old')
    return known
  }

  /**
   * Who made an invitation, if it is known that `subject` has used it. What lets somebody check it lets inviters copy it: of several the
   * administrator's counts, or else none.
   */
  inviterOf(invite: Uint8Array, subject: Uint8Array): Uint8Array | undefined {
    const isUsed = ({ kind, statement }: Entry): boolean =>
      kind === 'redemption' &&
      sameBytes(statement.body.subject, subject) &&
      sameBytes(inviteIdOf(statement.body.verifier), invite)
    const entries = [...this.#entries.values()]
    if (!entries.some(isUsed)) return undefined
    const made = entries.flatMap((entry) => (entry.kind === 'invite' ? [entry.statement] : []))
    return makerOf(made.filter(({ body }) => sameBytes(body.invite, invite)))
  }

  /** That keys of members are in use by two nodes each, the newest word on each first. */
  clones(now: number): Clone[] {
    this.#drop(now)
    return this.#look().clones
  }

  /** What a key has revoked. */
  revocationsBy(issuer: Uint8Array): Revocation[] {
    return [...this.#entries.values()].flatMap((entry) =>
      entry.kind === 'revocation' && sameBytes(entry.statement.body.issuer, issuer) ? [entry.statement] : [],
    )
  }

  /** The keys that others have kicked, each once: not those that are only over. */
  kickedKeys(): Uint8Array[] {
    const verdict = this.#judge()
    const kicked = new Map<string, Uint8Array>()
    for (const entry of this.#entries.values()) {
      if (entry.kind !== 'revocation') continue
      const { target, reason, issuer } = entry.statement.body
      if (reason !== 'kicked' || target.kind !== 'key' || sameBytes(target.key, issuer)) continue
      if (!verdict.isVoid(entry)) kicked.set(hex(target.key), target.key)
    }
    return [...kicked.values()]
  }

  /** Whether a key may still come in. @throws ShoalError ERR_REVOKED */
  checkKey(key: Uint8Array): void {
    this.#judge().checkKey(key)
  }

  /** Whether there is a place for one more like this. */
  hasRoomFor(statement: Certificate): boolean {
    return this.#objectionTo({ kind: 'certificate', statement }) === undefined
  }

  /** SHA-256 of the ids, in order: equal for equal sets. */
  digest(now: number): Uint8Array {
    this.#drop(now)
    if (this.#digest === undefined) {
      const hash = createHash('sha256')
      for (const id of this.#sorted()) hash.update(id, 'hex')
      this.#digest = new Uint8Array(hash.digest())
    }
    return this.#digest
  }

  /** The ids of everything, sorted. */
  ids(now: number): Uint8Array[] {
    this.#drop(now)
    return this.#sorted().map((id) => new Uint8Array(Buffer.from(id, 'hex')))
  }

  /** Those of another node's ids that are not here. @throws ShoalError ERR_LIMIT for more than a roster holds */
  missing(ids: readonly Uint8Array[]): Uint8Array[] {
    if (ids.length > maxStatements) throw new ShoalError('ERR_LIMIT', `${ids.length} ids, at most ${maxStatements}`)
    return ids.filter((id) => !this.#entries.has(hex(id)))
  }

  /**
   * The statements with these ids; one that is not here is left out. What makes others void comes first: who hears of those before could
   * keep them in the place of what counts. @throws ShoalError ERR_LIMIT for more than a roster holds
   */
  bytesOf(ids: readonly Uint8Array[]): Uint8Array[] {
    if (ids.length > maxStatements) throw new ShoalError('ERR_LIMIT', `${ids.length} ids, at most ${maxStatements}`)
    const entries = ids.flatMap((id) => this.#entries.get(hex(id)) ?? [])
    return entries.toSorted((a, b) => Number(isOrder(b)) - Number(isOrder(a))).map(({ statement }) => statement.bytes)
  }

  #read(bytes: Uint8Array, now: number): Entry {
    const entry = decodeEntry(bytes)
    checkEntry(entry, this.genesis, now)
    const { id } = entry.statement
    const known = this.#entries.get(hex(id))
    if (known === undefined || !sameBytes(known.statement.bytes, bytes)) {
      if (entry.kind === 'redemption') checkProof(proofOf(entry.statement.body), entry.statement.body.mesh)
      if (this.#verified.size > maxStatements) this.#verified.clear()
      checkSignatures(entry.statement, this.#verified)
    }
    return entry
  }

  #insert(entry: Entry, now: number): 'added' | 'known' {
    this.#drop(now)
    const id = hex(entry.statement.id)
    if (this.#entries.has(id)) return 'known'
    const group = groupOf(entry)
    const others = [...(this.#groups.get(group?.name ?? '') ?? [])].flatMap((other) => this.#entries.get(other) ?? [])
    if (group !== undefined && others.length >= group.most) {
      const [worst] = others.toSorted((a, b) => this.#compare(a, b))
      if (worst === undefined || this.#compare(entry, worst) < 0) return 'known'
      const objection = this.#places.objectionToReplacing(worst, entry, now)
      if (objection !== undefined && now > Number.NEGATIVE_INFINITY) throw new ShoalError('ERR_ROSTER_FULL', objection)
      this.#remove(hex(worst.statement.id))
    } else if (now > Number.NEGATIVE_INFINITY) this.#makeRoom(entry, now)
    this.#entries.set(id, entry)
    if (group !== undefined) this.#groups.set(group.name, (this.#groups.get(group.name) ?? new Set()).add(id))
    this.#places.add(entry)
    this.#nextDrop = Math.min(this.#nextDrop, endOf(entry))
    this.#changed(entry)
    return 'added'
  }

  /** Which of a group is dropped first: what counts for nothing, then as its own fields say. */
  #compare(a: Entry, b: Entry): number {
    return Number(this.#isVoid(b)) - Number(this.#isVoid(a)) || compareWorth(a, b)
  }

  #makeRoom(entry: Entry, now: number): void {
    let objection = this.#objectionTo(entry)
    while (objection !== undefined && entry.kind === 'revocation' && this.#dropSettled(entry, now)) {
      objection = this.#places.objectionTo(entry)
    }
    if (objection !== undefined) throw new ShoalError('ERR_ROSTER_FULL', objection)
  }

  /** Where there is no place left for a revocation, one goes that is so old that next to nothing depends on it: the oldest in its way. */
  #dropSettled(entry: Entry, now: number): boolean {
    const ageOf = (other: Entry): number => settledSince(other, now) ?? Number.POSITIVE_INFINITY
    const isOld = (other: Entry): boolean => ageOf(other) <= now && this.#places.isInTheWay(other, entry)
    const inTheWay = [...this.#entries].filter(([, other]) => isOld(other))
    const [oldest] = inTheWay.toSorted(([, a], [, b]) => ageOf(a) - ageOf(b) || byId(a.statement, b.statement))
    // What is older than all of them is what would go.
    if (oldest === undefined || ageOf(oldest[1]) >= ageOf(entry)) return false
    this.#remove(oldest[0])
    return true
  }

  /** Where there is no place left, what counts for nothing goes. */
  #objectionTo(entry: Entry): string | undefined {
    let objection = this.#places.objectionTo(entry)
    if (objection === undefined) return undefined
    if (!this.#isSifted && !this.#isVoid(entry)) {
      const idle = [...this.#entries].filter(([, other]) => this.#isVoid(other))
      for (const [id] of idle) this.#remove(id)
      this.#isSifted = true
      objection = this.#places.objectionTo(entry)
    }
    return objection
  }

  #isVoid(entry: Entry): boolean {
    return isIdle(entry, this.#judge(), () => this.#look())
  }

  #remove(id: string): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#entries.delete(id)
    const { name = '' } = groupOf(entry) ?? {}
    const group = this.#groups.get(name)
    group?.delete(id)
    if (group?.size === 0) this.#groups.delete(name)
    this.#places.remove(entry)
    this.#changed(entry)
  }

  /** What has passed away goes by its own dates alone, so it goes everywhere. */
  #drop(now: number): void {
    if (now <= this.#nextDrop) return
    for (const [id, entry] of this.#entries) if (now > endOf(entry)) this.#remove(id)
    this.#nextDrop = Math.min(Number.POSITIVE_INFINITY, ...[...this.#entries.values()].map(endOf))
  }

  #changed({ kind }: Entry): void {
    this.#findings = undefined
    this.#digest = undefined
    this.#isSifted = false
    if (kind === 'redemption' || kind === 'revocation') this.#verdict = undefined
  }

  #sorted(): string[] {
    return [...this.#entries.keys()].toSorted()
  }

  #judge(): Verdict {
    this.#verdict ??= verdictOf(this.genesis, [...this.#entries.values()])
    return this.#verdict
  }

  #look(): Findings {
    this.#findings ??= findingsOf([...this.#entries.values()], this.#judge())
    return this.#findings
  }
}
