import { ShoalError } from '../base/errors.ts'

/** Messages of D-Bus, as far as signals need them. Source: D-Bus specification 0.43, "Message Protocol". */
export const kinds = { call: 1, signal: 4 } as const

export interface BusMessage {
  kind: number
  path?: string
  interface?: string
  member?: string
  destination?: string
  sender?: string
  /** Of the body: a letter for each of its parts. */
  signature?: string
}

const fields = { path: 1, interface: 2, member: 3, destination: 6, sender: 7, signature: 8 } as const
type Field = keyof typeof fields
const fieldNames = new Map<number, Field>(Object.entries(fields).map(([name, code]) => [code, name as Field]))
const fixedBytes = 16
/** Nobody who is listened to here says much. */
const mostBytes = 64 << 10

/** @param body of strings, `signature` says so, or nothing. @param serial not 0 */
export function encodeMessage(message: BusMessage, serial: number, body: Uint8Array = new Uint8Array()): Buffer {
  const parts: Buffer[] = []
  let length = 0
  const push = (bytes: Uint8Array): void => {
    parts.push(Buffer.from(bytes))
    length += bytes.length
  }
  const pad = (to: number): void => push(new Uint8Array((to - (length % to)) % to))
  for (const [name, code] of Object.entries(fields)) {
    const value = message[name as Field]
    if (value === undefined) continue
    const type = name === 'path' ? 'o' : name === 'signature' ? 'g' : 's'
    pad(8)
    push(Buffer.from([code, 1, type.charCodeAt(0), 0]))
    if (type === 'g') push(Buffer.from([value.length, ...Buffer.from(value), 0]))
    else push(encodeString(value))
  }
  const fieldBytes = length
  pad(8)
  const head = Buffer.alloc(fixedBytes)
  head.write('l', 0, 'latin1')
  head[1] = message.kind
  head[3] = 1
  head.writeUInt32LE(body.length, 4)
  head.writeUInt32LE(serial, 8)
  head.writeUInt32LE(fieldBytes, 12)
  return Buffer.concat([head, ...parts, body])
}

export function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text)
  const head = Buffer.alloc(4)
  head.writeUInt32LE(bytes.length)
  return Buffer.concat([head, bytes, Buffer.alloc(1)])
}

/** Bytes of a stream into messages and their bodies. */
export class BusReader {
  #rest: Buffer = Buffer.alloc(0)

  /** @throws ShoalError ERR_DECODE when this is no such stream, or a message is too long; nothing can be read after that */
  push(bytes: Uint8Array): { message: BusMessage; body: Buffer }[] {
    this.#rest = Buffer.concat([this.#rest, bytes])
    const found: { message: BusMessage; body: Buffer }[] = []
    for (;;) {
      if (this.#rest.length < fixedBytes) return found
      if (this.#rest[0] !== 0x6c) throw new ShoalError('ERR_DECODE', 'not a message of the bus')
      const [bodyBytes, fieldBytes] = [this.#rest.readUInt32LE(4), this.#rest.readUInt32LE(12)]
      const bodyAt = Math.ceil((fixedBytes + fieldBytes) / 8) * 8
      if (bodyAt + bodyBytes > mostBytes) throw new ShoalError('ERR_DECODE', 'a message of the bus is too long')
      if (this.#rest.length < bodyAt + bodyBytes) return found
      const message = { kind: this.#rest[1] ?? 0, ...readFields(this.#rest.subarray(0, fixedBytes + fieldBytes)) }
      found.push({ message, body: Buffer.from(this.#rest.subarray(bodyAt, bodyAt + bodyBytes)) })
      this.#rest = this.#rest.subarray(bodyAt + bodyBytes)
    }
  }
}

function readFields(head: Buffer): Omit<BusMessage, 'kind'> {
  const found: Omit<BusMessage, 'kind'> = {}
  let at = fixedBytes
  const take = (count: number): Buffer => {
    const bytes = head.subarray(at, at + count)
    if (bytes.length < count) throw new ShoalError('ERR_DECODE', 'a header of the bus ends too soon')
    at += count
    return bytes
  }
  const align = (to: number): number => {
    at = Math.ceil(at / to) * to
    return at
  }
  const number = (): number => {
    align(4)
    return take(4).readUInt32LE()
  }
  while (align(8) < head.length) {
    const name = fieldNames.get(take(1)[0] ?? 0)
    const type = take((take(1)[0] ?? 0) + 1)
      .toString('latin1')
      .slice(0, -1)
    let value: string | undefined
    if (type === 's' || type === 'o')
      value = take(number() + 1)
        .toString('utf8')
        .slice(0, -1)
    else if (type === 'g')
      value = take((take(1)[0] ?? 0) + 1)
        .toString('latin1')
        .slice(0, -1)
    else if (type === 'u') number()
    else throw new ShoalError('ERR_DECODE', `a header of the bus has a field of type ${type.slice(0, 8)}`)
    if (name !== undefined && value !== undefined) found[name] = value
  }
  return found
}
