import { createHash, randomUUID } from 'node:crypto'
import { type BigIntStats, statSync } from 'node:fs'
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { ShoalError, toShoalError } from '../base/errors.ts'

/** A file as it was when its content was known. */
export interface Content {
  /** Lower-case hex. */
  sha256: string
  size: number
  /** As `signatureOf` gives it. */
  signature: string
}

const maxFileBytes = 16 << 20
const maxEntries = 20_000
const chunkBytes = 1 << 20
/** A file changed this recently may change again without its time stamp showing it. */
const freshMs = 2000

const schema = z.strictObject({
  v: z.literal(1),
  files: z.record(z.string(), z.tuple([z.string(), z.string().regex(/^[0-9a-f]{64}$/)])),
  notes: z.record(z.string(), z.record(z.string(), z.string())),
})

/**
 * Digests of large files that hardly ever change, kept across starts in one JSON file: by path, with what `stat` said when
 * they were read. Beside them, small notes that hold as long as the name they are filed under does.
 */
export class StatMemo {
  readonly #file: string
  readonly #wall: () => number
  readonly #files: Map<string, [signature: string, sha256: string]>
  readonly #notes: Map<string, Record<string, string>>
  #changed = false

  private constructor(file: string, wall: () => number, kept: z.output<typeof schema>) {
    this.#file = file
    this.#wall = wall
    this.#files = new Map(Object.entries(kept.files))
    this.#notes = new Map(Object.entries(kept.notes))
  }

  /** A memo that is absent, damaged or of another version starts empty: it can always be computed again. */
  static async open(file: string, wall: () => number): Promise<StatMemo> {
    return new StatMemo(file, wall, await read(file))
  }

  /**
   * Content of a regular file, links followed; from the memo when `stat` says the same as then.
   * @throws the file system's error; ShoalError ERR_TOOLCHAIN when it is no regular file or changes while it is read
   */
  async content(path: string): Promise<Content> {
    const before = statSync(path, { bigint: true })
    if (!before.isFile()) throw new ShoalError('ERR_TOOLCHAIN', `${path} is not a regular file`)
    const signature = signatureOf(before)
    const size = Number(before.size)
    const known = this.#files.get(path)
    if (known?.[0] === signature) return { sha256: known[1], size, signature }
    const sha256 = await hashFile(path)
    if (signatureOf(statSync(path, { bigint: true })) !== signature) {
      throw new ShoalError('ERR_TOOLCHAIN', `${path} changed while it was read`)
    }
    if (this.#wall() - Number(before.ctimeMs) > freshMs) {
      if (this.#files.size >= maxEntries) this.#files.clear()
      this.#files.set(path, [signature, sha256])
      this.#changed = true
    }
    return { sha256, size, signature }
  }

  note(name: string): Readonly<Record<string, string>> | undefined {
    return this.#notes.get(name)
  }

  setNote(name: string, note: Record<string, string>): void {
    this.#notes.set(name, note)
    this.#changed = true
  }

  /**
   * Writes the memo if it changed, atomically.
   * @throws ShoalError ERR_STORE or ERR_DISK_FULL; the memo in memory stays usable
   */
  async save(): Promise<void> {
    if (!this.#changed) return
    this.#changed = false
    const document = { v: 1, files: Object.fromEntries(this.#files), notes: Object.fromEntries(this.#notes) }
    const temporary = `${this.#file}.${randomUUID()}`
    try {
      await mkdir(dirname(this.#file), { recursive: true })
      await writeFile(temporary, JSON.stringify(document), { mode: 0o600 })
      await rename(temporary, this.#file)
    } catch (error) {
      this.#changed = true
      await rm(temporary, { force: true })
      throw toShoalError(error, 'ERR_STORE')
    }
  }
}

/** What tells a file apart from its earlier self without reading it. */
export function signatureOf(stat: Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs' | 'ctimeNs'>): string {
  return `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`
}

async function read(file: string): Promise<z.output<typeof schema>> {
  const empty = { v: 1 as const, files: {}, notes: {} }
  let document: unknown
  try {
    const bytes = await readFile(file)
    if (bytes.length > maxFileBytes) return empty
    document = JSON.parse(bytes.toString('utf8'))
  } catch {
    return empty
  }
  const parsed = schema.safeParse(document)
  return parsed.success ? parsed.data : empty
}

/** In pieces, so that the event loop is never blocked for longer than one of them takes (half a millisecond). */
async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(chunkBytes)
  const file = await open(path, 'r')
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, chunkBytes, null)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(buffer.subarray(0, bytesRead))
    }
  } finally {
    await file.close()
  }
}
