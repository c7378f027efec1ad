import { encode } from '@ipld/dag-cbor'
import { z } from 'zod'
import { type ErrorCode, isErrorCode, ShoalError } from '../base/errors.ts'
import { decodeCbor } from '../wire/cbor.ts'
import { inviteIdBytes } from './certificate.ts'
import { maxStatements } from './roster-places.ts'
import { bytesOf, maxStatementBytes, meshBytes, nameSchema } from './statement.ts'

/** What a newcomer and an inviter say to each other, in this order: ask, offer, proof, welcome, rosters. See membership.md. */

/** Longest message of a newcomer. */
export const maxAskBytes = 1024
/** Longest message of an inviter. */
export const maxAnswerBytes = 64 * 1024
/** Statements of a roster in one message: so many fit, however long they are. */
export const statementsPerMessage = 28
export const maxRosterMessages = Math.ceil(maxStatements / statementsPerMessage)

export interface Ask {
  mesh: Uint8Array
  invite: Uint8Array
}

export interface Offer {
  genesis: Uint8Array
  /** Of the inviter. */
  certificate: Uint8Array
}

export interface Proof {
  /** See encodeProof(). */
  proof: Uint8Array
  /** What the newcomer calls itself. */
  name: string
}

export interface Welcome {
  /** The mesh's secret. */
  secret: Uint8Array
  /** The newcomer's. */
  certificate: Uint8Array
}

export interface RosterPart {
  statements: Uint8Array[]
  last: boolean
}

/** The bytes of one, of which nothing is known yet. */
export const statement = z.instanceof(Uint8Array).refine((bytes) => bytes.length <= maxStatementBytes)
const v = z.literal(1)
const shapes = {
  ask: z.strictObject({ v, mesh: bytesOf(meshBytes), invite: bytesOf(inviteIdBytes) }),
  offer: z.strictObject({ v, genesis: statement, certificate: statement }),
  proof: z.strictObject({ v, proof: z.instanceof(Uint8Array).refine(({ length }) => length <= 512), name: nameSchema }),
  welcome: z.strictObject({ v, secret: bytesOf(32), certificate: statement }),
  roster: z.strictObject({ v, statements: z.array(statement).max(statementsPerMessage), last: z.boolean() }),
}
const refusal = z.strictObject({ v, refused: z.string().min(1).max(64) })

export const encodeAsk = (ask: Ask): Uint8Array => encode({ v: 1, ...ask })
export const encodeOffer = (offer: Offer): Uint8Array => encode({ v: 1, ...offer })
export const encodeJoinProof = (proof: Proof): Uint8Array => encode({ v: 1, ...proof })
export const encodeWelcome = (welcome: Welcome): Uint8Array => encode({ v: 1, ...welcome })
export const encodeRosterPart = (part: RosterPart): Uint8Array => encode({ v: 1, ...part })
/** Takes the place of whatever an inviter would have said. */
export const encodeRefusal = (refused: ErrorCode): Uint8Array => encode({ v: 1, refused })

/** @throws ShoalError ERR_DECODE */
export function decodeAsk(bytes: Uint8Array): Ask {
  return decodeCbor(bytes, shapes.ask, maxAskBytes)
}

/** @throws ShoalError ERR_DECODE */
export function decodeJoinProof(bytes: Uint8Array): Proof {
  return decodeCbor(bytes, shapes.proof, maxAskBytes)
}

/** @throws ShoalError ERR_DECODE, or with the code of the refusal */
export function decodeOffer(bytes: Uint8Array): Offer {
  return answered(bytes, shapes.offer)
}

/** @throws ShoalError ERR_DECODE, or with the code of the refusal */
export function decodeWelcome(bytes: Uint8Array): Welcome {
  return answered(bytes, shapes.welcome)
}

/** @throws ShoalError ERR_DECODE, or with the code of the refusal */
export function decodeRosterPart(bytes: Uint8Array): RosterPart {
  return answered(bytes, shapes.roster)
}

/** A message of a member, in place of which it can refuse. @throws ShoalError ERR_DECODE, or with the code of the refusal */
export function answered<T>(bytes: Uint8Array, shape: z.ZodType<T>): T {
  const answer = decodeCbor<T | z.output<typeof refusal>>(bytes, z.union([shape, refusal]), maxAnswerBytes)
  if (!isRefusal(answer)) return answer
  const { refused } = answer
  const hint =
    refused === 'ERR_LIMIT' ? { hint: 'Too many come at once. Try again in a minute; the link stays good.' } : {}
  throw new ShoalError(isErrorCode(refused) ? refused : 'ERR_INVITE', 'the mesh does not let this machine in', hint)
}

function isRefusal(answer: unknown): answer is z.output<typeof refusal> {
  return typeof answer === 'object' && answer !== null && 'refused' in answer
}
