import type { CID } from 'multiformats/cid'
import {
  ChunkSet,
  chunkBytes,
  chunkCount,
  chunkLength,
  decodeManifest,
  isChunk,
  type Manifest,
  sha256,
} from './manifest.ts'

/** Where a large block is written to while it arrives. */
export interface LargeFile {
  /** `bytes` may be used again when this resolves. */
  write(offset: number, bytes: Uint8Array): Promise<void>
  /** What was written before. @param into may be used for the bytes, and is long enough */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>
  /** Whether it is whole and what the CID names. */
  matches(cid: CID): boolean
}

/** What is known about the chunks of one transfer: which are right, by which manifest, and who sent what was not. */
export class ChunkProof {
  /** Peers whose bytes or manifest were wrong, as far as one can tell. */
  readonly liars = new Set<string>()
  /** Chunks that were compared with the manifest. */
  readonly verified: ChunkSet
  readonly #size: number
  /** By chunk: who sent it, before there was a manifest. */
  readonly #unverified = new Map<number, readonly string[]>()
  readonly #vouchers = new Set<string>()
  #manifest: { bytes: Uint8Array; parsed: Manifest } | undefined

  constructor(size: number) {
    this.#size = size
    this.verified = new ChunkSet(chunkCount(size))
  }

  get manifest(): Uint8Array | undefined {
    return this.#manifest?.bytes
  }

  /**
   * Takes the first manifest that comes; it holds for the whole transfer.
   * @returns false for another one
   * @throws ShoalError ERR_DECODE when it is none of this block
   */
  vouch(peerId: string, bytes: Uint8Array): boolean {
    this.#manifest ??= { bytes, parsed: decodeManifest(bytes, this.#size) }
    if (Buffer.compare(this.#manifest.bytes, bytes) !== 0) return false
    this.#vouchers.add(peerId)
    return true
  }

  /** Whether this peer has shown the manifest that holds. */
  hasVouched(peerId: string): boolean {
    return this.#vouchers.has(peerId)
  }

  /** Whether a chunk is what the manifest says; undefined when there is none. */
  check(index: number, bytes: Uint8Array): boolean | undefined {
    return this.#manifest === undefined ? undefined : isChunk(this.#manifest.parsed, index, sha256(bytes))
  }

  /** A chunk was written, and checked before that or not. */
  written(index: number, isChecked: boolean, from: Iterable<string>): void {
    if (isChecked) this.verified.add(index)
    else this.#unverified.set(index, [...from])
  }

  /** Compares what was written before there was a manifest, so that it can be passed on. @returns false when something is wrong */
  async checkEarlier(file: LargeFile): Promise<boolean> {
    if (this.#unverified.size === 0) return true
    let isRight = true
    const buffer = new Uint8Array(chunkBytes)
    for (const [index, from] of [...this.#unverified]) {
      const bytes = await file.read(index * chunkBytes, chunkLength(this.#size, index), buffer)
      if (this.check(index, bytes) === true) {
        this.verified.add(index)
        this.#unverified.delete(index)
      } else {
        isRight = false
        for (const peerId of from) this.liars.add(peerId)
      }
    }
    return isRight
  }

  /** After the whole was found to be wrong: whose doing that is. */
  async blame(file: LargeFile): Promise<void> {
    if (this.#manifest === undefined) {
      const senders = new Set([...this.#unverified.values()].flat())
      if (senders.size === 1) for (const peerId of senders) this.liars.add(peerId)
      return
    }
    // Every chunk is what the manifest says: then that is wrong, and so is whoever gave it.
    if (await this.checkEarlier(file)) for (const peerId of this.#vouchers) this.liars.add(peerId)
  }
}
