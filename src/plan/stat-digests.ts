import { createHash, randomUUID } from 'node:crypto'
import { type BigIntStats, constants, createReadStream, readFileSync, statSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { codeOf, type ShoalError, toShoalError } from '../base/errors.ts'
import { cidFromDigest, cidOf, digestOf } from '../wire/cid.ts'
import {
  type DigestFile,
  digestAt,
  encodeDigestFile,
  type KeptDigest,
  readDigestFile,
  signatureAt,
  unusedAt,
} from './digest-file.ts'
import { signatureOf } from './stat-memo.ts'

export interface FileDigest {
  cid: CID
  size: number
}

/** Larger files are hashed as a stream, so that memory stays bounded. */
const streamAbove = 8 << 20
/** Up to here a file is read on the event loop: a tenth of the price of four trips to the thread pool. */
const atOnceBytes = 128 << 10
/** Nobody can replace it by a pipe that would be waited for. */
const atOnceFlags = constants.O_RDONLY | constants.O_NONBLOCK
/** After so long on the event loop others have their turn: a disk may be slow. */
const turnMs = 5
const maxEntries = 200_000
/** How long after a change the digests are written down. */
const saveAfterMs = 180_000
/** Starts after which a digest that nobody asked for is forgotten. */
const maxUnused = 8

/** What `signatureOf` makes a text of: comparing numbers takes a fraction of that. */
type Stamp = Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs' | 'ctimeNs'>

interface Known {
  stamp: Stamp
  digest: FileDigest
  /** It was still fresh when its digest was taken: good for now, but not to be written down. */
  fresh: boolean
  /** Of a file that this node wrote itself: its identity and how many names it had. */
  own?: { names: bigint }
}

export interface KeptDigestsInit {
  /** Need not exist; its directory is made. */
  file: string
  /** Tells one start of the system from another: after a crash a file may be other than its time stamps say. */
  boot: string
  clock: Clock
  /** Told when the file could not be written at some time; the digests stay usable. */
  onTrouble(error: ShoalError): void
}

/**
 * Digests of files, remembered by (inode, size, mtime, ctime): a file that was not touched is not read again.
 * A file changed within the clock's resolution of its own time stamp could be missed, so a fresh one is not remembered.
 */
export class StatDigests {
  readonly #known = new Map<string, Known>()
  readonly #freshMs: number
  #keeping: KeptDigestsInit | undefined
  /** What an earlier start wrote down and this one has not yet asked for. */
  #kept: DigestFile | undefined
  #changed = false
  #cancelSave: (() => void) | undefined
  #saving: Promise<void> = Promise.resolve()
  /** On the event loop, since others had their turn. */
  #readingMs = 0

  /** @param freshMs a file changed less than this ago (whatever its own time stamp says) is read again. Default 50. */
  constructor(freshMs = 50) {
    this.#freshMs = freshMs
  }

  /** Goes on with what an earlier start wrote down; with nothing where that is absent, damaged or of another boot. */
  static async open(keeping: KeptDigestsInit): Promise<StatDigests> {
    const digests = new StatDigests()
    digests.#keeping = keeping
    try {
      digests.#kept = readDigestFile(await readFile(keeping.file), keeping.boot)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') keeping.onTrouble(toShoalError(error, 'ERR_STORE'))
    }
    return digests
  }

  /**
   * Writes down what is known, if that changed, atomically.
   * @throws ShoalError ERR_STORE or ERR_DISK_FULL
   */
  async save(): Promise<void> {
    const saving = this.#saving.then(() => this.#save())
    this.#saving = saving.catch(() => undefined)
    await saving
  }

  /** What is remembered of a file that was not touched since; at once, and nothing when it has to be read. */
  known(path: string): FileDigest | undefined {
    const stat = look(path)
    if (stat === undefined) return undefined
    return this.#remembered(path, stat)
  }

  /**
   * Says what a file holds that was written or read just now, so that it need not be read again.
   * @param identity as `identityOf` gave it then: a file that is another one by now is left alone
   */
  prime(path: string, cid: CID, identity?: string): void {
    const stat = look(path)
    if (stat === undefined || (identity !== undefined && identityOf(stat) !== identity)) return
    const own = { names: stat.nlink }
    this.#set(path, { stamp: stampOf(stat), digest: { cid, size: Number(stat.size) }, fresh: true, own })
  }

  /**
   * @throws the file system's error when the file is absent, not a regular file (EISDIR), or unreadable
   */
  async digest(path: string): Promise<FileDigest> {
    const stat = statSync(path, { bigint: true })
    const known = this.#remembered(path, stat)
    if (known !== undefined) return known
    const digest = await this.#read(path, stat)
    const ageMs = Date.now() - Number(stat.ctimeMs)
    if (ageMs >= this.#freshMs && digest.size === Number(stat.size)) {
      this.#set(path, { stamp: stampOf(stat), digest, fresh: false })
      this.#saveLater()
    }
    return digest
  }

  async #read(path: string, stat: BigIntStats): Promise<FileDigest> {
    if (stat.size > atOnceBytes || !stat.isFile()) return await read(path, Number(stat.size))
    const since = performance.now()
    const bytes = readFileSync(path, { flag: atOnceFlags })
    const digest = { cid: cidOf(bytes), size: bytes.length }
    this.#readingMs += performance.now() - since
    if (this.#readingMs > turnMs) {
      this.#readingMs = 0
      await nextTurn()
    }
    return digest
  }

  #set(path: string, known: Known): void {
    if (this.#known.size >= maxEntries) this.#known.clear()
    this.#known.set(path, known)
  }

  #remembered(path: string, stat: BigIntStats): FileDigest | undefined {
    const known = this.#known.get(path)
    if (known !== undefined) {
      if (isSame(known.stamp, stat) && known.stamp.ctimeNs === stat.ctimeNs) return known.digest
      if (known.own === undefined || !gotAnotherName(known.own, known.stamp, stat)) return undefined
      this.#set(path, { ...known, stamp: stampOf(stat), own: { names: stat.nlink } })
      return known.digest
    }
    const at = this.#kept?.entries.get(path)
    if (this.#kept === undefined || at === undefined) return undefined
    const { bytes, entries } = this.#kept
    entries.delete(path)
    if (entries.size === 0) this.#kept = undefined
    // Used or wrong: either way the file on disk is to change, but that alone is no reason to write it.
    if (signatureAt(bytes, at) !== signatureOf(stat)) return undefined
    const digest = { cid: cidFromDigest(digestAt(bytes, at)), size: Number(stat.size) }
    this.#set(path, { stamp: stampOf(stat), digest, fresh: false })
    return digest
  }

  #saveLater(): void {
    this.#changed = true
    if (this.#keeping === undefined || this.#cancelSave !== undefined) return
    const { clock, onTrouble } = this.#keeping
    this.#cancelSave = clock.after(saveAfterMs, () => {
      this.save().catch((error: unknown) => onTrouble(toShoalError(error, 'ERR_STORE')))
    })
  }

  async #save(): Promise<void> {
    this.#cancelSave?.()
    this.#cancelSave = undefined
    if (this.#keeping === undefined || !this.#changed) return
    const { file, boot } = this.#keeping
    const temporary = `${file}.${randomUUID()}`
    this.#changed = false
    try {
      await mkdir(dirname(file), { recursive: true })
      await writeFile(temporary, await encodeDigestFile(boot, this.#worthKeeping()), { mode: 0o600 })
      await rename(temporary, file)
    } catch (error) {
      this.#changed = true
      await rm(temporary, { force: true }).catch(() => undefined)
      throw toShoalError(error, 'ERR_STORE')
    }
  }

  /** What moves from one map to the other meanwhile comes twice rather than never; the later one counts. */
  *#worthKeeping(): Generator<KeptDigest> {
    const kept = this.#kept
    let room = maxEntries - this.#known.size
    for (const [path, at] of kept?.entries ?? []) {
      if (kept === undefined || --room < 0) break
      const unused = unusedAt(kept.bytes, at)
      if (unused >= maxUnused) continue
      yield { path, signature: signatureAt(kept.bytes, at), digest: digestAt(kept.bytes, at), unused: unused + 1 }
    }
    for (const [path, { stamp, digest, fresh }] of this.#known) {
      if (!fresh) yield { path, signature: signatureOf(stamp), digest: digestOf(digest.cid), unused: 0 }
    }
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

/** cargo links the libraries of a workspace to a second place: that sets the time of the last change, and changes nothing. */
function gotAnotherName({ names }: NonNullable<Known['own']>, stamp: Stamp, stat: BigIntStats): boolean {
  return stat.nlink !== names && isSame(stamp, stat)
}

/** As `identityOf` tells it. */
const isSame = (a: Stamp, b: Stamp): boolean =>
  a.mtimeNs === b.mtimeNs && a.ino === b.ino && a.size === b.size && a.dev === b.dev

/** The rest of what `stat` says is not kept. */
const stampOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): Stamp => ({ dev, ino, size, mtimeNs, ctimeNs })

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
