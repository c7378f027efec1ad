import { createHash } from 'node:crypto'
import { decode, encode } from '@ipld/dag-cbor'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { firstWrong, inWords } from '../base/words.ts'
import { isSignedBy, isUsableKey, type SigningKey, signatureBytes } from './ed25519.ts'

/** What members sign. The type is part of what is signed: no statement can be passed off as one of another type. */
export type StatementType = 'genesis' | 'certificate' | 'invite' | 'redemption' | 'revocation' | 'clone'

/** A body with its signature, and its name: SHA-256 of the signed bytes, so that a second signature is no second name. */
export interface Signed<B> {
  id: Uint8Array
  body: B
  sig: Uint8Array
}

/** One statement and the certificates that lead from the root to its issuer, the issuer's own first. */
export interface Statement<B, L = unknown> extends Signed<B> {
  type: StatementType
  chain: Signed<L>[]
  /** The one encoding. */
  bytes: Uint8Array
}

export const maxStatementBytes = 2304
/** No chain has more certificates than this below the root. */
export const maxChain = 3
export const idBytes = 32
export const meshBytes = 16

/** How far clocks may be apart: a validity begins 10 minutes early … */
export const earlyMs = 10 * 60_000
/** … and a certificate ends 24 hours late. */
export const lateMs = 24 * 3_600_000

/** Exactly so many bytes. */
export const bytesOf = (length: number): z.ZodType<Uint8Array> =>
  z.instanceof(Uint8Array).refine((bytes) => bytes.length === length, `not ${length} bytes`)
export const keySchema = bytesOf(32).refine(isUsableKey, 'not a key that can be used')
/** Milliseconds since the Unix epoch, as far as a `Date` goes. */
export const timeSchema = z.int().min(0).max(8.64e15)
/** For people: 1 to 64 bytes of UTF-8 without control characters. */
export const nameSchema = z
  .string()
  .min(1)
  .refine((name) => Buffer.byteLength(name) <= 64, 'longer than 64 bytes')
  .refine((name) => !/[\u0000-\u001f\u007f-\u009f]/.test(name), 'control characters')

const envelopeSchema = z.strictObject({
  type: z.string(),
  body: z.unknown(),
  sig: bytesOf(signatureBytes),
  chain: z.array(z.strictObject({ body: z.unknown(), sig: bytesOf(signatureBytes) })).max(maxChain),
})

/** Signs `body` as a statement of `type`. @throws ShoalError ERR_LIMIT when it would be larger than `maxStatementBytes`. */
export function signStatement<B, L>(
  type: StatementType,
  body: B,
  key: SigningKey,
  chain: readonly Signed<L>[],
): Statement<B, L> {
  const signed = signedBytes(type, body)
  const sig = key.sign(signed)
  const links = chain.map((link) => ({ body: link.body, sig: link.sig }))
  const bytes = new Uint8Array(encode({ type, body, sig, chain: links }))
  if (bytes.length > maxStatementBytes) throw new ShoalError('ERR_LIMIT', `a ${type} of ${bytes.length} bytes`)
  return { type, id: idOf(signed), body, sig, chain: [...chain], bytes }
}

/** How the bodies of one type and of the certificates in its chain look. */
export interface Shape<B, L> {
  type: StatementType
  body: z.ZodType<B>
  link: z.ZodType<L>
}

/** A statement from outside of which nothing is known but its type. */
export interface Envelope {
  type: string
  body?: unknown
  sig: Uint8Array
  chain: { body?: unknown; sig: Uint8Array }[]
  bytes: Uint8Array
}

/**
 * The first half of reading a statement from outside: size, syntax, and what is around the body.
 * @throws ShoalError ERR_DECODE for what is too large or has another shape; ERR_NOT_CANONICAL for what is no dag-cbor.
 */
export function openEnvelope(bytes: Uint8Array): Envelope {
  if (bytes.length > maxStatementBytes) throw new ShoalError('ERR_DECODE', `a statement of ${bytes.length} bytes`)
  let value: unknown
  try {
    value = decode(bytes)
  } catch (error) {
    throw new ShoalError('ERR_NOT_CANONICAL', 'not canonical dag-cbor', { cause: error })
  }
  return { ...parse(envelopeSchema, value), bytes: new Uint8Array(bytes) }
}

/**
 * The second half: the shape of the body and of the chain, and the canonical form. Signatures are left to `checkSignature`.
 * @throws ShoalError ERR_DECODE for another shape; ERR_NOT_CANONICAL for what is not the one encoding of what it says.
 */
export function readEnvelope<B, L>(envelope: Envelope, shape: Shape<B, L>): Statement<B, L> {
  const { type } = shape
  const { sig, bytes } = envelope
  if (envelope.type !== type) throw new ShoalError('ERR_DECODE', `not a ${type}`)
  const body = parse(shape.body, envelope.body)
  const chain = envelope.chain.map((link) => ({ body: parse(shape.link, link.body), sig: link.sig }))
  const again = encode({ type, body, sig, chain })
  if (Buffer.compare(again, bytes) !== 0) throw new ShoalError('ERR_NOT_CANONICAL', `a ${type} in another form`)
  const links = chain.map((link) => ({ ...link, id: idOf(signedBytes('certificate', link.body)) }))
  return { type, id: idOf(signedBytes(type, body)), body, sig, chain: links, bytes }
}

/** Both halves. @throws ShoalError ERR_DECODE, ERR_NOT_CANONICAL */
export function decodeStatement<B, L>(bytes: Uint8Array, shape: Shape<B, L>): Statement<B, L> {
  return readEnvelope(openEnvelope(bytes), shape)
}

/** @throws ShoalError ERR_SIGNATURE unless `issuer` signed it as a statement of `type` */
export function checkSignature<B>(type: StatementType, signed: Signed<B>, issuer: Uint8Array): void {
  if (!isSignedBy(issuer, signedBytes(type, signed.body), signed.sig)) {
    throw new ShoalError('ERR_SIGNATURE', `the signature of a ${type} is wrong`)
  }
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value, { error: inWords })
  if (parsed.success) return parsed.data
  throw new ShoalError('ERR_DECODE', firstWrong(parsed.error, 'the statement'))
}

function signedBytes(type: StatementType, body: unknown): Uint8Array {
  return Buffer.concat([Buffer.from(`shoal/1/${type}\0`), encode(body)])
}

function idOf(signed: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(signed).digest())
}
