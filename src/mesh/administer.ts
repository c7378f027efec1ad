import { randomBytes } from 'node:crypto'
import { codeOf, ShoalError } from '../base/errors.ts'
import { type Certificate, chainOf, type Issuer, mayGrant, type Role, roleOrder } from './certificate.ts'
import type { SigningKey } from './ed25519.ts'
import { meshKeyOf } from './genesis.ts'
import { heirsOf } from './heirs.ts'
import { createInvite, inviteSecretBytes } from './invite.ts'
import { encodeInviteLink, makerOf } from './invite-link.ts'
import { disarm, type KickOptions, shutOut, standingWithout } from './kick.ts'
import { maxLiving } from './lines.ts'
import type { MemberView } from './member-view.ts'
import type { Members } from './members.ts'
import { keyOf, peerIdOf, serial } from './members.ts'
import { checkMayReissue, reissue } from './people.ts'
import { ranked } from './ranking.ts'
import { leave, type Revocation } from './revocation.ts'
import { rosterLimits } from './roster-places.ts'
import { hex, sameBytes } from './statement.ts'
import { endGivenUp } from './successor.ts'

/** What people may grant by one word; each has what is before it as well. */
export const grants = {
  member: ['member', 'lender'],
  ci: ['member', 'lender', 'ci'],
  inviter: ['member', 'lender', 'inviter'],
  admin: ['member', 'lender', 'inviter', 'admin'],
} as const satisfies Record<string, readonly Role[]>
export type Grant = keyof typeof grants

/**
 * Invites one machine, for a day.
 * @param addresses multiaddrs at which the newcomer finds this node
 * @returns the link
 * @throws ShoalError ERR_ROLE when this node may not
 */
export async function invite(members: Members, grant: Grant, addresses: readonly string[]): Promise<string> {
  checkMay(members.issuer(), grants[grant], `invite a ${grant}`)
  const secret = new Uint8Array(randomBytes(inviteSecretBytes))
  const { genesis } = members
  const statement = createInvite(members.issuer(), { secret, roles: grants[grant] }, members.now)
  await members.say([statement])
  const { invite: id } = statement.body
  return encodeInviteLink({
    mesh: meshKeyOf(genesis),
    invite: id,
    secret,
    name: genesis.body.name,
    key: makerOf(members.key),
    addresses: [...addresses],
  })
}

/**
 * The one member that somebody means: by its peerId, else by its name or the end of its peerId (at least six letters). Of one whose next
 * key waits for its next start, the key that is in use.
 * @throws ShoalError ERR_USAGE for none, or several
 */
export function memberCalled(members: Members, text: string): MemberView {
  const [first] = called(members, members.roster.members(members.now), text)
  if (first !== undefined) return first
  throw new ShoalError('ERR_USAGE', `no member is called ${text}`, { hint: '`shoal peers` lists them.' })
}

type KeyView = Pick<MemberView, 'key' | 'peerId' | 'name'>

/** Whom to shut out. */
export interface Meant extends KeyView {
  /** Keys of the same member that go with this one. */
  others: KeyView[]
}

/**
 * Whom to shut out: also one whose certificate has run out, who has left or was shut out before, because the key can still
 * sign; and any peerId, because a certificate for it may come. With a name go all keys of the member, with a key those that it has
 * said come after it: whoever is shut out must not be back after the next start. What comes before a key stays: that may be what it was
 * stolen from. A key after which this machine's own comes is meant alone.
 * @throws ShoalError ERR_USAGE for none, several, or this machine
 */
export function keyCalled(members: Members, text: string): Meant {
  const { roster, now } = members
  const living = called(members, roster.members(now), text)
  // What was said of members and counts no more, as their names, is not what they are called.
  const over = roster.known(now).filter(({ peerId }) => members.objectionTo(peerId) !== undefined)
  const found = living.length > 0 ? living : called(members, over, text)
  const key = found[0]?.key ?? readPeerId(text)
  if (key === undefined) return { ...memberCalled(members, text), others: [] }
  const [first = { key, peerId: text, name: text }, ...more] = found
  const isSelf = (one: KeyView): boolean => sameBytes(one.key, members.key)
  if ([first, ...more].some(isSelf))
    throw thatIsHere(more.length > 0 ? [first, ...more].filter((one) => !isSelf(one)) : [])
  // What is over by now was handed over to somebody who is not meant.
  const next = living.flatMap((one) => heirsOf(members, one.key))
  const all = [...more, ...(next.some(isSelf) ? [] : next)]
  const others = new Map(all.map((one) => [one.peerId, one]))
  others.delete(first.peerId)
  return { ...first, others: [...others.values()] }
}

/** @param before other keys of this machine that have its name */
function thatIsHere(before: readonly KeyView[]): ShoalError {
  const [one] = before
  const more = one === undefined ? '' : ` Of a key that it had before: \`shoal kick ${one.peerId}\`.`
  return new ShoalError('ERR_USAGE', 'that is this machine', {
    hint: `To take it out of the mesh: \`shoal leave\`.${more}`,
  })
}

/** Several if they are keys of one member, one after the other. @throws ShoalError ERR_USAGE for several members */
function called(members: Members, all: readonly MemberView[], text: string): MemberView[] {
  // Names are anybody's choice, also one that is another member's peerId.
  const exact = all.filter(({ peerId }) => peerId === text)
  if (exact.length > 0) return exact
  const isShort = text.length >= 6
  const matches = all.filter(({ name, peerId }) => name === text || (isShort && peerId.endsWith(text)))
  const lines = members.roster.lines(members.now)
  const after = new Map(matches.map(({ key, peerId }) => [peerId, heirsOf(members, key).map((next) => next.peerId)]))
  const isOver = ({ peerId }: MemberView): boolean => members.objectionTo(peerId) !== undefined
  const isAfter = (a: MemberView, b: MemberView): boolean =>
    isOver(a) ? lines.handedBy(a.key).includes(hex(b.key)) : after.get(b.peerId)?.includes(a.peerId) === true
  const isOne = matches.every((a) => matches.every((b) => a === b || isAfter(a, b) || isAfter(b, a)))
  if (isOne) return matches.toSorted((a, b) => Number(isAfter(a, b)) - Number(isAfter(b, a)))
  const ids = matches.map(({ peerId }) => peerId.slice(-8)).join(', ')
  throw new ShoalError('ERR_USAGE', `${matches.length} members are called ${text}`, { hint: `Use the id: ${ids}.` })
}

function readPeerId(text: string): Uint8Array | undefined {
  try {
    return keyOf(text)
  } catch (error) {
    // Whatever it is, it is no peerId.
    if (error instanceof Error) return undefined
    throw error
  }
}

/** So many statements are written and told at once, before the next are signed. */
const kickBatch = 32

/**
 * Shuts keys out everywhere and for ever, at once; then takes from them the power to let others in.
 * @param meant a key, and others that go with it: none by default. More than a member can have are forged: none of those is shut out by
 *   itself, but what the key has let in of them goes with it
 * @param issued also everybody whom they have let in
 * @param more who is going to be kicked as well
 * @returns those members besides them who are out too, although they need not be: nobody here could sign for them
 * @throws ShoalError ERR_ROLE, ERR_USAGE for this node itself
 */
export async function kickMember(
  members: Members,
  { key, others = [] }: Pick<KeyView, 'key'> & { others?: readonly Pick<KeyView, 'key'>[] },
  issued: boolean,
  more: readonly Pick<KeyView, 'key'>[] = [],
): Promise<MemberView[]> {
  const all = [key, ...others.map((one) => one.key)]
  const isMeant = (one: Uint8Array): boolean => all.some((meant) => sameBytes(one, meant))
  const isWanted = (one: Uint8Array): boolean => !isMeant(one) && !more.some((other) => sameBytes(one, other.key))
  if (isMeant(members.key)) throw thatIsHere([])
  checkMay(members.highestIssuer(), ['admin'], 'shut anybody out')
  const { roster } = members
  const were = issued ? [] : roster.members(members.now).filter((member) => !isMeant(member.key))
  const keys = all.length > maxLiving ? [key] : all
  // Of a key that somebody has given up, and kicks now for safety, is said that it is over and no more: who comes after it is to stay.
  const lines = roster.lines(members.now)
  const hasHeir = (one: Uint8Array): boolean => lines.handedTo(one).some((heir) => isWanted(bytesOf(heir)))
  const options = { issued, without: all, alone: keys.filter(hasHeir) }
  await shutOutAs(members, members.highestIssuer(), keys, options)
  if (issued) for (const one of keys) await kickGuests(members, one)
  const after = new Set(roster.members(members.now).map(({ peerId }) => peerId))
  return were.filter(({ peerId }) => !after.has(peerId))
}

async function shutOutAs(
  members: Members,
  by: Issuer,
  keys: readonly Uint8Array[],
  options: KickOptions,
): Promise<void> {
  const { roster } = members
  const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length))
  const needs = { roster, issuer: standingWithout(roster, by, keys, members.now), random }
  const ended = keysEndedBy(members, keys)
  // First that they are out: how long the rest takes is up to them.
  for (const kicked of shutOut(needs, keys, options, members.now)) await members.say([kicked])
  await disarmKeys(members, disarm(needs, keys, options, members.now), keys)
  await endAgain(members, ended)
}

/** The keys that these have ended because others came after them. */
function keysEndedBy({ roster }: Members, keys: readonly Uint8Array[]): Uint8Array[] {
  const said = keys.flatMap((key) => roster.revocationsBy(key)).filter(({ body }) => body.reason === 'rekeyed')
  return said.flatMap(({ body: { target, issuer } }) =>
    target.kind === 'key' && !sameBytes(target.key, issuer) ? [target.key] : [],
  )
}

/** What a thief has said beside others goes with the thief, and for each key there is one that says it: so it is said again. */
async function endAgain(members: Members, ended: readonly Uint8Array[]): Promise<void> {
  try {
    await endGivenUp(members, ended)
  } catch (error) {
    // The kick has come through. What is left shows among the members, and can be kicked.
    if (codeOf(error) !== 'ERR_LIMIT') throw error
  }
}

/**
 * The members whom one has let in, as all administrators say that have signed for them since: what the one who let them in has signed is
 * no more than its own word. But for this node, and those on whom it stands.
 */
export function guestsOf(members: Members, key: Uint8Array): MemberView[] {
  const { roster, now } = members
  const lines = roster.lines(now)
  const above = [members.key, ...chainOf(members.issuer()).map(({ body }) => body.subject)]
  // By their own word: an administrator's key that was stolen could say that anybody's line is this one.
  const theirs = new Set([hex(key), ...lines.handedBy(key)])
  return roster.members(now).filter((member) => {
    const said = lines.byAdministrators(lines.certificatesOf(hex(member.key)))
    const isGuest = said.length > 0 && said.every(({ body }) => theirs.has(hex(body.invitedBy)))
    return isGuest && !above.some((other) => lines.isSame(other, member.key))
  })
}

/** So many revocations of its own a node that has not the root key leaves for others to be kicked. */
const reserved = 128

function hasPlaces({ roster }: Members, { certificate, key }: Issuer): boolean {
  const said = roster.revocationsBy(key.publicKey).filter(({ body }) => body.reason !== 'rekeyed')
  return certificate === undefined || said.length < rosterLimits.shares.orders.own - reserved
}

/** Also those who have another's certificate by now; as many as there are places to spare. @throws ShoalError as `kickMember` */
async function kickGuests(members: Members, key: Uint8Array): Promise<void> {
  const guests = guestsOf(members, key)
  for (const guest of guests) {
    if (!hasPlaces(members, members.highestIssuer())) return
    if (members.objectionTo(guest.peerId) === undefined) await kickMember(members, guest, true, guests)
  }
}

async function disarmKeys(
  members: Members,
  statements: Iterable<Certificate | Revocation>,
  keys: readonly Uint8Array[],
): Promise<void> {
  const batch: (Certificate | Revocation)[] = []
  for (const statement of statements) {
    const isLast = keys.some((key) => isAbout(statement, key))
    if (!isLast) batch.push(statement)
    if (isLast || batch.length >= kickBatch) await sayAsFits(members, batch.splice(0))
    if (isLast) await members.say([statement])
  }
}

/** Says as many as there is room for: a kick has to come through. */
async function sayAsFits(members: Members, statements: readonly (Certificate | Revocation)[]): Promise<void> {
  try {
    if (statements.length > 0) await members.say(statements)
  } catch (error) {
    if (codeOf(error) !== 'ERR_ROSTER_FULL') throw error
    // Some of them were taken in and have to be told.
    const fitting = statements.filter(({ id }) => members.roster.missing([id]).length === 0)
    await members.say(fitting)
  }
}

function isAbout({ body }: Certificate | Revocation, key: Uint8Array): boolean {
  return 'target' in body && body.target.kind !== 'invite' && sameBytes(body.target.key, key)
}

/**
 * Gives a member more rights than it has.
 * @throws ShoalError ERR_ROLE when this node may not, or its word would not count; ERR_USAGE when the member is as much already
 */
export async function promote(members: Members, member: MemberView, grant: Grant): Promise<void> {
  const more: readonly Role[] = grants[grant]
  checkMay(members.highestIssuer(), [...member.roles, ...more], `make ${member.name} ${grant}`)
  if (more.every((role) => member.roles.includes(role))) {
    throw new ShoalError('ERR_USAGE', `${member.name} is ${grant} already`)
  }
  const { roster, now } = members
  const certificate = roster.certificateOf(member.key, now)
  const roles = [...member.roles, ...more]
  const named = { ...certificate, body: { ...certificate.body, name: member.name, roles } }
  checkMayReissue(roster, members.highestIssuer(), member.key, now)
  const issued = reissue(roster, named, members.highestIssuer(), now, serial())
  if (ranked([certificate, issued], roster.lines(now))[0] !== issued) {
    throw new ShoalError(
      'ERR_ROLE',
      `what ${member.name} has is of somebody nearer to the root, and goes before that`,
      {
        hint: 'Promote it where the root key is, or on the machine of who has let it in.',
      },
    )
  }
  await members.say([issued])
}

/** Says in advance, and in words, what every other member would refuse. @throws ShoalError ERR_ROLE */
function checkMay({ certificate }: Issuer, roles: readonly Role[], what: string): void {
  const granting = certificate?.body.roles ?? roleOrder
  if (roles.every((role) => mayGrant(granting, role))) return
  const own = granting.findLast((role) => role !== 'lender') ?? 'member'
  throw new ShoalError('ERR_ROLE', `this machine is ${own} and may not ${what}`, {
    hint: 'Let an administrator do it, or make this machine one: `shoal promote NAME`; `shoal peers` says who is what.',
  })
}

/**
 * This node takes itself out. Whom it let in stays. Its keys have to be destroyed afterwards.
 * @param next the key that was to follow its own: where that is a member's by now, it goes as well
 */
export async function leaveMesh(members: Members, next?: SigningKey): Promise<void> {
  const { genesis, roster, now } = members
  if (next !== undefined && members.objectionTo(peerIdOf(next.publicKey)) === undefined) {
    const issuer = { genesis, key: next, certificate: roster.certificateOf(next.publicKey, now) }
    // Where there is no place for both, that of the key in use counts more.
    await sayAsFits(members, [leave(issuer, now)])
  }
  await members.say([leave(members.issuer(), now)])
}

const bytesOf = (key: string): Uint8Array => new Uint8Array(Buffer.from(key, 'hex'))
