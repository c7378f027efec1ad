import { decode, encode } from '@ipld/dag-cbor'
import type { Random } from '../../src/base/clock.ts'

type Bytes = Uint8Array
type Fields = Record<string, unknown>
interface Envelope {
  type: string
  body: Fields
  sig: Bytes
  chain: { body: Fields; sig: Bytes }[]
}

const order = 2n ** 252n + 27742317777372353535851937790883648493n
const below = (random: Random, limit: number): number => Math.floor(random() * limit)

/** One of a list. */
export function pick<T>(random: Random, list: readonly T[]): T {
  const chosen = list[below(random, list.length)]
  if (chosen === undefined) throw new Error('nothing to pick from')
  return chosen
}

/** Other bytes than these: one to three bits turned over. */
export function flipBits(bytes: Bytes, random: Random): Bytes {
  const changed = new Uint8Array(bytes)
  const at = below(random, bytes.length * 8)
  for (const bit of [at, below(random, bytes.length * 8), below(random, bytes.length * 8)].slice(
    0,
    1 + below(random, 3),
  )) {
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  }
  return changed
}

/** Cut off, cut out, doubled or made longer. */
export function cutBytes(bytes: Bytes, random: Random): Bytes {
  const [one, two] = [below(random, bytes.length), below(random, bytes.length)]
  const [from, to] = [Math.min(one, two), Math.max(one, two) + 1]
  switch (below(random, 4)) {
    case 0:
      return bytes.slice(0, one)
    case 1:
      return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)])
    case 2:
      return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)])
    default:
      return Buffer.concat([bytes, randomBytes(1 + below(random, 40), random)])
  }
}

export function randomBytes(length: number, random: Random): Bytes {
  return Uint8Array.from({ length }, () => below(random, 256))
}

/** Canonical, and with the same signature, but it says something else: fields changed, exchanged, or taken from another. */
export function changeFields(bytes: Bytes, other: Bytes, random: Random): Bytes {
  const envelope: Envelope = decode(bytes)
  const foreign: Envelope = decode(other)
  const body = pick(random, [envelope, ...envelope.chain]).body
  const names = Object.keys(body)
  const [name, second] = [pick(random, names), pick(random, names)]
  switch (below(random, 5)) {
    case 0:
      ;[body[name], body[second]] = [body[second], body[name]]
      break
    case 1:
      body[name] = foreign.body[name]
      break
    case 2:
      body[name] = pick<unknown>(random, [null, 0, -1, 1.5, '', 'x', new Uint8Array(32), [], {}, true, 2 ** 53 - 1])
      break
    case 3: {
      const value = body[name]
      if (typeof value === 'number') body[name] = value + pick(random, [1, -1, 1000, 86_400_000, 1e15])
      else if (typeof value === 'string') body[name] = `${value}x`
      else if (value instanceof Uint8Array) body[name] = flipBits(value, random)
      else if (Array.isArray(value)) body[name] = [...value, pick(random, ['admin', 'inviter', 'ci', 'member'])]
      else if (isFields(value) && random() < 0.7) value[pick(random, Object.keys(value))] = foreign.sig
      else body[name] = {}
      break
    }
    default:
      if (random() < 0.5) delete body[name]
      else body[`${name}2`] = body[name]
  }
  return encode(withoutUndefined(envelope))
}

/** Canonical, but the chain or a signature is another one. */
export function changeProof(bytes: Bytes, other: Bytes, random: Random): Bytes {
  const envelope: Envelope = decode(bytes)
  const foreign: Envelope = decode(other)
  const { chain } = envelope
  switch (below(random, 7)) {
    case 0:
      envelope.chain = chain.slice(1)
      break
    case 1:
      envelope.chain = [...chain, ...foreign.chain, foreign]
      break
    case 2:
      envelope.chain = chain.length > 1 ? chain.toReversed() : [...chain, ...chain, ...chain, ...chain, { ...foreign }]
      break
    case 3:
      envelope.sig = foreign.sig
      break
    case 4:
      envelope.sig = later(envelope.sig)
      break
    case 5:
      envelope.type = pick(random, ['invite', 'redemption', 'revocation', 'genesis', 'certificate2'])
      break
    default:
      for (const link of chain) link.sig = random() < 0.5 ? later(link.sig) : foreign.sig
      if (chain.length === 0) envelope.sig = new Uint8Array(64)
  }
  const links = envelope.chain.map(({ body, sig }) => ({ body, sig }))
  return encode({ type: envelope.type, body: envelope.body, sig: envelope.sig, chain: links })
}

/** The same value in another form: longer lengths, no lengths, other order of the fields, a tag, bytes behind it. */
export function encodeLoosely(bytes: Bytes, random: Random): Bytes {
  const value: unknown = decode(bytes)
  for (;;) {
    const loose = Buffer.concat(loosely(value, random, 0.05))
    if (Buffer.compare(loose, bytes) !== 0) return new Uint8Array(loose)
  }
}

function loosely(value: unknown, random: Random, chance: number): Bytes[] {
  const isOdd = random() < chance
  const head = (major: number, argument: number): Bytes => header(major, argument, isOdd ? 1 + below(random, 3) : 0)
  if (value === null) return [Uint8Array.of(isOdd ? 0xf7 : 0xf6)]
  if (typeof value === 'boolean') return [Uint8Array.of(value ? 0xf5 : 0xf4)]
  if (typeof value === 'number') return [head(0, value)]
  if (value instanceof Uint8Array) return pieces(2, value, isOdd && random() < 0.5, head)
  if (typeof value === 'string') return pieces(3, Buffer.from(value), isOdd && random() < 0.5, head)
  const isList = Array.isArray(value)
  const items = isList
    ? value.map((item) => loosely(item, random, chance))
    : Object.entries(decodeOrder(value as Fields)).map((entry) =>
        entry.flatMap((item) => loosely(item, random, chance)),
      )
  if (isOdd && !isList && random() < 0.5) items.reverse()
  if (isOdd && random() < 0.3) return [Uint8Array.of(isList ? 0x9f : 0xbf), ...items.flat(), Uint8Array.of(0xff)]
  if (isOdd && random() < 0.2) return [Uint8Array.of(0xc6), header(isList ? 4 : 5, items.length, 0), ...items.flat()]
  return [head(isList ? 4 : 5, items.length), ...items.flat()]
}

/** Fields in the order in which dag-cbor writes them. */
function decodeOrder(value: Fields): Fields {
  return decode(encode(value))
}

function pieces(
  major: number,
  bytes: Bytes,
  endless: boolean,
  head: (major: number, length: number) => Bytes,
): Bytes[] {
  if (!endless) return [head(major, bytes.length), bytes]
  return [Uint8Array.of((major << 5) | 31), header(major, bytes.length, 0), bytes, Uint8Array.of(0xff)]
}

/** A CBOR head that is `longer` steps longer than it has to be. */
function header(major: number, argument: number, longer: number): Bytes {
  const sizes = [0, 1, 2, 4, 8]
  const least = argument < 24 ? 0 : argument < 2 ** 8 ? 1 : argument < 2 ** 16 ? 2 : argument < 2 ** 32 ? 3 : 4
  const step = Math.min(least + longer, 4)
  if (step === 0) return Uint8Array.of((major << 5) | argument)
  const head = Buffer.alloc(9)
  head.writeBigUInt64BE(BigInt(argument), 1)
  const size = sizes[step] ?? 8
  head[8 - size] = (major << 5) | (23 + step)
  return new Uint8Array(head.subarray(8 - size))
}

/** The same R with s + L: a second signature that a careless verifier takes. */
function later(sig: Bytes): Bytes {
  const s = BigInt(`0x${Buffer.from(sig.subarray(32)).reverse().toString('hex')}`) + order
  return Buffer.concat([sig.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse()])
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && Object.keys(value).length > 0

function withoutUndefined(envelope: Envelope): Envelope {
  for (const { body } of [envelope, ...envelope.chain]) {
    for (const name of Object.keys(body)) if (body[name] === undefined) delete body[name]
  }
  return envelope
}
