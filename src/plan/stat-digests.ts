import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import { cidFromDigest, cidOf } from '../wire/cid.ts'

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

  /**
   * @throws the file system's error when the file is absent, not a regular file (EISDIR), or unreadable
   */
  async digest(path: string): Promise<FileDigest> {
    const stat = statSync(path, { bigint: true })
    const signature = `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`
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
