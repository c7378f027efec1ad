import { randomBytes } from 'node:crypto'
import { ShoalError } from '../base/errors.ts'
import { type Issuer, issueCertificate, mayGrant, type Role, roleOrder } from './certificate.ts'
import { meshKeyOf } from './genesis.ts'
import { createInvite, inviteSecretBytes } from './invite.ts'
import { encodeInviteLink } from './invite-link.ts'
import { kick } from './kick.ts'
import type { Members } from './members.ts'
import { serial } from './members.ts'
import { leave } from './revocation.ts'
import type { MemberView } from './roster.ts'
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
 * The one member that somebody means: by its name, its peerId, or the end of its peerId (at least six letters).
 * @throws ShoalError ERR_USAGE for none, or several
 */
export function memberCalled(members: Members, text: string): MemberView {
  const all = members.roster.members(members.now)
  const isShort = text.length >= 6
  const matches = all.filter(
    ({ name, peerId }) => name === text || peerId === text || (isShort && peerId.endsWith(text)),
  )
  const [first] = matches
  if (first === undefined) {
    throw new ShoalError('ERR_USAGE', `no member is called ${text}`, { hint: '`shoal peers` lists them.' })
  }
  if (matches.length > 1) {
    const ids = matches.map(({ peerId }) => peerId.slice(-8)).join(', ')
    throw new ShoalError('ERR_USAGE', `${matches.length} members are called ${text}`, { hint: `Use the id: ${ids}.` })
  }
  return first
}

/**
 * Shuts a member out everywhere and for ever.
 * @param issued also everybody whom it has let in
 * @throws ShoalError ERR_ROLE, ERR_USAGE for this node itself
 */
export async function kickMember(members: Members, { key }: Pick<MemberView, 'key'>, issued: boolean): Promise<void> {
  if (sameBytes(key, members.key)) {
    throw new ShoalError('ERR_USAGE', 'that is this machine', { hint: 'Use `shoal leave`.' })
  }
  const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length))
  const needs = { roster: members.roster, issuer: members.highestIssuer(), random }
  await members.say(kick(needs, key, { issued }, members.now))
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
  const { key: subject, name, invitedBy } = member
  const roles = [...member.roles, ...more]
  const { invite: used } = members.roster.certificateOf(subject, members.now).body
  const init = { subject, name, roles, invite: used, invitedBy, serial: serial() }
  await members.say([issueCertificate(members.highestIssuer(), init, members.now)])
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
