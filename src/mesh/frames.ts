import { ShoalError } from '../base/errors.ts'

/** How large a frame may be. `of(field)` is asked for frames above `smallBytes`, with the number of their first field. */
export interface FrameLimits {
  smallBytes: number
  of(field: number): number
}

const maxPrefixBytes = 4
const maxTagBytes = 2

/** A message behind its length as a varint. */
export function encodeFrame(message: Uint8Array): Uint8Array {
  const prefix = varint(message.length)
  const frame = new Uint8Array(prefix.length + message.length)
  frame.set(prefix)
  frame.set(message, prefix.length)
  return frame
}

/** Base-128 varint of a number below 2^28. */
function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  bytes.push(rest)
  return Uint8Array.from(bytes)
}

/**
 * Cuts a byte stream into frames. Holds at most one unfinished frame, and only after its length was found acceptable.
 * A frame handed to `onFrame` shares no memory with anything: what is kept of it keeps no more than the frame.
 */
export class FrameReader {
  readonly #limits: FrameLimits
  readonly #onFrame: (frame: Uint8Array) => void
  #prefix: number[] = []
  #length: number | undefined
  #tag: number[] = []
  #frame: Uint8Array | undefined
  #filled = 0
  #raw: { left: number; onBytes: (bytes: Uint8Array) => void } | undefined
  #stopped = false

  constructor(limits: FrameLimits, onFrame: (frame: Uint8Array) => void) {
    this.#limits = limits
    this.#onFrame = onFrame
  }

  /** Part of a frame has arrived and the rest has not. */
  get unfinished(): boolean {
    return this.#prefix.length > 0 || this.#length !== undefined
  }

  /**
   * For `onFrame` to say that so many bytes outside any frame follow the one it was given. They are handed on in the
   * pieces in which they arrive.
   */
  expectRaw(bytes: number, onBytes: (bytes: Uint8Array) => void): void {
    if (bytes > 0) this.#raw = { left: bytes, onBytes }
  }

  /** After this, nothing is handed on, not even from the chunk being read. */
  stop(): void {
    this.#stopped = true
    this.#frame = undefined
  }

  /** @throws ShoalError ERR_DECODE when what follows cannot be a frame; the reader is of no use afterwards. */
  push(data: Uint8Array | Iterable<Uint8Array>): void {
    if (data instanceof Uint8Array) this.#pushChunk(data)
    else for (const chunk of data) this.#pushChunk(chunk)
  }

  #pushChunk(chunk: Uint8Array): void {
    let at = 0
    while (!this.#stopped) {
      if (this.#raw !== undefined) {
        const raw = this.#raw
        const piece = chunk.subarray(at, at + raw.left)
        if (piece.length === 0) return
        at += piece.length
        raw.left -= piece.length
        if (raw.left === 0) this.#raw = undefined
        raw.onBytes(piece)
      } else if (this.#length === undefined) {
        const byte = chunk[at]
        if (byte === undefined) return
        at += 1
        this.#readPrefix(byte)
      } else if (this.#length > this.#limits.smallBytes && this.#frame === undefined) {
        const byte = chunk[at]
        if (byte === undefined) return
        at += 1
        this.#readTag(byte, this.#length)
      } else if (this.#frame === undefined && chunk.length - at >= this.#length) {
        const frame = new Uint8Array(chunk.subarray(at, at + this.#length))
        at += this.#length
        this.#finish(frame)
      } else {
        if (at === chunk.length) return
        at += this.#fill(chunk.subarray(at), this.#length)
      }
    }
  }

  #readPrefix(byte: number): void {
    this.#prefix.push(byte)
    if (byte > 0x7f) {
      if (this.#prefix.length === maxPrefixBytes) throw new ShoalError('ERR_DECODE', 'frame length without an end')
      return
    }
    this.#length = varintValue(this.#prefix)
    this.#prefix = []
  }

  // The first field of a frame says what it is, and so how large it may be, before memory is given to it.
  #readTag(byte: number, length: number): void {
    this.#tag.push(byte)
    if (byte > 0x7f) {
      if (this.#tag.length === maxTagBytes) throw new ShoalError('ERR_DECODE', 'large frame of an unknown kind')
      return
    }
    const limit = this.#limits.of(varintValue(this.#tag) >>> 3)
    if (length > limit) throw new ShoalError('ERR_DECODE', `frame of ${length} bytes, at most ${limit}`)
    this.#frame = new Uint8Array(length)
    this.#frame.set(this.#tag)
    this.#filled = this.#tag.length
    this.#tag = []
  }

  #fill(available: Uint8Array, length: number): number {
    this.#frame ??= new Uint8Array(length)
    const taken = Math.min(available.length, length - this.#filled)
    this.#frame.set(available.subarray(0, taken), this.#filled)
    this.#filled += taken
    if (this.#filled === length) this.#finish(this.#frame)
    return taken
  }

  #finish(frame: Uint8Array): void {
    this.#frame = undefined
    this.#filled = 0
    this.#length = undefined
    this.#onFrame(frame)
  }
}

function varintValue(bytes: readonly number[]): number {
  return bytes.reduce((value, byte, index) => value + (byte & 0x7f) * 2 ** (7 * index), 0)
}
