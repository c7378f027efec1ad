import { hash } from 'node:crypto'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { ShoalError } from '../base/errors.ts'

export const rawCodec = 0x55
export const dagCborCodec = 0x71
const sha256Code = 0x12

/** CIDv1 over sha2-256, the only kind of name that Shoal gives to bytes. */
export function cidOf(bytes: Uint8Array, codec: number = rawCodec): CID {
  return cidFromDigest(hash('sha256', bytes, 'buffer'), codec)
}

/** `digest` is the 32 bytes of a finished sha2-256. */
export function cidFromDigest(digest: Uint8Array, codec: number = rawCodec): CID {
  return CID.createV1(codec, createDigest(sha256Code, digest))
}

/** The 32 bytes of sha2-256 inside a CID. */
export function digestOf(cid: CID): Uint8Array {
  return cid.multihash.digest
}

/** Lower-case hex of the sha2-256: the same for every codec, usable as a key. */
export function hexOf(cid: CID): string {
  return Buffer.from(cid.multihash.digest).toString('hex')
}

/**
 * Reads the binary form of a CID that came from outside.
 * @throws ShoalError ERR_DECODE unless it is a CIDv1 of ours (raw or dag-cbor, sha2-256).
 */
export function readCid(bytes: Uint8Array): CID {
  let cid: CID
  try {
    cid = CID.decode(bytes)
  } catch (error) {
    throw new ShoalError('ERR_DECODE', 'not a CID', { cause: error })
  }
  return checkCid(cid)
}

/** @throws ShoalError ERR_DECODE unless it is a CIDv1, raw or dag-cbor, sha2-256. */
export function checkCid(cid: CID): CID {
  const ours = cid.version === 1 && (cid.code === rawCodec || cid.code === dagCborCodec)
  if (!ours || cid.multihash.code !== sha256Code || cid.multihash.digest.length !== 32) {
    throw new ShoalError('ERR_DECODE', `CID of an unsupported kind: ${cid.toString()}`)
  }
  return cid
}
