import { codeOf, ShoalError } from '../base/errors.ts'
import { issueCertificate, lifetimeMs } from './certificate.ts'
import { meshKeyOf } from './genesis.ts'
import { keyOf, type Members, peerIdOf, peerIdOfHex, serial } from './members.ts'
import { checkMayReissue, checkMaySucceed, followsOf, provenInviter } from './people.ts'
import { isLeave, revoke } from './revocation.ts'
import type { Roster } from './roster.ts'
import { hex, sameBytes } from './statement.ts'
import { before, type Consent, checkFollows } from './succession.ts'

/**
 * Whether a member may sign for this node again: who has let it in, or an administrator; for whom an administrator has let in, everybody.
 * @throws ShoalError as `Roster.verify`
 */
export function mayBeRenewedBy(members: Members, peerId: string): boolean {
  const { genesis, now, roster, signer } = members
  const certificate = roster.certificateOf(keyOf(peerId), now)
  try {
    checkMayReissue(roster, { genesis, key: signer, certificate }, members.key, now)
    return true
  } catch (error) {
    if (codeOf(error) !== 'ERR_ROLE') throw error
    return false
  }
}

/**
 * Lets a member's new key take over its name and roles. The old one is over as soon as the new one is in use.
 * @param consent that the old key says so
 * @throws ShoalError ERR_ROLE when this node is no administrator or may not grant them, ERR_REVOKED, ERR_NOT_MEMBER; ERR_SIGNATURE unless
 *   the old key has said so; ERR_LIMIT for a key that was ever anybody's, for one that another follows, and for a member that has had too many
 */
export async function certifySuccessor(members: Members, next: Uint8Array, consent: Consent): Promise<void> {
  const { roster, now } = members
  const old = consent.key
  const { name, roles } = roster.certificateOf(old, now).body
  roster.checkKey(next)
  // A key that somebody has had before would make one line of two: nobody chooses such a one by chance.
  if (roster.lines(now).isKnown(next)) throw new ShoalError('ERR_LIMIT', 'the new key is known already')
  const issuer = sameBytes(old, members.key) ? members.highestIssuer() : members.issuer()
  checkIsLast(roster, old, now)
  checkMayReissue(roster, issuer, old, now)
  checkMaySucceed(roster, old, now)
  checkInviterHasPlaces(members, old)
  checkFollows(meshKeyOf(members.genesis), next, consent)
  await endBefore(members, old)
  // Somebody may have asked in between, or another administrator have been heard.
  checkIsLast(roster, old, now)
  // Its invitation was used by the old key: another subject that bears it would be void.
  const follows = followsOf(roster, issuer, consent, now)
  const init = { subject: next, name, roles, invitedBy: provenInviter(roster, old, now), follows, serial: serial() }
  await members.say([issueCertificate(issuer, init, now)])
}

/**
 * Whether no other key of its line is a member's, but for those before. Whoever has stolen a key would have it followed a second time,
 * or be followed in its owner's place: who of two that is, only people know.
 * @throws ShoalError ERR_LIMIT
 */
function checkIsLast(roster: Roster, key: Uint8Array, now: number): void {
  const lines = roster.lines(now)
  const rival = lines.livingWith(key).find((other) => other !== hex(key) && !lines.isBefore(other, hex(key)))
  if (rival === undefined) return
  const peerId = peerIdOfHex(rival)
  throw new ShoalError('ERR_LIMIT', `another key is in the place of this one: ${peerId}`, {
    hint: `If that is not this member's machine: \`shoal kick ${peerId}\`, and then once more.`,
  })
}

/** So many keys of one inviter's guests may have been followed lately without ending themselves … */
const maxUnended = 8
/** … and of one guest: nobody needs more who says what is over, and nobody takes all of them from the others. */
const maxUnendedOfLine = 2

/**
 * An inviter makes up guests as it likes, and each could have a place of an administrator used up by changing its key, and not saying
 * itself that the one before is over. So many in 30 days are fewer than one administrator's places in the time that each of these is taken.
 * @throws ShoalError ERR_LIMIT
 */
function checkInviterHasPlaces(members: Members, old: Uint8Array): void {
  const { roster, now } = members
  const lines = roster.lines(now)
  const inviter = provenInviter(roster, old, now)
  if (lines.isVouching(roster.certificateOf(old, now), inviter)) return
  const unended = unendedOf(members, inviter)
  const own = unended.filter((key) => lines.isSame(key, old))
  if (own.length < maxUnendedOfLine && unended.length < maxUnended) return
  const [count, whose] =
    own.length < maxUnendedOfLine
      ? [unended.length, `whom ${peerIdOf(inviter)} has let in`]
      : [own.length, 'of this member']
  throw new ShoalError('ERR_LIMIT', `${count} keys ${whose} were followed lately and have not ended themselves`, {
    hint: 'An administrator lets this machine in anew, `shoal invite`, or shuts out whose keys they are: `shoal kick ID`, or `shoal kick --issued ID` for who has let them in.',
  })
}

/** The keys of an inviter's guests that were followed lately and have not said that they are over; not of those who were kicked, and are nobody any more. */
function unendedOf(members: Members, inviter: Uint8Array): Uint8Array[] {
  const { roster, now } = members
  const lines = roster.lines(now)
  const kicked = new Set(roster.kickedKeys().map(hex))
  const isKicked = (key: Uint8Array): boolean =>
    lines.livingWith(key).length === 0 &&
    lines.of(key).some((line) => lines.keysOf(line).some((one) => kicked.has(one)))
  const recent = lines.following().filter(({ body }) => body.notBefore > now - lifetimeMs)
  const theirs = recent.filter(({ body }) => lines.isSame(body.invitedBy, inviter))
  const former = new Set(
    theirs.flatMap(({ body: { follows } }) => (follows === undefined ? [] : [hex(before(follows))])),
  )
  return [...former].map(bytesOf).filter((key) => {
    const code = members.objectionTo(peerIdOf(key))?.code
    const hasSaidSo = roster.revocationsBy(key).some(({ body }) => isLeave(body))
    return !hasSaidSo && (code === undefined || code === 'ERR_REVOKED') && !isKicked(key)
  })
}

/**
 * Shuts out the keys that have said that this one follows them and have not ended themselves, now that it is in use. Only administrators
 * can; they do not wait for what the old key says of itself, because whoever keeps it does not say it.
 * @throws ShoalError ERR_LIMIT, when there is no place for all of it; as `Roster.verify` and `Members.say`
 */
export async function endBefore(members: Members, key: Uint8Array): Promise<void> {
  const { roster, now } = members
  roster.verify(key, now)
  await end(members, roster.lines(now).handedBy(key).map(bytesOf))
}

/**
 * Shuts out those of these keys that have said themselves that another one comes after them, in whatever state that is.
 * @throws ShoalError as `endBefore`
 */
export async function endGivenUp(members: Members, keys: readonly Uint8Array[]): Promise<void> {
  const lines = members.roster.lines(members.now)
  await end(
    members,
    keys.filter((key) => lines.hasHandedOver(key)),
  )
}

/** So long a node may not have heard yet that its next key was certified. */
const hearingMs = 10 * 60_000

/**
 * Whether a key that asks for new dates has said which one, that is a member's, comes after it: its owner has no use for any. Unless that
 * is news, the one that asks is shut out.
 * @throws ShoalError as `endBefore`
 */
export async function endFollowed(members: Members, key: Uint8Array): Promise<boolean> {
  const { roster, now } = members
  const lines = roster.lines(now)
  const heirs = lines.handedTo(key)
  const isOld = heirs.flatMap((heir) => lines.certificatesOf(heir)).some(({ body }) => now - body.notBefore > hearingMs)
  if (isOld) await end(members, [key])
  return heirs.length > 0
}

/** Whether this node can shut out keys of others. */
export function mayEnd(members: Members): boolean {
  return members.own().body.roles.includes('admin')
}

/** Never with the root key: what that has said nobody takes back, and this is said without a person. */
async function end(members: Members, olds: readonly Uint8Array[]): Promise<void> {
  const isLeft = (old: Uint8Array): boolean =>
    members.roster.latestOf(old) !== undefined && members.objectionTo(peerIdOf(old))?.code !== 'ERR_REVOKED'
  const left = olds.filter(isLeft)
  if (left.length === 0 || !mayEnd(members)) return
  const issuer = members.issuer()
  try {
    await members.say(left.map((old) => revoke(issuer, { kind: 'key', key: old }, 'rekeyed', members.now)))
  } catch (error) {
    if (codeOf(error) !== 'ERR_ROSTER_FULL') throw error
    throw new ShoalError('ERR_LIMIT', 'too many keys were shut out because others came after them', { cause: error })
  }
}

const bytesOf = (key: string): Uint8Array => new Uint8Array(Buffer.from(key, 'hex'))
