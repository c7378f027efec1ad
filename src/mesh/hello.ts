import { encode } from '@ipld/dag-cbor'
import { z } from 'zod'
import { type ErrorCode, isErrorCode, ShoalError } from '../base/errors.ts'
import { decodeCbor } from '../wire/cbor.ts'
import { bytesOf, maxStatementBytes } from './statement.ts'

/** The first thing that each side says on a connection between members, before there is any stream on it. */
export interface Hello {
  v: 1
  /** The statement, with the chain that leads to it. */
  certificate: Uint8Array
  /** Versions of everything behind it that the sender speaks. */
  protocols: { min: number; max: number }
  /** 16 random bytes, new each time that a node starts. */
  boot: Uint8Array
}

/** What it says next: whether it goes on. */
interface Verdict {
  v: 1
  /** The code of the refusal; empty when the other side is welcome. */
  refused: string
}

export const maxHelloBytes = 8192
export const maxVerdictBytes = 128
/** What this version speaks. */
const protocols = { min: 1, max: 1 }

const version = z.int().min(0).max(65_535)
const helloSchema: z.ZodType<Hello> = z.strictObject({
  v: z.literal(1),
  certificate: z.instanceof(Uint8Array).refine((bytes) => bytes.length <= maxStatementBytes),
  protocols: z.strictObject({ min: version, max: version }),
  boot: bytesOf(16),
})
const verdictSchema: z.ZodType<Verdict> = z.strictObject({ v: z.literal(1), refused: z.string().max(64) })

export function encodeHello(hello: Omit<Hello, 'v' | 'protocols'>): Uint8Array {
  return encode({ v: 1, ...hello, protocols })
}

/** @throws ShoalError ERR_DECODE for no hello, ERR_UNSUPPORTED for one of a version with which there is none in common */
export function decodeHello(bytes: Uint8Array): Hello {
  const hello = decodeCbor(bytes, helloSchema, maxHelloBytes)
  const { min, max } = hello.protocols
  if (Math.min(max, protocols.max) < Math.max(min, protocols.min)) {
    throw new ShoalError('ERR_UNSUPPORTED', `the other side speaks versions ${min} to ${max}`, {
      hint: 'Use the same version of Shoal on both machines.',
    })
  }
  return hello
}

export function encodeVerdict(refused: ErrorCode | undefined): Uint8Array {
  return encode({ v: 1, refused: refused ?? '' })
}

/** The code with which the other side refuses; undefined when it does not. @throws ShoalError ERR_DECODE */
export function decodeVerdict(bytes: Uint8Array): ErrorCode | undefined {
  const { refused } = decodeCbor(bytes, verdictSchema, maxVerdictBytes)
  if (refused === '') return undefined
  // A later version may have reasons that this one does not know.
  return isErrorCode(refused) ? refused : 'ERR_NOT_MEMBER'
}
