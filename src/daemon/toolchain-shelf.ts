import { type FileHandle, mkdir, open, readdir, readFile, rename, stat, statfs, unlink, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import { makeReadable } from '../execute/guest-users.ts'
import { removeTree } from '../execute/remove-tree.ts'
import {
  bytesOf,
  compilerProgram,
  decodeToolchain,
  manifestLimits,
  type ToolchainManifest,
} from '../plan/toolchain-manifest.ts'
import { sync } from '../store/durable.ts'
import { openFlags, readChecked } from '../store/files.ts'
import { cidOf, digestOf, hexOf } from '../wire/cid.ts'

export interface ToolchainShelfInit {
  /** Belongs to the shelf alone; made when absent. */
  dir: string
  /** More than that is never kept. */
  maxBytes: number
  /** Nor does it grow into the last bytes of its file system. */
  minFreeBytes: number
}

/** A toolchain that is whole. Whether its files are still what they were is for its user to find out. */
export interface ShelvedToolchain {
  /** Hex sha2-256 of its manifest. */
  digest: string
  manifest: Uint8Array
  manifestFile: string
  /** Holds what the manifest names and nothing else, at least when it was laid out. */
  sysroot: string
}

interface Kept {
  bytes: number
  /** Wall clock. */
  usedAt: number
}

export type Fill = (file: FileHandle, cid: CID, size: number) => Promise<void>

const partSuffix = '.part'
/** Manifests of toolchains that lie elsewhere. */
const manifests = 'manifests'
/** What was of use so lately is not given up for another. */
const keptMs = 600_000
const touchMs = 60_000
const filesAtOnce = 4

/**
 * Toolchains of other members on this disk: `DIGEST/manifest`, and the files in `DIGEST/root`. One that is being laid out has
 * another name until all of it is there and on the disk.
 */
export class ToolchainShelf {
  readonly #init: ToolchainShelfInit
  readonly #clock: Pick<Clock, 'wall'>
  readonly #kept = new Map<string, Kept>()

  constructor(init: ToolchainShelfInit, clock: Pick<Clock, 'wall'>) {
    this.#init = init
    this.#clock = clock
  }

  get stats(): { kept: number; bytes: number; maxBytes: number } {
    return { kept: this.#kept.size, bytes: this.#bytes, maxBytes: this.#init.maxBytes }
  }

  /** Digests. */
  keys(): string[] {
    return [...this.#kept.keys()]
  }

  has(digest: string): boolean {
    return this.#kept.has(digest)
  }

  /**
   * What was kept, the latest used first; removes what is not whole, and what there is no room for any more.
   * @throws the file system's error
   */
  async load(): Promise<ShelvedToolchain[]> {
    await mkdir(this.#init.dir, { recursive: true, mode: 0o700 })
    const found: (ShelvedToolchain & Kept)[] = []
    for (const name of await readdir(this.#init.dir)) {
      const shelved = await this.#look(name)
      if (shelved === undefined) await removeTree(join(this.#init.dir, name))
      else found.push(shelved)
    }
    found.sort((a, b) => b.usedAt - a.usedAt)
    for (const { digest, bytes, usedAt } of found) {
      if (this.#bytes + bytes > this.#init.maxBytes) await removeTree(join(this.#init.dir, digest))
      else this.#kept.set(digest, { bytes, usedAt })
    }
    return found.filter(({ digest }) => this.#kept.has(digest))
  }

  /**
   * Keeps the manifest of a toolchain that lies elsewhere until the next `load`.
   * @returns its file
   * @throws the file system's error
   */
  async note(digest: string, manifest: Uint8Array): Promise<string> {
    const file = join(this.#init.dir, manifests, digest)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, 0o644, (handle) => handle.writeFile(manifest))
    return file
  }

  /**
   * Which of the others have to go so that there is room for a toolchain, the one first that was used longest ago.
   * @param isBusy those that stay in any case
   * @throws ShoalError ERR_LIMIT when that does not help, ERR_DISK_FULL
   */
  async roomFor(bytes: number, isBusy: (digest: string) => boolean): Promise<string[]> {
    const { dir, maxBytes, minFreeBytes } = this.#init
    const leave: string[] = []
    let total = this.#bytes + bytes
    const before = this.#clock.wall() - keptMs
    for (const [digest, kept] of [...this.#kept].sort(([, a], [, b]) => a.usedAt - b.usedAt)) {
      if (total <= maxBytes) break
      if (kept.usedAt > before || isBusy(digest)) continue
      leave.push(digest)
      total -= kept.bytes
    }
    if (total > maxBytes) throw new ShoalError('ERR_LIMIT', `no room for a toolchain of ${bytes} bytes`)
    const { bavail, bsize } = await statfs(dir)
    if (bavail * bsize - bytes < minFreeBytes)
      throw new ShoalError('ERR_DISK_FULL', `no room for a toolchain in ${dir}`)
    return leave
  }

  /**
   * Lays out a toolchain. What an attempt that broke off left of it is used, whatever it left of another removed.
   * @param fill writes the content of one file
   * @param onFile the file is whole; it moves once more when all of them are
   * @throws the file system's error, and what `fill` throws
   */
  async lay(
    bytes: Uint8Array,
    fill: Fill,
    onFile: (cid: CID, path: string) => void = () => undefined,
  ): Promise<ShelvedToolchain> {
    const manifest = decodeToolchain(bytes)
    const digest = hexOf(cidOf(bytes))
    const part = join(this.#init.dir, `${digest}${partSuffix}`)
    for (const name of await readdir(this.#init.dir)) {
      if (name.endsWith(partSuffix) && join(this.#init.dir, name) !== part) await removeTree(join(this.#init.dir, name))
    }
    for (const directory of directoriesOf(manifest)) makeReadable(join(part, 'root', directory))
    const waiting = manifest.files[Symbol.iterator]()
    const workers = Array.from({ length: filesAtOnce }, async () => {
      for (const [path, cid, size] of waiting) {
        const file = join(part, 'root', path)
        if (!(await isWhole(file, cid, size))) {
          await writeFile(file, path === compilerProgram ? 0o555 : 0o444, (handle) => fill(handle, cid, size))
        }
        onFile(cid, file)
      }
    })
    const ended = await Promise.allSettled(workers)
    for (const end of ended) if (end.status === 'rejected') throw end.reason
    await writeFile(join(part, 'manifest'), 0o644, (handle) => handle.writeFile(bytes))
    await this.remove(digest)
    const place = join(this.#init.dir, digest)
    await rename(part, place)
    await sync(this.#init.dir)
    this.#kept.set(digest, { bytes: bytesOf(manifest), usedAt: this.#clock.wall() })
    return { digest, manifest: bytes, manifestFile: join(place, 'manifest'), sysroot: join(place, 'root') }
  }

  /** It is of use now. Never rejects: a time that is not noted is forgotten at the next start. */
  async used(digest: string): Promise<void> {
    const kept = this.#kept.get(digest)
    const now = this.#clock.wall()
    if (kept === undefined || now - kept.usedAt < touchMs) return
    kept.usedAt = now
    await utimes(join(this.#init.dir, digest, 'manifest'), now / 1000, now / 1000).catch(() => undefined)
  }

  /** @returns the bytes of its files. @throws the file system's error */
  async remove(digest: string): Promise<number> {
    const bytes = this.#kept.get(digest)?.bytes ?? 0
    this.#kept.delete(digest)
    await removeTree(join(this.#init.dir, digest))
    return bytes
  }

  get #bytes(): number {
    return [...this.#kept.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  async #look(name: string): Promise<(ShelvedToolchain & Kept) | undefined> {
    const manifestFile = join(this.#init.dir, name, 'manifest')
    try {
      const { size, mtimeMs } = await stat(manifestFile)
      if (size > manifestLimits.bytes) return undefined
      const manifest = new Uint8Array(await readFile(manifestFile))
      if (hexOf(cidOf(manifest)) !== name) return undefined
      const bytes = bytesOf(decodeToolchain(manifest))
      const sysroot = join(this.#init.dir, name, 'root')
      return { digest: name, manifest, manifestFile, sysroot, bytes, usedAt: mtimeMs }
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return undefined
    }
  }
}

const directoriesOf = ({ files }: ToolchainManifest): Set<string> => new Set(files.map(([path]) => dirname(path)))

/** A new file, on the disk when this resolves; a torn one of the same name is replaced. */
async function writeFile(path: string, mode: number, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error
  })
  const handle = await open(path, 'wx', mode)
  try {
    // Guests read it, whatever mask this node was started with.
    await handle.chmod(mode)
    await fill(handle)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function isWhole(path: string, cid: CID, size: number): Promise<boolean> {
  const options = { flags: openFlags, expectedBytes: size, maxBytes: size, keep: false }
  return (await readChecked(path, digestOf(cid), options)).kind === 'right'
}
