import { createHash } from 'node:crypto'
import { closeSync, constants, fstatSync, lstatSync, openSync, read, readSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { OutputKind, Result } from '../plan/action.ts'
import { nameDepInfo } from '../plan/dep-info.ts'
import type { Root } from '../plan/roots.ts'
import { identityOf } from '../plan/stat-digests.ts'
import { cidFromDigest, cidOf } from '../wire/cid.ts'
import type { Blocks } from './blocks.ts'
import { findNeedle, type Needle, NeedleSearch } from './needles.ts'

/** One output in the store. */
export interface Collected {
  name: string
  kind: OutputKind
  cid: CID
  size: number
  executable: boolean
  /** As `identityOf` gives it: tells whether a file elsewhere is this very one. */
  identity: string
}

/** An output as results name it. */
export function withoutIdentity({ identity: _, ...output }: Collected): Result['outputs'][number] {
  return output
}

export interface Collection {
  /** Every declared output but the `.d` file, in the order declared. */
  outputs: Collected[]
  /** The text of the `.d` file, roots by name; empty when none was declared. */
  depInfo: string
  /** Name of the first output that holds a path of this machine. */
  pathBound: string | undefined
  /** Which of the needles were found, at least one in each output that holds any. */
  found: Needle[]
}

export interface CollectOptions {
  /** The directory that rustc wrote to. Nothing writes to it any more. */
  dir: string
  outputs: readonly (readonly [string, OutputKind])[]
  /** What must not occur in a portable output. */
  needles: readonly Needle[]
  /** As `sortRoots` returns them: how the paths in the `.d` file are named. */
  roots: readonly Root[]
  blocks: Blocks
  /** Of all outputs together. Default 2 GiB. */
  maxBytes?: number
  /** The user as whom a guest wrote the files, who may want to cheat: then links of any kind are refused, and what is not that user's. */
  guest: number | undefined
  /** What was taken from there before, and found to hold no needle: it is not copied once more. */
  taken?: CID | undefined
}

const defaultMaxBytes = 2 * 1024 ** 3
const maxDepInfo = 2 << 20
/** Above this, files are read in pieces. */
const wholeBytes = 1 << 20
const pieceBytes = 1 << 20
/** Up to this a file is in the page cache a moment after it was written, and read in a moment. */
const atOnceBytes = 1 << 20

/**
 * Takes what a finished compile left behind: the declared files and nothing else, by copy, searched for paths of this
 * machine on the way.
 * @throws ShoalError ERR_OUTPUT when a declared output is missing, is no plain file or is no text where text is due;
 *   ERR_LIMIT when they are too large; whatever the store throws
 */
export async function collectOutputs(options: CollectOptions): Promise<Collection> {
  let left = options.maxBytes ?? defaultMaxBytes
  const opened: { file: PlainFile; name: string; kind: OutputKind }[] = []
  try {
    for (const [name, kind] of options.outputs) {
      const most = kind === 'dep-info' ? Math.min(left, maxDepInfo) : left
      const file = openPlain(join(options.dir, name), most, options.guest)
      opened.push({ file, name, kind })
      left -= file.size
    }
    const taken = await Promise.all(opened.map((output) => takeOutput(output, options)))
    return {
      outputs: taken.flatMap(({ collected }) => collected ?? []),
      depInfo: taken.find(({ text }) => text !== undefined)?.text ?? '',
      pathBound: opened[taken.findIndex(({ found }) => found !== undefined)]?.name,
      found: taken.flatMap(({ found }) => found ?? []),
    }
  } finally {
    for (const { file } of opened) closeSync(file.fd)
  }
}

interface Taken {
  collected?: Collected
  /** Of the `.d` file. */
  text?: string
  found: Needle | undefined
}

async function takeOutput(
  { file, name, kind }: { file: PlainFile; name: string; kind: OutputKind },
  options: CollectOptions,
): Promise<Taken> {
  if (kind !== 'dep-info') {
    const { taken, ...rest } = options
    const { cid, size, found } = await store(file, kind === 'metadata' ? { ...rest, taken } : rest)
    return { collected: { name, kind, cid, size, executable: file.executable, identity: file.identity }, found }
  }
  const text = await readDepInfo(file, options.roots)
  return { text, found: findNeedle(Buffer.from(text), options.needles) }
}

/**
 * The same for a compile that the shim ran here in a directory of its own: rustc's own links are fine, and an output that
 * holds a path of this machine is reported, not refused.
 * @param search the directories whose paths make an output path-bound, the worst first
 */
export function collectHere(
  options: Omit<CollectOptions, 'needles' | 'guest'> & { search: readonly string[] },
): Promise<Collection> {
  const { search, ...rest } = options
  const needles = search.map((path) => Buffer.from(path))
  return collectOutputs({ ...rest, needles, guest: undefined })
}

export interface TakeOptions {
  needles: readonly Needle[]
  blocks: Blocks
  maxBytes: number
  guest: number | undefined
}

/**
 * Copies one file into the store.
 * @returns its name by content, and whether it holds one of the needles
 */
export async function takeFile(
  path: string,
  options: TakeOptions,
): Promise<{ cid: CID; size: number; pathBound: boolean }> {
  const file = openPlain(path, options.maxBytes, options.guest)
  try {
    const { cid, size, found } = await store(file, options)
    return { cid, size, pathBound: found !== undefined }
  } finally {
    closeSync(file.fd)
  }
}

/**
 * Reads a `.d` file while rustc may still run: it is complete before the metadata is.
 * @returns its text, roots by name
 * @throws as `collectOutputs`
 */
export async function takeDepInfo(
  path: string,
  options: { roots: readonly Root[]; maxBytes: number; guest: number | undefined },
): Promise<string> {
  const file = openPlain(path, Math.min(options.maxBytes, maxDepInfo), options.guest)
  try {
    return await readDepInfo(file, options.roots)
  } finally {
    closeSync(file.fd)
  }
}

async function readDepInfo(file: PlainFile, roots: readonly Root[]): Promise<string> {
  return nameDepInfo(decode(await readWhole(file), file.path), roots)
}

async function store(
  file: PlainFile,
  { needles, blocks, guest, taken }: Pick<CollectOptions, 'needles' | 'blocks' | 'guest' | 'taken'>,
): Promise<{ cid: CID; size: number; found: Needle | undefined }> {
  const { path, size } = file
  if (size <= wholeBytes) {
    const bytes = await readWhole(file)
    const found = findNeedle(bytes, needles)
    // What must not be used need not be kept.
    return { cid: found && guest !== undefined ? cidOf(bytes) : await blocks.put(bytes), size, found }
  }
  if (taken !== undefined && (await digest(file)).equals(taken) && (await blocks.path(taken)) !== undefined) {
    return { cid: taken, size, found: undefined }
  }
  // Searched on its way into the store, so that it is read once and never lies in memory as a whole.
  const search = new NeedleSearch(needles)
  const { cid } = await blocks.putFile(path, { maxBytes: size, watch: (chunk) => search.push(chunk) })
  // By its name it was opened once more.
  const now = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  if (guest !== undefined && (now === undefined || identityOf(now) !== file.identity)) {
    throw new ShoalError('ERR_OUTPUT', `${path} changed while it was read`)
  }
  return { cid, size, found: search.found }
}

interface PlainFile {
  path: string
  fd: number
  size: number
  executable: boolean
  identity: string
}

/**
 * Opens a file of which only the name is known, and makes sure on the descriptor that it is what it should be. At once:
 * small steps like these are done sooner than a thread is found for them.
 */
function openPlain(path: string, maxBytes: number, guest: number | undefined): PlainFile {
  const fd = openUnfollowed(path)
  try {
    const stat = fstatSync(fd, { bigint: true })
    const size = Number(stat.size)
    const mode = Number(stat.mode)
    if (!stat.isFile()) throw new ShoalError('ERR_OUTPUT', `${path} is not a regular file`)
    const foreign = stat.nlink !== 1n || Number(stat.uid) !== guest || (mode & 0o6000) !== 0
    if (guest !== undefined && foreign) throw new ShoalError('ERR_OUTPUT', `${path} is linked or privileged`)
    if (size > maxBytes) throw new ShoalError('ERR_LIMIT', `${path} holds ${size} bytes, at most ${maxBytes}`)
    return { path, fd, size, executable: (mode & 0o100) !== 0, identity: identityOf(stat) }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function openUnfollowed(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    // ELOOP: a symbolic link. ENXIO: a socket.
    if (!['ENOENT', 'ELOOP', 'ENXIO', 'EACCES'].includes(codeOf(error) ?? '')) throw error
    throw new ShoalError('ERR_OUTPUT', `${path}: ${codeOf(error)}`, { cause: error })
  }
}

function decode(bytes: Buffer, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new ShoalError('ERR_OUTPUT', `${path} is not UTF-8`, { cause: error })
  }
}

async function readWhole({ fd, size, path }: PlainFile): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(size)
  for (let at = 0; at < size; ) {
    const bytesRead =
      size <= atOnceBytes ? readSync(fd, bytes, at, size - at, at) : await readAt(fd, bytes, at, size - at, at)
    if (bytesRead === 0) throw new ShoalError('ERR_OUTPUT', `${path} shrank while it was read`)
    at += bytesRead
  }
  return bytes
}

/** The name of what a file holds. */
async function digest({ fd, size, path }: PlainFile): Promise<CID> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(Math.min(size, pieceBytes))
  for (let at = 0; at < size; ) {
    const bytesRead = await readAt(fd, buffer, 0, Math.min(pieceBytes, size - at), at)
    if (bytesRead === 0) throw new ShoalError('ERR_OUTPUT', `${path} shrank while it was read`)
    at += bytesRead
    hash.update(buffer.subarray(0, bytesRead))
  }
  return cidFromDigest(hash.digest())
}

const readLater = promisify(read)

async function readAt(fd: number, into: Buffer, offset: number, length: number, position: number): Promise<number> {
  return (await readLater(fd, into, offset, length, position)).bytesRead
}
