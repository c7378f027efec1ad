import { decode, encode } from '@ipld/dag-cbor'
import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { firstWrong, inWords } from '../base/words.ts'
import { checkCid, cidOf, dagCborCodec } from './cid.ts'

/** One canonical dag-cbor object and its name. */
export interface Encoded {
  bytes: Uint8Array
  cid: CID
}

/** Canonical: the same value gives the same bytes on every machine. */
export function encodeCbor(value: unknown): Encoded {
  const bytes = encode(value)
  return { bytes, cid: cidOf(bytes, dagCborCodec) }
}

/**
 * Decodes bytes from outside: size first, then syntax, then shape, then canonical form.
 * @throws ShoalError ERR_DECODE for anything else than the one encoding of a value of `schema`.
 */
export function decodeCbor<T>(bytes: Uint8Array, schema: z.ZodType<T>, maxBytes: number): T {
  if (bytes.length > maxBytes)
    throw new ShoalError('ERR_DECODE', `object of ${bytes.length} bytes, at most ${maxBytes}`)
  let value: unknown
  try {
    value = decode(bytes)
  } catch (error) {
    throw new ShoalError('ERR_DECODE', 'not dag-cbor', { cause: error })
  }
  const parsed = schema.safeParse(value, { error: inWords })
  if (!parsed.success) throw new ShoalError('ERR_DECODE', firstWrong(parsed.error, 'the object'))
  if (Buffer.compare(encode(parsed.data), bytes) !== 0) throw new ShoalError('ERR_DECODE', 'not in canonical form')
  return parsed.data
}

/** A CID inside an object, of a kind that Shoal makes. */
export const cidSchema: z.ZodType<CID> = z.custom<CID>((value) => {
  if (typeof value !== 'object' || value === null || !('asCID' in value)) return false
  try {
    checkCid(value as CID)
    return true
  } catch (error) {
    if (error instanceof ShoalError) return false
    throw error
  }
}, 'not a CID')
