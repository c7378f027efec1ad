import { createHash, type Hash, hash } from 'node:crypto'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import { digestOf } from '../wire/cid.ts'
import { RangeKind, type RangeReply } from '../wire/generated/block_pb.ts'

/** What is still in the processor's cache when the last of it has come. */
const hashedAtOnceBytes = 128 * 1024

/** A run of bytes of a block, or of its manifest, while it arrives in order, possibly from one peer after another. */
export interface Part {
  readonly cid: CID
  readonly kind: RangeKind
  /** Offset of the next byte that is missing. */
  readonly position: number
  /** Where it ends; undefined until a peer has said the size. */
  readonly end: number | undefined
  /** Where it ends at the latest. */
  readonly maxEnd: number
  /** Hears each reply before its bytes. @throws ShoalError when the size is not acceptable; that ends the reading */
  declare(peerId: string, reply: RangeReply): void
  /** The next bytes. The caller stays below the end. */
  append(peerId: string, data: Uint8Array): void
}

/** A block, or a manifest, that arrives as a whole in memory. */
export class BlockAssembly implements Part {
  readonly cid: CID
  readonly kind: RangeKind
  readonly maxEnd: number
  /** Peers that sent part of it. */
  readonly contributors = new Set<string>()
  /** Of a small block it is computed in one go. */
  #hash: Hash | undefined
  readonly #onReply: ((reply: RangeReply) => void) | undefined
  #bytes: Uint8Array | undefined
  #received = 0

  constructor(
    cid: CID,
    maxBytes: number,
    { kind = RangeKind.BLOCK, onReply }: { kind?: RangeKind; onReply?: (reply: RangeReply) => void } = {},
  ) {
    this.cid = cid
    this.kind = kind
    this.maxEnd = maxBytes
    this.#onReply = onReply
  }

  get end(): number | undefined {
    return this.#bytes?.length
  }

  get position(): number {
    return this.#received
  }

  /** All of it, not compared with anything; undefined while something is missing. */
  get bytes(): Uint8Array | undefined {
    return this.#received === this.end ? this.#bytes : undefined
  }

  /**
   * Memory is given only to a size below the cap, and the system provides it only as bytes arrive.
   * @throws ShoalError ERR_BLOCK_TOO_LARGE above the cap, ERR_BLOCK_MISMATCH when peers disagree about the size.
   */
  declare(_peerId: string, reply: RangeReply): void {
    const size = Number(reply.size)
    if (size > this.maxEnd) {
      throw new ShoalError('ERR_BLOCK_TOO_LARGE', `${this.cid} of ${size} bytes, at most ${this.maxEnd}`)
    }
    this.#bytes ??= new Uint8Array(Buffer.allocUnsafeSlow(size).buffer)
    if (size > hashedAtOnceBytes) this.#hash ??= createHash('sha256')
    if (this.#bytes.length !== size) throw new ShoalError('ERR_BLOCK_MISMATCH', `two sizes for ${this.cid}`)
    this.#onReply?.(reply)
  }

  append(peerId: string, data: Uint8Array): void {
    if (data.length === 0) return
    this.contributors.add(peerId)
    this.#bytes?.set(data, this.#received)
    this.#received += data.length
    this.#hash?.update(data)
  }

  /** The bytes when they are what the CID names; undefined when not. To be called once, when complete. */
  verified(): Uint8Array | undefined {
    const { bytes } = this
    if (bytes === undefined) return undefined
    const digest = this.#hash?.digest() ?? hash('sha256', bytes, 'buffer')
    return digest.equals(digestOf(this.cid)) ? bytes : undefined
  }
}

/** One chunk of a large block, in memory that belongs to somebody else. */
export class ChunkPart implements Part {
  readonly cid: CID
  readonly kind = RangeKind.BLOCK
  readonly index: number
  readonly offset: number
  readonly end: number
  readonly contributors = new Set<string>()
  readonly #blockSize: number
  readonly #buffer: Uint8Array
  readonly #onReply: (peerId: string, reply: RangeReply) => void
  #received = 0

  /** @param buffer at least as long as the chunk */
  constructor(
    chunk: { cid: CID; index: number; offset: number; length: number; blockSize: number },
    buffer: Uint8Array,
    onReply: (peerId: string, reply: RangeReply) => void,
  ) {
    this.cid = chunk.cid
    this.index = chunk.index
    this.offset = chunk.offset
    this.end = chunk.offset + chunk.length
    this.#blockSize = chunk.blockSize
    this.#buffer = buffer
    this.#onReply = onReply
  }

  get position(): number {
    return this.offset + this.#received
  }

  get maxEnd(): number {
    return this.end
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#received)
  }

  get buffer(): Uint8Array {
    return this.#buffer
  }

  /** @throws ShoalError ERR_BLOCK_MISMATCH when the peer has a block of another size */
  declare(peerId: string, reply: RangeReply): void {
    if (Number(reply.size) !== this.#blockSize) {
      throw new ShoalError('ERR_BLOCK_MISMATCH', `${this.cid} of ${reply.size} bytes, not ${this.#blockSize}`)
    }
    this.#onReply(peerId, reply)
  }

  append(peerId: string, data: Uint8Array): void {
    this.contributors.add(peerId)
    this.#buffer.set(data, this.#received)
    this.#received += data.length
  }

  /** Forgets what has arrived. */
  restart(): void {
    this.#received = 0
    this.contributors.clear()
  }
}
