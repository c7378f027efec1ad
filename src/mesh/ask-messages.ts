import { encode } from '@ipld/dag-cbor'
import { z } from 'zod'
import { type ErrorCode, isErrorCode, ShoalError } from '../base/errors.ts'
import { decodeCbor } from '../wire/cbor.ts'
import { nonceBytes } from './short-code.ts'
import { bytesOf, meshBytes, nameSchema } from './statement.ts'

/**
 * What a newcomer without a link says to a member that may let others in, and what that answers. Each connection begins with one
 * `Request`; see membership.md.
 */

/** Longest message of a newcomer. */
export const maxRequestBytes = 512
/** Longest answer, but for those by which a newcomer becomes a member. */
export const maxReplyBytes = 512

export type Request =
  /** Which mesh is this? */
  | { ask: 'look' }
  /** May I come in? The answer is a nonce. */
  | { ask: 'code'; commitment: Uint8Array; name: string }
  /** Has anybody approved? */
  | { ask: 'poll' }
  /** Of an open mesh: let me in. */
  | { ask: 'enter'; name: string }

/** All that a stranger is told of a mesh. */
export interface MeshSign {
  mesh: Uint8Array
  name: string
  open: boolean
}

const v = z.literal(1)
const requestSchema = z.discriminatedUnion('ask', [
  z.strictObject({ v, ask: z.literal('look') }),
  z.strictObject({ v, ask: z.literal('code'), commitment: bytesOf(32), name: nameSchema }),
  z.strictObject({ v, ask: z.literal('poll') }),
  z.strictObject({ v, ask: z.literal('enter'), name: nameSchema }),
])
const signSchema = z.strictObject({ v, mesh: bytesOf(meshBytes), name: nameSchema, open: z.boolean() })
const nonceSchema = z.strictObject({ v, nonce: bytesOf(nonceBytes) })
const stateSchema = z.strictObject({ v, approved: z.boolean() })
const refusalSchema = z.strictObject({ v, refused: z.string().min(1).max(64) })

export const encodeRequest = (request: Request): Uint8Array => encode({ v: 1, ...request })
export const encodeSign = ({ mesh, name, open }: MeshSign): Uint8Array => encode({ v: 1, mesh, name, open })
export const encodeNonce = (nonce: Uint8Array): Uint8Array => encode({ v: 1, nonce })
/** Whether somebody has said yes: then what makes a newcomer a member follows. */
export const encodeState = (approved: boolean): Uint8Array => encode({ v: 1, approved })
export const encodeAskRefusal = (refused: ErrorCode): Uint8Array => encode({ v: 1, refused })

/** @throws ShoalError ERR_DECODE */
export function decodeRequest(bytes: Uint8Array): Request {
  return decodeCbor(bytes, requestSchema, maxRequestBytes)
}

/** What both sides draw. From a newcomer, who refuses nothing. @throws ShoalError ERR_DECODE */
export function decodeNonce(bytes: Uint8Array): Uint8Array {
  return decodeCbor(bytes, nonceSchema, maxRequestBytes).nonce
}

/** @throws ShoalError ERR_DECODE, or with the code of the refusal */
export function decodeSign(bytes: Uint8Array): MeshSign {
  const { mesh, name, open } = answered(bytes, signSchema)
  return { mesh, name, open }
}

/** @throws ShoalError ERR_DECODE, or with the code of the refusal */
export function decodeNonceReply(bytes: Uint8Array): Uint8Array {
  return answered(bytes, nonceSchema).nonce
}

/** @throws ShoalError ERR_DECODE, or with the code of the refusal */
export function decodeState(bytes: Uint8Array): boolean {
  return answered(bytes, stateSchema).approved
}

function answered<T extends object>(bytes: Uint8Array, schema: z.ZodType<T>): T {
  const answer = decodeCbor<T | z.output<typeof refusalSchema>>(bytes, z.union([schema, refusalSchema]), maxReplyBytes)
  if (!('refused' in answer)) return answer as T
  const { refused } = answer
  throw new ShoalError(isErrorCode(refused) ? refused : 'ERR_ROLE', 'the mesh does not let this machine in', {
    hint: hints[refused] ?? 'Ask somebody of the mesh for a link: `shoal invite`.',
  })
}

const hints: Readonly<Record<string, string>> = {
  ERR_LIMIT: 'Too many have asked lately. Wait ten minutes, or ask for a link: `shoal invite`.',
  ERR_EXPIRED: 'Nobody has said yes in time. Run `shoal join` again.',
  ERR_REVOKED: 'This machine was shut out of the mesh.',
}
