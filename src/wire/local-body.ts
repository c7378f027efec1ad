import { ShoalError } from '../base/errors.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Writes the payload of one frame of the local protocol. */
export class BodyWriter {
  readonly #parts: Uint8Array[] = []
  #length = 0

  u8(value: number): this {
    return this.#number(value, 1, 0, 0xff)
  }

  u16(value: number): this {
    return this.#number(value, 2, 0, 0xffff)
  }

  u32(value: number): this {
    return this.#number(value, 4, 0, 0xffff_ffff)
  }

  i32(value: number): this {
    return this.#number(value, 4, -0x8000_0000, 0x7fff_ffff)
  }

  u64(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new ShoalError('ERR_FRAME', `number out of range: ${value}`)
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(BigInt(value))
    return this.#add(bytes)
  }

  flag(value: boolean): this {
    return this.u8(value ? 1 : 0)
  }

  bytes(value: Uint8Array): this {
    return this.u32(value.length).#add(value)
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value))
  }

  list<T>(items: readonly T[], max: number, write: (item: T) => unknown): this {
    if (items.length > max) throw new ShoalError('ERR_FRAME', `list of ${items.length} items, at most ${max}`)
    this.u32(items.length)
    for (const item of items) write(item)
    return this
  }

  /** The whole frame: length, code, what was written. */
  framed(code: number, maxLength: number): Buffer {
    const length = this.#length + 1
    if (length > maxLength) throw new ShoalError('ERR_FRAME', `frame of ${length} bytes, at most ${maxLength}`)
    const head = Buffer.alloc(5)
    head.writeUInt32BE(length)
    head.writeUInt8(code, 4)
    return Buffer.concat([head, ...this.#parts], length + 4)
  }

  #number(value: number, size: number, min: number, max: number): this {
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new ShoalError('ERR_FRAME', `number out of range: ${value}`)
    }
    const bytes = Buffer.alloc(size)
    if (min < 0) bytes.writeIntBE(value, 0, size)
    else bytes.writeUIntBE(value, 0, size)
    return this.#add(bytes)
  }

  #add(bytes: Uint8Array): this {
    this.#parts.push(bytes)
    this.#length += bytes.length
    return this
  }
}

/** Reads the payload of one frame. Every method throws ERR_FRAME where the payload does not hold what is asked for. */
export class BodyReader {
  readonly #body: Buffer
  #at = 0

  constructor(body: Buffer) {
    this.#body = body
  }

  get left(): number {
    return this.#body.length - this.#at
  }

  u8(): number {
    return this.#take(1).readUInt8()
  }

  u16(): number {
    return this.#take(2).readUInt16BE()
  }

  u32(): number {
    return this.#take(4).readUInt32BE()
  }

  i32(): number {
    return this.#take(4).readInt32BE()
  }

  u64(): number {
    const value = Number(this.#take(8).readBigUInt64BE())
    if (!Number.isSafeInteger(value)) throw new ShoalError('ERR_FRAME', 'number out of range')
    return value
  }

  flag(): boolean {
    const value = this.u8()
    if (value > 1) throw new ShoalError('ERR_FRAME', `neither 0 nor 1: ${value}`)
    return value === 1
  }

  bytes(): Buffer {
    return this.#take(this.u32())
  }

  text(): string {
    const bytes = this.bytes()
    try {
      return utf8.decode(bytes)
    } catch (error) {
      throw new ShoalError('ERR_FRAME', 'text is not UTF-8', { cause: error })
    }
  }

  /** Each item takes at least four bytes, so that a count cannot ask for more than the payload could hold. */
  list<T>(max: number, item: () => T): T[] {
    const count = this.u32()
    if (count > max || count * 4 > this.left) throw new ShoalError('ERR_FRAME', `list of ${count} items`)
    return Array.from({ length: count }, item)
  }

  /** The payload must be used up. */
  end(): void {
    if (this.left > 0) throw new ShoalError('ERR_FRAME', `${this.left} bytes too many`)
  }

  #take(size: number): Buffer {
    if (size > this.left) throw new ShoalError('ERR_FRAME', 'frame is cut short')
    this.#at += size
    return this.#body.subarray(this.#at - size, this.#at)
  }
}
