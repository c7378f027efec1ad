import { createHash } from 'node:crypto'
import { encode } from '@ipld/dag-cbor'
import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { isSignedBy, type SigningKey, signatureBytes } from '../mesh/ed25519.ts'
import { bytesOf, keySchema, meshBytes, sameBytes, timeSchema } from '../mesh/statement.ts'
import type { ReadSet, Result } from '../plan/action.ts'
import type { ScriptResult } from '../plan/script-action.ts'
import { cidSchema, decodeCbor } from '../wire/cbor.ts'
import { isSamePlace, placeDigestBytes, readPlace } from './run-place.ts'

/** `protocols/claims.md` specifies all of this. */

/** Where a compile ran: as its owner's rustc, or in a sandbox. */
const claimTiers = ['host', 'watched', 'confined'] as const
export type ClaimTier = (typeof claimTiers)[number]

const digestBytes = 32
/** No claim is larger. */
export const maxClaimBytes = 1024

const bodySchema = z.strictObject({
  v: z.literal(1),
  /** First 16 bytes of the genesis' id. */
  mesh: bytesOf(meshBytes),
  /** Whoever computed it. */
  signer: keySchema,
  action: cidSchema,
  /** `evidenceOf` what the compile looked at. */
  evidence: bytesOf(digestBytes),
  /** `outputsDigest` of the result. */
  outputs: bytesOf(digestBytes),
  /** The result whole, with what the compiler said. */
  result: cidSchema,
  /** `name version` of the package, for people and for the ledger of what cannot be reproduced. */
  package: z.string().max(200),
  tier: z.enum(claimTiers),
  /** Milliseconds since the Unix epoch. */
  at: timeSchema,
  /** What it took. */
  wallMs: z.int().min(0),
  /** Of the run of a build script: where its roots lay, by root. */
  place: z
    .array(z.tuple([z.string().max(16), z.int().min(0).max(4096), bytesOf(placeDigestBytes)]))
    .max(8)
    .optional(),
})
export type ClaimBody = z.output<typeof bodySchema>

const claimSchema = z.strictObject({ body: bodySchema, sig: bytesOf(signatureBytes) })

/** That one node has computed one result. */
export interface SignedClaim {
  body: ClaimBody
  sig: Uint8Array
  /** The one encoding. */
  bytes: Uint8Array
}

/** @throws ShoalError ERR_LIMIT when it would be too large */
export function signClaim(body: Omit<ClaimBody, 'v' | 'signer'>, key: SigningKey): SignedClaim {
  const whole: ClaimBody = { v: 1, signer: key.publicKey, ...body }
  const sig = key.sign(signedBytes(whole))
  const bytes = new Uint8Array(encode({ body: whole, sig }))
  if (bytes.length > maxClaimBytes) throw new ShoalError('ERR_LIMIT', `a claim of ${bytes.length} bytes`)
  return { body: whole, sig, bytes }
}

/**
 * Reads a claim; its signature is left to `checkClaim`.
 * @throws ShoalError ERR_DECODE for what is no claim in its one form
 */
export function readClaim(bytes: Uint8Array): SignedClaim {
  return { ...decodeCbor(bytes, claimSchema, maxClaimBytes), bytes }
}

/** @throws ShoalError ERR_OTHER_MESH, ERR_SIGNATURE */
export function checkClaim({ body, sig }: SignedClaim, mesh: Uint8Array): void {
  if (!sameBytes(body.mesh, mesh)) throw new ShoalError('ERR_OTHER_MESH', 'a claim of another mesh')
  if (!isSignedBy(body.signer, signedBytes(body), sig)) {
    throw new ShoalError('ERR_SIGNATURE', 'the signature of a claim is wrong')
  }
}

/** What a claim says of everything that was looked at: equal for equal read sets. */
export function evidenceOf({ reads, env }: ReadSet): Uint8Array {
  return digest('evidence', [reads, env])
}

/** What two results have in common that are the same: of the run of a build script all that it left and said. */
export type Outcome = Pick<Result, 'outputs'> | Pick<ScriptResult, 'entries' | 'stdout' | 'stderr'>

/** Of what a compile or a build script left, whoever ran it and however long it took. */
export function outputsDigest(result: Outcome): Uint8Array {
  if ('outputs' in result) return digest('outputs', result.outputs)
  const { entries, stdout, stderr } = result
  // How long before the last change of all something was made is other each time.
  return digest('script-outputs', [entries.map(({ age: _, ...entry }) => entry), stdout, stderr])
}

/** The evidence of a compile that nobody watched. */
export const unwatched: ReadSet = { reads: [], env: [] }

/** Whether a claim is about this very trace. */
export function isAbout({ body }: SignedClaim, trace: ReadSet & { action: CID; result: CID }): boolean {
  return (
    body.action.equals(trace.action) && body.result.equals(trace.result) && sameBytes(body.evidence, evidenceOf(trace))
  )
}

/**
 * Of whom and about what a claim is. When and in which words says nothing new: who is doubted could say the same again with another time,
 * or with one more thing that it looked at.
 */
export const subjectOf = ({ body }: SignedClaim): Uint8Array => Buffer.concat([body.signer, body.action.bytes])

/** Whether two claims are of runs in the same place; of compiles they always are. */
export const areOfOnePlace = ({ body: one }: SignedClaim, { body: other }: SignedClaim): boolean =>
  one.place === undefined || other.place === undefined || isSamePlace(readPlace(one.place), readPlace(other.place))

/** Whether a claim is about these outputs. */
export const sameOutputs = ({ body }: SignedClaim, result: Outcome): boolean =>
  sameBytes(body.outputs, outputsDigest(result))

const signedBytes = (body: ClaimBody): Uint8Array => Buffer.concat([Buffer.from('shoal/1/claim\0'), encode(body)])

function digest(what: string, value: unknown): Uint8Array {
  const hash = createHash('sha256').update(`shoal/1/${what}\0`).update(encode(value))
  return new Uint8Array(hash.digest())
}
