import { ShoalError } from '../base/errors.ts'
import {
  type Certificate,
  type CertificateBody,
  type Issuer,
  lifetimeMs,
  mayGrant,
  renew,
  type SignedCertificate,
} from './certificate.ts'
import type { Lines } from './lines.ts'
import { byId } from './ranking.ts'
import type { Roster } from './roster.ts'
import { hex, sameBytes } from './statement.ts'
import { before, type Consent, type Follows, isAgreed } from './succession.ts'

/** So many keys of one member may have been certified lately beside the one that is to be followed. */
const maxFormer = 4

/**
 * Who may be behind a key, as far as the mesh can tell. Whoever an administrator let in stands for itself; a key that follows another
 * is the same as the first one of its line; whom anybody else let in may be a second machine of that one, or made up by it. What an inviter
 * says of where somebody comes from can only add to this. Two keys that have one of these in common may be one person's.
 * @returns hex of keys, at least one
 * @throws ShoalError as `Roster.verify` when the key is no member's
 */
export function peopleBehind(roster: Roster, key: Uint8Array, now: number): ReadonlySet<string> {
  roster.verify(key, now)
  const lines = roster.lines(now)
  const known = lines.people.get(hex(key)) ?? search(lines, key)
  lines.people.set(hex(key), known)
  return known
}

function search(lines: Lines, key: Uint8Array): ReadonlySet<string> {
  const people = peopleOf(lines, lines.of(key))
  // Whoever has a key that somebody had before can have it let in again, and is then also who has let it in.
  const own = originsIn(lines, believed(lines, lines.certificatesOf(hex(key))))
  const others = own.filter((line) => !lines.of(key).includes(line))
  return new Set([...people, ...peopleOf(lines, others)])
}

/** Whether an administrator has signed for this very key, and not only for others of its line. */
function isVouchedFor(lines: Lines, key: Uint8Array): boolean {
  return lines.byAdministrators(lines.certificatesOf(hex(key))).length > 0
}

function peopleOf(lines: Lines, from: readonly string[]): Set<string> {
  const seen = new Set(from)
  const people = new Set<string>()
  for (const line of seen) {
    const origins = originsOf(lines, line)
    if (origins.length === 0) people.add(line)
    for (const origin of origins) seen.add(origin)
  }
  // Those that have let each other in.
  return people.size === 0 ? seen : people
}

/** The lines from which one comes that does not stand for itself. */
function originsOf(lines: Lines, line: string): string[] {
  return originsIn(lines, testimonies(lines, line)).filter((origin) => origin !== line)
}

function originsIn(lines: Lines, certificates: readonly Certificate[]): string[] {
  const said = certificates.flatMap((certificate) => {
    const { invitedBy, issuer } = certificate.body
    return [invitedBy, issuer].filter((by) => !lines.isVouching(certificate, by))
  })
  return said.flatMap((by) => lines.of(by))
}

/**
 * The certificates from which it follows where a line comes from. Those of a key that another one has followed are none as long as that is
 * a member's: an inviter that lets in what somebody has given up must not become who has let in all that come after it.
 */
function testimonies(lines: Lines, line: string): readonly Certificate[] {
  const last = lines.keysOf(line).filter((key) => !lines.hasHeir(new Uint8Array(Buffer.from(key, 'hex'))))
  return believed(
    lines,
    last.flatMap((key) => lines.certificatesOf(key)),
  )
}

/** Where administrators have said something, what all others say is nothing. */
function believed(lines: Lines, all: readonly Certificate[]): readonly Certificate[] {
  const proven = lines.byAdministrators(all)
  return proven.length > 0 ? proven : all
}

/**
 * Who has let a member in, as far as it can be proved here: by the word of an administrator, by the invitation that it has used, or else
 * whoever has issued what it shows. What others have written there is not handed on.
 * @returns the first key of that one
 * @throws ShoalError as `Roster.verify`
 */
export function provenInviter(roster: Roster, key: Uint8Array, now: number): Uint8Array {
  roster.verify(key, now)
  const lines = roster.lines(now)
  const all = isVouchedFor(lines, key) ? lines.of(key).flatMap((line) => testimonies(lines, line)) : []
  const proven = lines.byAdministrators(all)
  const said = proven.find((each) => !lines.isVouching(each, each.body.invitedBy)) ?? proven[0]
  if (said !== undefined) return lines.firstOf(said.body.invitedBy)
  const { invite, issuer } = roster.certificateOf(key, now).body
  return lines.firstOf((invite === null ? undefined : roster.inviterOf(invite, key)) ?? issuer)
}

/**
 * Whether `issuer` may sign another certificate for a member. An inviter that does so for somebody whom another inviter has let in
 * would make a person of its own of it; and so for a key that follows another, because it cannot say so and a month later nobody would
 * know.
 * @throws ShoalError ERR_ROLE; as `Roster.verify`
 */
export function checkMayReissue(roster: Roster, issuer: Issuer, key: Uint8Array, now: number): void {
  const { certificate } = issuer
  if (certificate === undefined || mayGrant(certificate.body.roles, 'admin')) return
  const inviter = provenInviter(roster, key, now)
  const lines = roster.lines(now)
  if (lines.isHeir(key))
    throw new ShoalError('ERR_ROLE', 'only an administrator can say again which key this one follows')
  const said = lines.of(key).flatMap((line) => testimonies(lines, line))
  if (said.some((each) => lines.isVouching(each, inviter)) || lines.isSame(certificate.body.subject, inviter)) return
  throw new ShoalError('ERR_ROLE', 'only who has let it in, or an administrator, can sign for this member again')
}

/**
 * A member's certificate again, with new dates.
 * @param certificate which one, whose name and roles may have been changed
 * @throws ShoalError ERR_FOLLOWED for a key that has said which one, of a member, comes after it; as `renew` and `Roster.verify`
 */
export function reissue(
  roster: Roster,
  certificate: Certificate,
  issuer: Issuer,
  now: number,
  serial: Uint8Array,
): Certificate {
  if (roster.lines(now).handedTo(certificate.body.subject).length > 0) {
    throw new ShoalError('ERR_FOLLOWED', 'another key was certified in place of this one')
  }
  return replace(roster, certificate, issuer, now, serial)
}

/**
 * What takes the place of a certificate that is about to be void with its issuer: also for a key that has said which one comes after it,
 * which is its member's until that one is in use. It gets no new dates.
 * @throws ShoalError as `renew` and `Roster.verify`
 */
export function replace(
  roster: Roster,
  certificate: Certificate,
  issuer: Issuer,
  now: number,
  serial: Uint8Array,
): Certificate {
  const { subject, notAfter } = certificate.body
  const body = { ...certificate.body, ...lasting(roster, issuer, subject, now) }
  const invitedBy = provenInviter(roster, subject, now)
  const isFollowed = roster.lines(now).handedTo(subject).length > 0
  const left = isFollowed ? { lifetimeMs: Math.max(1, Math.min(notAfter - now, lifetimeMs)) } : {}
  return renew({ ...certificate, body }, issuer, now, serial, { invitedBy, ...left })
}

/** What stays through all renewals. Where an administrator has said it, what inviters have written since is nothing. */
function lasting(
  roster: Roster,
  issuer: Issuer,
  key: Uint8Array,
  now: number,
): Pick<CertificateBody, 'invite' | 'follows'> {
  const all = roster.certificatesOf(key, now)
  const proven = roster.lines(now).byAdministrators(all)
  const isUsed = ({ body: { invite } }: Certificate): boolean =>
    invite !== null && roster.inviterOf(invite, key) !== undefined
  const of = proven.length > 0 ? proven.find(({ body }) => body.invite !== null) : (all.find(isUsed) ?? all[0])
  return { invite: of?.body.invite ?? null, follows: formerOf(roster, issuer, key, now) }
}

/**
 * Which key one follows, in the words of `issuer`, who is about to sign for it: what it has said last itself, or else what all
 * administrators say. Where they do not say the same, one of them is a thief or knows too little, and it says nothing: what a stolen key has
 * said of a member must not outlast that key. So one who was shut out is believed only of whom nobody else has signed for.
 * @throws ShoalError as `Roster.verify`
 */
function formerOf(roster: Roster, issuer: Pick<Issuer, 'key'>, key: Uint8Array, now: number): Follows | undefined {
  const all = roster.certificatesOf(key, now)
  const lines = roster.lines(now)
  const byAdministrators = lines.byAdministrators(all)
  // Only administrators write it: what an inviter has left out says nothing against one of them.
  const heard = all.filter((certificate) => !lines.hangsOnShutOut(certificate))
  const said =
    [byAdministrators, heard].find((some) => some.length > 0) ?? all.filter(({ body }) => body.follows !== undefined)
  const own = said.filter(({ body }) => sameBytes(body.issuer, issuer.key.publicKey))
  const [last] = own.toSorted((a, b) => b.body.notBefore - a.body.notBefore || byId(b, a))
  const keysOf = ({ body: { follows } }: Certificate): string => (follows === undefined ? '' : namesOf(follows))
  const [word, ...others] = new Set((last === undefined ? said : [last]).map(keysOf))
  if (others.length > 0) return undefined
  const same = said.flatMap((certificate) => (keysOf(certificate) === word ? (certificate.body.follows ?? []) : []))
  // What the key before has said itself is worth more than what is only claimed of it.
  return same.find(isAgreed) ?? same[0]
}

const namesOf = (follows: Follows): string => [follows.key, before(follows)].map(hex).join()

/** Whether what a certificate says of a member that its key follows would be said again, if it says anything. */
export function isAsOthersSay(
  roster: Roster,
  issuer: Pick<Issuer, 'key'>,
  { body: { subject, follows } }: SignedCertificate,
  now: number,
): boolean {
  if (follows === undefined) return true
  try {
    const said = formerOf(roster, issuer, subject, now)
    return said !== undefined && namesOf(said) === namesOf(follows)
  } catch (error) {
    // It is no member: nobody says anything.
    if (error instanceof ShoalError) return true
    throw error
  }
}

/**
 * Whether another key may follow one. Each that is shut out takes a place of the one who does it for ever.
 * @throws ShoalError ERR_LIMIT
 */
export function checkMaySucceed(roster: Roster, old: Uint8Array, now: number): void {
  const lines = roster.lines(now)
  const others = new Set(lines.of(old).flatMap((line) => lines.keysOf(line)))
  others.delete(hex(old))
  const ends = [...others].flatMap((key) => {
    const end = Math.max(0, ...lines.certificatesOf(key).map(({ body }) => body.notBefore + lifetimeMs))
    return end > now ? end : []
  })
  const free = ends.toSorted((a, b) => b - a)[maxFormer - 1]
  if (free === undefined) return
  const when = new Date(free).toISOString().slice(0, 10)
  throw new ShoalError('ERR_LIMIT', `this member has had ${ends.length + 1} keys lately`, {
    hint: `Try again after ${when}, or remove the machine and let it in anew.`,
  })
}

/**
 * How a key follows another: as the first of its line does, so that nothing is lost when the one in between is.
 * @throws ShoalError as `Roster.verify` when the other one is no member's
 */
export function followsOf(roster: Roster, issuer: Issuer, consent: Consent, now: number): Follows {
  const former = formerOf(roster, issuer, consent.key, now)
  return former === undefined ? consent : { key: former.key, via: consent.key, sig: consent.sig }
}
