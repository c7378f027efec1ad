import { createHash } from 'node:crypto'

/**
 * What is kept of files' digests between two runs: one file, in which each path shares what it can with the one before.
 *
 *   magic (8)  length (u16) and text of the system's boot id
 *   each entry: u16 bytes shared with the path before, u16 bytes of path, path, u8 starts without use, device,
 *               inode, size, mtime and ctime in ns (five i64), sha2-256 (32)
 *   sha2-256 of everything before it (32)
 *
 * Little endian. A file that is damaged, of another boot or too large holds nothing.
 */
const magic = Buffer.from('shoaldg1')
const headBytes = 4
const numbers = 5
const digestBytes = 32
const bodyBytes = 1 + numbers * 8 + digestBytes
const maxFileBytes = 64 << 20
const maxPathBytes = 4096
/** So many entries at a time, so that nothing else waits for longer than some milliseconds. */
const slice = 1000

export interface KeptDigest {
  path: string
  /** As `signatureOf` gives it. */
  signature: string
  /** sha2-256 of the content. */
  digest: Uint8Array
  /** How many starts ago it was last of use. */
  unused: number
}

export interface DigestFile {
  bytes: Buffer
  /** Where each path's entry has its content, which is read when it is asked for. */
  entries: Map<string, number>
}

/** @returns undefined for whatever is not such a file of this boot */
export function readDigestFile(bytes: Buffer, boot: string): DigestFile | undefined {
  const end = bytes.length - digestBytes
  if (bytes.length > maxFileBytes || end < magic.length + 2 || !bytes.subarray(0, magic.length).equals(magic)) {
    return undefined
  }
  if (!createHash('sha256').update(bytes.subarray(0, end)).digest().equals(bytes.subarray(end))) return undefined
  const bootBytes = bytes.readUInt16LE(magic.length)
  let at = magic.length + 2 + bootBytes
  if (at > end || bytes.toString('utf8', magic.length + 2, at) !== boot) return undefined
  const entries = new Map<string, number>()
  let path = Buffer.alloc(0)
  while (at < end) {
    if (at + headBytes > end) return undefined
    const shared = bytes.readUInt16LE(at)
    const more = bytes.readUInt16LE(at + 2)
    at += headBytes
    if (shared > path.length || at + more + bodyBytes > end) return undefined
    path = Buffer.concat([path.subarray(0, shared), bytes.subarray(at, at + more)])
    at += more
    entries.set(path.toString('utf8'), at)
    at += bodyBytes
  }
  return { bytes, entries }
}

export const unusedAt = (bytes: Buffer, at: number): number => bytes.readUInt8(at)

export function signatureAt(bytes: Buffer, at: number): string {
  let text = ''
  for (let number = 0; number < numbers; number++) {
    text += `${number === 0 ? '' : ':'}${bytes.readBigInt64LE(at + 1 + number * 8)}`
  }
  return text
}

/** A copy: the file as a whole need not stay in memory for it. */
export function digestAt(bytes: Buffer, at: number): Uint8Array {
  return new Uint8Array(bytes.subarray(at + 1 + numbers * 8, at + bodyBytes))
}

/** The file's bytes. Pauses in between; at most 65,535 starts and so many bytes as can be read again. */
export async function encodeDigestFile(boot: string, entries: Iterable<KeptDigest>): Promise<Buffer> {
  const name = Buffer.from(boot)
  const head = Buffer.alloc(magic.length + 2)
  magic.copy(head)
  head.writeUInt16LE(name.length, magic.length)
  const hash = createHash('sha256').update(head).update(name)
  const parts: Buffer[] = [head, name]
  let total = head.length + name.length + digestBytes
  let pending: Buffer[] = []
  const flush = (): void => {
    const part = Buffer.concat(pending)
    hash.update(part)
    parts.push(part)
    pending = []
  }
  let before = Buffer.alloc(0)
  for (const entry of entries) {
    const path = Buffer.from(entry.path)
    if (path.length > maxPathBytes) continue
    const encoded = encodeEntry(entry, path, before)
    total += encoded.length
    if (total > maxFileBytes) break
    pending.push(encoded)
    before = path
    if (pending.length < slice) continue
    flush()
    await new Promise((resolve) => setImmediate(resolve))
  }
  flush()
  parts.push(hash.digest())
  return Buffer.concat(parts)
}

function encodeEntry({ signature, digest, unused }: KeptDigest, path: Buffer, before: Buffer): Buffer {
  const most = Math.min(path.length, before.length)
  let shared = 0
  while (shared < most && path[shared] === before[shared]) shared++
  const more = path.length - shared
  const entry = Buffer.alloc(headBytes + more + bodyBytes)
  entry.writeUInt16LE(shared, 0)
  entry.writeUInt16LE(more, 2)
  path.copy(entry, headBytes, shared)
  let at = entry.writeUInt8(Math.min(unused, 255), headBytes + more)
  for (const number of signature.split(':')) at = entry.writeBigInt64LE(BigInt(number), at)
  entry.set(digest, at)
  return entry
}
