import type { ICryptoInterface } from '@chainsafe/libp2p-noise'

/** The library's list of pieces. */
export type ByteList = Exclude<Parameters<ICryptoInterface['chaCha20Poly1305Encrypt']>[0], Uint8Array>

const prefixBytes = 2

/** Cuts a byte stream into messages with their length in front, two bytes each. Copies nothing. */
export class MessageCutter {
  #pieces: Uint8Array[]
  #bytes = 0
  readonly #empty: ByteList

  /** @param begun bytes that have come already */
  constructor(begun: ByteList) {
    this.#pieces = [...begun]
    this.#bytes = begun.byteLength
    this.#empty = begun.sublist(0, 0)
  }

  /** The messages that are complete now; empty ones are left out. */
  cut(data: Uint8Array | ByteList): ByteList[] {
    for (const piece of data instanceof Uint8Array ? [data] : data) {
      if (piece.length > 0) this.#pieces.push(piece)
    }
    this.#bytes += data.byteLength
    const messages: ByteList[] = []
    while (this.#bytes >= prefixBytes) {
      const length = this.#length()
      if (this.#bytes < prefixBytes + length) break
      this.#take(prefixBytes)
      if (length > 0) messages.push(this.#take(length))
    }
    return messages
  }

  #length(): number {
    const [first, second] = this.#pieces
    const high = first?.[0] ?? 0
    const low = first?.[1] ?? second?.[0] ?? 0
    return high * 256 + low
  }

  #take(bytes: number): ByteList {
    const taken = this.#empty.sublist()
    this.#bytes -= bytes
    for (let left = bytes; left > 0; ) {
      const [piece] = this.#pieces
      if (piece === undefined) break
      if (piece.length <= left) {
        taken.append(piece)
        this.#pieces.shift()
      } else {
        taken.append(piece.subarray(0, left))
        this.#pieces[0] = piece.subarray(left)
      }
      left -= Math.min(left, piece.length)
    }
    return taken
  }
}
