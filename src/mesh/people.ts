import { codeOf, ShoalError } from '../base/errors.ts'
import { type Certificate, type Issuer, mayGrant } from './certificate.ts'
import type { Roster } from './roster.ts'
import { hex, sameBytes } from './statement.ts'

/** Longer than any chain of certificates; of keys that followed each other no more are looked through. */
const maxSteps = 16

/**
 * Who may be behind a key, as far as the mesh can tell. Whoever an administrator let in stands for itself; a key that follows another
 * stands for whom that one stood for; whom anybody else let in may be a second machine of that one, or made up by it. What an inviter
 * says of where somebody comes from can only add to this. Two keys that have one of these in common may be one person's.
 * @returns hex of keys, at least one
 * @throws ShoalError as `Roster.verify` when the key is no member's
 */
export function peopleBehind(roster: Roster, key: Uint8Array, now: number): ReadonlySet<string> {
  roster.verify(key, now)
  const seen = new Set<string>()
  const people = new Set<string>()
  const open = [key]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (seen.has(hex(next))) continue
    seen.add(hex(next))
    const origins = seen.size > maxSteps ? [] : originsOf(roster, next, now)
    if (origins.length === 0) people.add(hex(next))
    open.push(...origins)
  }
  // Those that have let each other in.
  return people.size === 0 ? seen : people
}

/** Where somebody comes from who does not stand for itself. */
function originsOf(roster: Roster, key: Uint8Array, now: number): Uint8Array[] {
  return testimonies(roster, key, now).flatMap((certificate) => {
    const { invitedBy, issuer, follows } = certificate.body
    const said = [invitedBy, issuer].filter((by) => !sameBytes(by, key) && !isVouching(roster, certificate, by, now))
    return follows === undefined ? said : [follows.key, ...said]
  })
}

/** The certificates of a key from which it follows where it comes from: where administrators have said it, those of all others are nothing. */
function testimonies(roster: Roster, key: Uint8Array, now: number): Certificate[] {
  const all = known(roster, key, now)
  const proven = byAdministrators(roster, all, now)
  return proven.length > 0 ? proven : all
}

/** Of these certificates those that the root or an administrator has issued. */
export function byAdministrators(roster: Roster, all: readonly Certificate[], now: number): Certificate[] {
  return all.filter((certificate) => isVouching(roster, certificate, certificate.body.issuer, now))
}

/** Whether a key is an administrator's, or was that of one who signed for this certificate and has not been shut out since. */
function isVouching(roster: Roster, { chain }: Certificate, key: Uint8Array, now: number): boolean {
  if (isAdministrator(roster, key, now)) return true
  const signed = chain.some(({ body }) => body.roles.includes('admin') && sameBytes(body.subject, key))
  return signed && !isShutOut(roster, key)
}

function isShutOut(roster: Roster, key: Uint8Array): boolean {
  try {
    roster.checkKey(key)
    return false
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return true
  }
}

function known(roster: Roster, key: Uint8Array, now: number): Certificate[] {
  try {
    return roster.certificatesOf(key, now)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    // It is a member's no more: one that another has followed, or who has let somebody in.
    const latest = roster.latestOf(key)
    return latest === undefined ? [] : [latest]
  }
}

/**
 * Who has let a member in, as far as it can be proved here: by the word of an administrator, by the invitation that it has used, or else
 * whoever has issued what it shows. What others have written there is not handed on.
 * @throws ShoalError as `Roster.verify`
 */
export function provenInviter(roster: Roster, key: Uint8Array, now: number): Uint8Array {
  roster.verify(key, now)
  return inviterOf(roster, key, now, maxSteps) ?? key
}

function inviterOf(roster: Roster, key: Uint8Array, now: number, steps: number): Uint8Array | undefined {
  const [first, ...more] = testimonies(roster, key, now)
  if (first === undefined) return undefined
  const { invite, issuer, invitedBy, follows } = first.body
  if (isVouching(roster, first, issuer, now)) {
    const others = [first, ...more].find((each) => !isVouching(roster, each, each.body.invitedBy, now))
    return others?.body.invitedBy ?? invitedBy
  }
  const before = follows === undefined || steps === 0 ? undefined : inviterOf(roster, follows.key, now, steps - 1)
  return before ?? (invite === null ? undefined : roster.inviterOf(invite, key)) ?? issuer
}

/**
 * Whether `issuer` may sign another certificate for a member. An inviter that does so for somebody whom another inviter has let in
 * would make a person of its own of it.
 * @throws ShoalError ERR_ROLE; as `Roster.verify`
 */
export function checkMayReissue(roster: Roster, issuer: Issuer, key: Uint8Array, now: number): void {
  const { certificate } = issuer
  if (certificate === undefined || mayGrant(certificate.body.roles, 'admin')) return
  const inviter = provenInviter(roster, key, now)
  const isPerson = testimonies(roster, key, now).some((each) => isVouching(roster, each, inviter, now))
  if (isPerson || isOfLine(roster, certificate.body.subject, inviter, now)) return
  throw new ShoalError('ERR_ROLE', 'only who has let it in, or an administrator, can sign for this member again')
}

/** Whether `key` is that one, or follows it. */
function isOfLine(roster: Roster, key: Uint8Array, older: Uint8Array, now: number): boolean {
  let at: Uint8Array | undefined = key
  for (let step = 0; at !== undefined && step < maxSteps; step += 1) {
    if (sameBytes(at, older)) return true
    at = testimonies(roster, at, now)[0]?.body.follows?.key
  }
  return false
}

/** Whether a key is an administrator's now, or one that an administrator had before. */
function isAdministrator(roster: Roster, key: Uint8Array, now: number): boolean {
  let at: Uint8Array | undefined = key
  for (let step = 0; at !== undefined && step < maxSteps; step += 1) {
    if (sameBytes(at, roster.genesis.body.root) || hasAdminRole(roster, at, now)) return true
    at = heirOf(roster, at, now)
  }
  return false
}

function heirOf(roster: Roster, key: Uint8Array, now: number): Uint8Array | undefined {
  const heir = roster
    .certificates(now)
    .find(({ body }) => body.follows !== undefined && sameBytes(body.follows.key, key))
  return heir?.body.subject
}

function hasAdminRole(roster: Roster, key: Uint8Array, now: number): boolean {
  try {
    return roster.verify(key, now).roles.includes('admin')
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return false
  }
}
