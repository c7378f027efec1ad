import { createHash, type Hash } from 'node:crypto'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import { digestOf } from '../wire/cid.ts'

/** A block while it arrives, from its first byte to its last, possibly from one peer after another. */
export class BlockAssembly {
  readonly cid: CID
  readonly maxBytes: number
  /** Peers that sent part of it. */
  readonly contributors = new Set<string>()
  readonly #hash: Hash = createHash('sha256')
  #bytes: Uint8Array | undefined
  #received = 0

  constructor(cid: CID, maxBytes: number) {
    this.cid = cid
    this.maxBytes = maxBytes
  }

  /** Size of the whole block; undefined until a peer has said it. */
  get size(): number | undefined {
    return this.#bytes?.length
  }

  get received(): number {
    return this.#received
  }

  get complete(): boolean {
    return this.#bytes !== undefined && this.#received === this.#bytes.length
  }

  /**
   * Memory is given only to a size below the cap, and the system provides it only as bytes arrive.
   * @throws ShoalError ERR_BLOCK_TOO_LARGE above the cap, ERR_BLOCK_MISMATCH when peers disagree about the size.
   */
  declare(size: number): void {
    if (size > this.maxBytes) {
      throw new ShoalError('ERR_BLOCK_TOO_LARGE', `${this.cid} of ${size} bytes, at most ${this.maxBytes}`)
    }
    this.#bytes ??= new Uint8Array(size)
    if (this.#bytes.length !== size) throw new ShoalError('ERR_BLOCK_MISMATCH', `two sizes for ${this.cid}`)
  }

  /** The next bytes of the block. The caller has declared the size and stays below it. */
  append(peerId: string, data: Uint8Array): void {
    if (data.length === 0) return
    this.contributors.add(peerId)
    this.#bytes?.set(data, this.#received)
    this.#received += data.length
    this.#hash.update(data)
  }

  /** The bytes when they are what the CID names; undefined when not. To be called once, when complete. */
  verified(): Uint8Array | undefined {
    return this.#hash.digest().equals(digestOf(this.cid)) ? this.#bytes : undefined
  }
}
