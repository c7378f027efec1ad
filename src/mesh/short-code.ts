import { createHash } from 'node:crypto'
import { encode } from '@ipld/dag-cbor'

/** What both ends of one connection know, and what nobody between them can make the same for two connections. */
export interface CodeInit {
  /** The first 16 bytes of the genesis' id. */
  mesh: Uint8Array
  /** The two keys. */
  newcomer: Uint8Array
  member: Uint8Array
  /** What each of the two has drawn: 16 random bytes. */
  newcomerNonce: Uint8Array
  memberNonce: Uint8Array
  /** The hash of the handshake, 32 bytes. */
  channel: Uint8Array
}

export const nonceBytes = 16

/** What the newcomer says first: it ties it to a nonce that it shows only after the member has shown its own. */
export function commitmentTo(nonce: Uint8Array, newcomer: Uint8Array): Uint8Array {
  return digest('shoal/1/ask-commitment', { nonce, newcomer })
}

/** Six digits that people compare: equal at both ends unless somebody sits in between, but for one time in a million. */
export function shortCode(init: CodeInit): string {
  const { mesh, newcomer, member, newcomerNonce, memberNonce, channel } = init
  const hash = digest('shoal/1/ask-code', { mesh, newcomer, member, newcomerNonce, memberNonce, channel })
  const number = new DataView(hash.buffer, hash.byteOffset).getBigUint64(0) % 1_000_000n
  return number.toString().padStart(6, '0')
}

/** The digits of a code as a person may have typed it; undefined when it is none. */
export function readShortCode(text: string): string | undefined {
  const digits = text.replace(/[\s-]/g, '')
  return /^\d{6}$/.test(digits) ? digits : undefined
}

function digest(domain: string, value: Record<string, Uint8Array>): Uint8Array {
  const hash = createHash('sha256').update(domain).update(new Uint8Array(1)).update(encode(value)).digest()
  return new Uint8Array(hash)
}
