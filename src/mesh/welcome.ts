import type { Clock } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'
import { mayGrant } from './certificate.ts'
import { decodeGenesis, type Genesis } from './genesis.ts'
import {
  decodeOffer,
  decodeRosterPart,
  decodeWelcome,
  encodeOffer,
  encodeRosterPart,
  encodeWelcome,
  maxAnswerBytes,
  maxRosterMessages,
  statementsPerMessage,
} from './join-messages.ts'
import type { Members } from './members.ts'
import { Roster } from './roster.ts'
import type { Talk } from './talk.ts'

/** What makes a machine a member. */
export interface Joined {
  genesis: Genesis
  secret: Uint8Array
  /** With this node's certificate in it. */
  roster: Roster
}

/** Says which mesh this is, and that this node may let others in. @throws ShoalError as `Members.issuer` */
export function sendOffer(talk: Talk, members: Members): void {
  talk.send(encodeOffer({ genesis: members.genesis.bytes, certificate: members.issuer().certificate.bytes }))
}

/** The last that a newcomer is told: secret, its certificate, and who else belongs to the mesh. */
export function sendWelcome(talk: Talk, members: Members, secret: Uint8Array, certificate: Uint8Array): void {
  talk.send(encodeWelcome({ secret, certificate }))
  sendRoster(talk, members)
}

/** Says who belongs to the mesh. */
export function sendRoster(talk: Talk, members: Members): void {
  const { roster } = members
  // In the order of all: what makes others void is in the first parts.
  const all = roster.bytesOf(roster.ids(members.now))
  for (let at = 0; at < all.length || at === 0; at += statementsPerMessage) {
    const end = at + statementsPerMessage
    talk.send(encodeRosterPart({ statements: all.slice(at, end), last: end >= all.length }))
  }
}

/**
 * Takes an offer, and looks whether the one at the other end may let anybody in.
 * @param mesh the first 16 bytes of the id that the genesis must have
 * @throws ShoalError ERR_OTHER_MESH, ERR_ROLE, ERR_DECODE, or as the other side refuses
 */
export async function receiveOffer(
  talk: Talk,
  clock: Clock,
  expected: { mesh: Uint8Array; inviter: Uint8Array },
): Promise<Roster> {
  const offer = decodeOffer(await talk.receive(maxAnswerBytes))
  const roster = new Roster(decodeGenesis(offer.genesis, expected.mesh))
  const { roles } = roster.admit(offer.certificate, expected.inviter, clock.wall())
  if (!mayGrant(roles, 'member')) throw new ShoalError('ERR_ROLE', 'the member at this address may not let anybody in')
  return roster
}

/** Takes a welcome. @throws ShoalError ERR_DECODE, ERR_NOT_MEMBER when it is none for `subject`, or as the other side refuses */
export async function receiveWelcome(talk: Talk, clock: Clock, roster: Roster, subject: Uint8Array): Promise<Joined> {
  const { secret, certificate } = decodeWelcome(await talk.receive(maxAnswerBytes))
  roster.admit(certificate, subject, clock.wall())
  const all = await receiveRoster(talk)
  // The other side does not wait for this: for thousands of them it takes seconds.
  for (const bytes of all) takeIn(roster, bytes, clock.wall())
  roster.verify(subject, clock.wall())
  return { genesis: roster.genesis, secret, roster }
}

/** All that the other side knows of who belongs to the mesh. @throws ShoalError ERR_DECODE, or as the other side refuses */
export async function receiveRoster(talk: Talk): Promise<Uint8Array[]> {
  const all: Uint8Array[] = []
  for (let part = 0; part < maxRosterMessages; part++) {
    const { statements, last } = decodeRosterPart(await talk.receive(maxAnswerBytes))
    all.push(...statements)
    if (last) break
  }
  return all
}

/** What is out of date here, or no statement, is no reason not to join. */
export function takeIn(roster: Roster, bytes: Uint8Array, now: number): void {
  try {
    roster.add(bytes, now)
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
  }
}
