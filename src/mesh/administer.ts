import { randomBytes } from 'node:crypto'
import { codeOf, ShoalError } from '../base/errors.ts'
import { type Certificate, type Issuer, mayGrant, type Role, roleOrder } from './certificate.ts'
import { meshKeyOf } from './genesis.ts'
import { createInvite, inviteSecretBytes } from './invite.ts'
import { encodeInviteLink } from './invite-link.ts'
import { kick } from './kick.ts'
import type { MemberView } from './member-view.ts'
import type { Members } from './members.ts'
import { keyOf, serial } from './members.ts'
import { checkMayReissue, reissue } from './people.ts'
import { leave, type Revocation } from './revocation.ts'
import { sameBytes } from './statement.ts'

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
 * @param addresses multiaddrs at which the newcomer finds a member
 * @returns the link; all members know of the invitation, so any inviter among them can let the newcomer in
 * @throws ShoalError ERR_ROLE when this node may not
 */
export async function invite(members: Members, grant: Grant, addresses: readonly string[]): Promise<string> {
  checkMayGrant(members.issuer(), grants[grant], `invite a ${grant}`)
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
    addresses: [...addresses],
  })
}

/**
 * The one member that somebody means: by its peerId, else by its name or the end of its peerId (at least six letters).
 * @throws ShoalError ERR_USAGE for none, or several
 */
export function memberCalled(members: Members, text: string): MemberView {
  const [first] = called(members.roster.members(members.now), text)
  if (first !== undefined) return first
  throw new ShoalError('ERR_USAGE', `no member is called ${text}`, { hint: '`shoal peers` lists them.' })
}

/**
 * Whom to shut out: also one whose certificate has run out, who has left or was shut out before, because the key can still
 * sign; and any peerId, because a certificate for it may come.
 * @throws ShoalError ERR_USAGE for none, or several
 */
export function keyCalled(members: Members, text: string): Pick<MemberView, 'key' | 'peerId' | 'name'> {
  const { roster, now } = members
  const [first] = [...called(roster.members(now), text), ...called(roster.known(now), text)]
  const key = first?.key ?? readPeerId(text)
  if (key === undefined) return memberCalled(members, text)
  return first ?? { key, peerId: text, name: text }
}

/** @throws ShoalError ERR_USAGE for several */
function called(all: readonly MemberView[], text: string): MemberView[] {
  // Names are anybody's choice, also one that is another member's peerId.
  const exact = all.filter(({ peerId }) => peerId === text)
  if (exact.length > 0) return exact
  const isShort = text.length >= 6
  const matches = all.filter(({ name, peerId }) => name === text || (isShort && peerId.endsWith(text)))
  if (matches.length <= 1) return matches
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
 * Shuts a key out everywhere and for ever, at once; then takes from it the power to let others in.
 * @param issued also everybody whom it has let in
 * @returns those members besides it who are out too, although they need not be: nobody here could sign for them
 * @throws ShoalError ERR_ROLE, ERR_USAGE for this node itself
 */
export async function kickMember(
  members: Members,
  { key }: Pick<MemberView, 'key'>,
  issued: boolean,
): Promise<MemberView[]> {
  if (sameBytes(key, members.key)) {
    throw new ShoalError('ERR_USAGE', 'that is this machine', { hint: 'Use `shoal leave`.' })
  }
  const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length))
  const { roster } = members
  const before = issued ? [] : roster.members(members.now).filter((member) => !sameBytes(member.key, key))
  const batch: (Certificate | Revocation)[] = []
  for (const statement of kick({ roster, issuer: members.highestIssuer(), random }, key, { issued }, members.now)) {
    const isKick = isAbout(statement, key)
    if (!isKick) batch.push(statement)
    if (isKick || batch.length >= kickBatch) await sayAsFits(members, batch.splice(0))
    if (isKick) await members.say([statement])
  }
  const after = new Set(roster.members(members.now).map(({ peerId }) => peerId))
  return before.filter(({ peerId }) => !after.has(peerId))
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
 * @throws ShoalError ERR_ROLE when this node may not, or the member is as much already
 */
export async function promote(members: Members, member: MemberView, grant: Grant): Promise<void> {
  const more: readonly Role[] = grants[grant]
  checkMayGrant(members.highestIssuer(), [...member.roles, ...more], `make ${member.name} ${grant}`)
  if (more.every((role) => member.roles.includes(role))) {
    throw new ShoalError('ERR_USAGE', `${member.name} is ${grant} already`)
  }
  const { roster, now } = members
  const certificate = roster.certificateOf(member.key, now)
  const roles = [...member.roles, ...more]
  const named = { ...certificate, body: { ...certificate.body, name: member.name, roles } }
  checkMayReissue(roster, members.highestIssuer(), member.key, now)
  await members.say([reissue(roster, named, members.highestIssuer(), now, serial())])
}

/** Says in advance, and in words, what every other member would refuse. @throws ShoalError ERR_ROLE */
function checkMayGrant({ certificate }: Issuer, roles: readonly Role[], what: string): void {
  const granting = certificate?.body.roles ?? roleOrder
  if (roles.every((role) => mayGrant(granting, role))) return
  const own = granting.findLast((role) => role !== 'lender') ?? 'member'
  throw new ShoalError('ERR_ROLE', `this machine is ${own} and may not ${what}`, {
    hint: 'Let an administrator do it, or make this machine one: `shoal promote NAME`; `shoal peers` says who is what.',
  })
}

/** This node takes itself out. Whom it let in stays. Its key has to be destroyed afterwards. */
export async function leaveMesh(members: Members): Promise<void> {
  await members.say([leave(members.issuer(), members.now)])
}
