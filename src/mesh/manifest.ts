import { createHash } from 'node:crypto'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'

/** Blocks above this are fetched chunk by chunk, possibly from several members. */
export const largeBytes = 4 << 20
/** Small, so that a member soon has something to pass on. */
export const chunkBytes = 1 << 20
/** So that a bit for each chunk fits into a frame: 16 GiB. */
const maxChunks = 16_384
const digestBytes = 32

/** The sha2-256 of every chunk of a block, one after the other: what one member says, to be believed for one transfer. */
export interface Manifest {
  v: 1
  size: number
  chunk: number
  hashes: Uint8Array
}

const manifestSchema: z.ZodType<Manifest> = z.strictObject({
  v: z.literal(1),
  size: z.int().min(1),
  chunk: z.literal(chunkBytes),
  hashes: z.instanceof(Uint8Array),
})

export const maxManifestBytes = maxChunks * digestBytes + 128

export function encodeManifest(size: number, digests: readonly Uint8Array[]): Uint8Array {
  const value: Manifest = { v: 1, size, chunk: chunkBytes, hashes: Uint8Array.from(Buffer.concat(digests)) }
  return encodeCbor(value).bytes
}

/** @throws ShoalError ERR_DECODE unless it is a manifest of a block of `size` bytes */
export function decodeManifest(bytes: Uint8Array, size: number): Manifest {
  const manifest = decodeCbor(bytes, manifestSchema, maxManifestBytes)
  if (manifest.size !== size || manifest.hashes.length !== chunkCount(size) * digestBytes) {
    throw new ShoalError('ERR_DECODE', 'a manifest of another block')
  }
  return manifest
}

export function isChunk({ hashes }: Manifest, index: number, digest: Uint8Array): boolean {
  return Buffer.compare(hashes.subarray(index * digestBytes, (index + 1) * digestBytes), digest) === 0
}

/** @throws ShoalError ERR_BLOCK_TOO_LARGE for more chunks than there can be */
export function chunkCount(size: number): number {
  const count = Math.ceil(size / chunkBytes)
  if (count > maxChunks) throw new ShoalError('ERR_BLOCK_TOO_LARGE', `${size} bytes are more than ${maxChunks} chunks`)
  return count
}

export function chunkLength(size: number, index: number): number {
  return Math.min(chunkBytes, size - index * chunkBytes)
}

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

/** A bit for each chunk. */
export class ChunkSet {
  readonly bits: Uint8Array

  constructor(count: number, bits?: Uint8Array) {
    this.bits = new Uint8Array(Math.ceil(count / 8))
    if (bits !== undefined) this.bits.set(bits.subarray(0, this.bits.length))
  }

  has(index: number): boolean {
    return ((this.bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0
  }

  add(index: number): void {
    this.bits[index >> 3] = (this.bits[index >> 3] ?? 0) | (1 << (index & 7))
  }
}
