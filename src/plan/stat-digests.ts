import { createHash } from 'node:crypto'
import { type BigIntStats, createReadStream, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { cidFromDigest, cidOf } from '../wire/cid.ts'
import { signatureOf } from './stat-memo.ts'

export interface FileDigest {
  cid: CID
  size: number
}

/** Larger files are hashed as a stream, so that memory stays bounded. */
const streamAbove = 8 << 20
const maxEntries = 200_000

/**
 * Digests of files, remembered by (inode, size, mtime, ctime): a file that was not touched is not read again.
 * A file changed within the clock's resolution of its own time stamp could be missed, so a fresh one is not remembered.
 */
export class StatDigests {
  readonly #known = new Map<string, { signature: string; digest: FileDigest }>()
  readonly #freshMs: number

  /** @param freshMs a file changed less than this ago (whatever its own time stamp says) is read again. Default 50. */
  constructor(freshMs = 50) {
    this.#freshMs = freshMs
  }

  /** What is remembered of a file that was not touched since; at once, and nothing when it has to be read. */
  known(path: string): FileDigest | undefined {
    const stat = look(path)
    if (stat === undefined) return undefined
    const known = this.#known.get(path)
    return known?.signature === signatureOf(stat) ? known.digest : undefined
  }

  /**
   * Says what a file holds that was written or read just now, so that it need not be read again.
   * @param identity as `identityOf` gave it then: a file that is another one by now is left alone
   */
  prime(path: string, cid: CID, identity?: string): void {
    const stat = look(path)
    if (stat === undefined || (identity !== undefined && identityOf(stat) !== identity)) return
    this.#known.set(path, { signature: signatureOf(stat), digest: { cid, size: Number(stat.size) } })
  }

  /**
   * @throws the file system's error when the file is absent, not a regular file (EISDIR), or unreadable
   */
  async digest(path: string): Promise<FileDigest> {
    const stat = statSync(path, { bigint: true })
    const signature = signatureOf(stat)
    const known = this.#known.get(path)
    if (known?.signature === signature) return known.digest
    const digest = await read(path, Number(stat.size))
    const ageMs = Date.now() - Number(stat.ctimeMs)
    if (ageMs >= this.#freshMs && digest.size === Number(stat.size)) {
      if (this.#known.size >= maxEntries) this.#known.clear()
      this.#known.set(path, { signature, digest })
    }
    return digest
  }
}

/** Undefined where nothing can be read. */
function look(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}

/** What tells two files with one name apart, but not two names of one file: links and renames change nothing of it. */
export function identityOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}`
}

async function read(path: string, size: number): Promise<FileDigest> {
  if (size <= streamAbove) {
    const bytes = await readFile(path)
    return { cid: cidOf(bytes), size: bytes.length }
  }
  const hash = createHash('sha256')
  let total = 0
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(chunk)
    total += chunk.length
  }
  return { cid: cidFromDigest(hash.digest()), size: total }
}
