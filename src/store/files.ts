import { createHash, hash } from 'node:crypto'
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { codeOf } from '../base/errors.ts'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
/** Never a symbolic link at the last step, and never a wait for the writer of a pipe. */
export const openFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
/** For files of the user: links are followed, since the content is checked anyway. */
export const openFlagsFollowing = O_RDONLY | O_NONBLOCK

/** Up to here a file is read in one go on the event loop: a fraction of the price of four trips to the thread pool. */
export const readAtOnceBytes = 512 << 10
export const chunkBytes = 1 << 20

/** What a look at a file that should hold a block found. */
export type Checked =
  | { kind: 'right'; bytes: Uint8Array; stat: BigIntStats }
  | { kind: 'absent' }
  /** Nothing can be said about the content. */
  | { kind: 'unreadable'; why: string }
  | { kind: 'wrong'; why: string }

/** Room for the chunks of one file after the other. */
export const newChunk = (): Buffer => Buffer.allocUnsafeSlow(chunkBytes)

/** sha2-256; long input is hashed in slices so that the event loop keeps turning. */
export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes.length <= 4 * chunkBytes) return hash('sha256', bytes, 'buffer')
  const hasher = createHash('sha256')
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    hasher.update(bytes.subarray(at, at + chunkBytes))
    await nextTurn()
  }
  return hasher.digest()
}

export interface CheckOptions {
  flags: number
  /** The size that the file is believed to have; only decides how it is read. */
  expectedBytes: number
  /** A longer file is `wrong`. */
  maxBytes: number
  /** False: the content is compared and not kept in memory; `bytes` of a larger file is then not all of it. */
  keep: boolean
}

/** Reads a file and compares its sha2-256 with `digest`. Never rejects. */
export async function readChecked(path: string, digest: Uint8Array, options: CheckOptions): Promise<Checked> {
  try {
    if (options.expectedBytes <= readAtOnceBytes) {
      const read = readSmall(path, digest, options)
      if (read !== undefined) return read
    }
    return await readLarge(path, digest, options)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return { kind: 'absent' }
    if (code === 'ELOOP') return { kind: 'wrong', why: 'a symbolic link' }
    if (code === 'EISDIR' || code === 'EIO' || code === 'ENXIO') return { kind: 'wrong', why: code }
    return { kind: 'unreadable', why: code ?? String(error) }
  }
}

/** @returns undefined when the file is too long to be read in one go */
function readSmall(path: string, digest: Uint8Array, { flags, maxBytes }: CheckOptions): Checked | undefined {
  const fd = openSync(path, flags)
  try {
    const stat = fstatSync(fd, { bigint: true })
    const unfit = unfitness(stat, maxBytes)
    if (unfit !== undefined) return unfit
    if (stat.size > readAtOnceBytes) return undefined
    const bytes = Buffer.allocUnsafeSlow(Number(stat.size))
    let filled = 0
    while (filled < bytes.length) {
      const count = readSync(fd, bytes, filled, bytes.length - filled, null)
      if (count === 0) return shrunk
      filled += count
    }
    return compared(hash('sha256', bytes, 'buffer'), digest, bytes, stat)
  } finally {
    closeSync(fd)
  }
}

/**
 * Reads a file of `size` bytes into `into`, which is long enough, on the event loop.
 * @returns what the file looked like afterwards; undefined when it is not there, or shorter
 */
export function readNow(path: string, size: number, into: Uint8Array): BigIntStats | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, openFlags)
    for (let filled = 0; filled < size; ) {
      const count = readSync(fd, into, filled, size - filled, null)
      if (count === 0) return undefined
      filled += count
    }
    return fstatSync(fd, { bigint: true })
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

async function readLarge(path: string, digest: Uint8Array, { flags, maxBytes, keep }: CheckOptions): Promise<Checked> {
  const file = await open(path, flags)
  try {
    const stat = await file.stat({ bigint: true })
    const unfit = unfitness(stat, maxBytes)
    if (unfit !== undefined) return unfit
    const size = Number(stat.size)
    const bytes = Buffer.allocUnsafeSlow(keep ? size : Math.min(size, chunkBytes))
    const hasher = createHash('sha256')
    let read = 0
    while (read < size) {
      const at = keep ? read : 0
      const { bytesRead } = await file.read(bytes, at, Math.min(chunkBytes, size - read), null)
      if (bytesRead === 0) return shrunk
      hasher.update(bytes.subarray(at, at + bytesRead))
      read += bytesRead
    }
    return compared(hasher.digest(), digest, bytes, stat)
  } finally {
    await file.close()
  }
}

const shrunk: Checked = { kind: 'wrong', why: 'became shorter' }

function unfitness(stat: BigIntStats, maxBytes: number): Checked | undefined {
  if (!stat.isFile()) return { kind: 'wrong', why: 'not a regular file' }
  if (stat.size > maxBytes) return { kind: 'wrong', why: `longer than ${maxBytes} bytes` }
  return undefined
}

function compared(found: Uint8Array, digest: Uint8Array, bytes: Uint8Array, stat: BigIntStats): Checked {
  return Buffer.compare(found, digest) === 0
    ? { kind: 'right', bytes, stat }
    : { kind: 'wrong', why: 'other content than its name says' }
}

/**
 * Hashes an open file from its start, in chunks; `each` is done with a chunk before the next is read. Stops early once
 * more than `expectedBytes` were read: such a file is growing.
 * @param buffer what the chunks lie in
 */
export async function hashFile(
  file: FileHandle,
  expectedBytes: number,
  each: (chunk: Uint8Array) => Promise<void>,
  buffer: Uint8Array = newChunk(),
): Promise<{ digest: Uint8Array; size: number }> {
  const hasher = createHash('sha256')
  let size = 0
  while (size <= expectedBytes) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, size)
    if (bytesRead === 0) break
    const chunk = buffer.subarray(0, bytesRead)
    const done = each(chunk)
    hasher.update(chunk)
    await done
    size += bytesRead
  }
  return { digest: hasher.digest(), size }
}
