import { randomUUID } from 'node:crypto'
import {
  chmodSync,
  constants,
  copyFileSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import { isPlainName } from './plain-name.ts'

/** A file to be delivered. */
export interface Placement {
  /** A plain file name. */
  name: string
  cid: CID
  /** Whether it is a program, or loaded like one. Default false. */
  executable?: boolean
}

/** What `place` needs of a block store. */
interface PlaceableBlocks {
  path(cid: CID): Promise<string | undefined>
  get(cid: CID): Promise<Uint8Array | undefined>
  hold(cid: CID): () => void
}

export interface PlaceOptions {
  /** Must exist. */
  outDir: string
  blocks: PlaceableBlocks
}

/**
 * A file of up to this size is copied at once: that takes less than handing it to another thread and being woken up again,
 * on a machine whose cores are all taken.
 */
const atOnceBytes = 1 << 20

/**
 * Delivers blocks as files, in order, each written beside its final name and renamed onto it, so that nobody sees
 * half a file and a symbolic link there is replaced, not followed. Copies share extents with the store where the file
 * system can, never the inode. The modification time is now.
 * @throws ShoalError ERR_OUTPUT for a name that is not a plain file name (before anything is written), ERR_BLOCK_MISSING,
 *   ERR_DISK_FULL, ERR_STORE
 */
export async function place(outputs: readonly Placement[], options: PlaceOptions): Promise<void> {
  for (const { name } of outputs) checkName(name)
  const releases = outputs.map(({ cid }) => options.blocks.hold(cid))
  try {
    for (const output of outputs) await placeOne(output, options)
  } finally {
    for (const release of releases) release()
  }
}

/**
 * Delivers bytes that are in no store, such as a rendered `.d` file; otherwise as `place`.
 * @throws ShoalError ERR_OUTPUT, ERR_DISK_FULL, ERR_STORE
 */
export async function placeBytes(
  name: string,
  bytes: Uint8Array | string,
  { outDir }: { outDir: string },
): Promise<void> {
  checkName(name)
  await replace(join(outDir, name), false, (temp) => writeNew(temp, bytes))
}

function checkName(name: string): void {
  if (!isPlainName(name)) throw new ShoalError('ERR_OUTPUT', `not a file name: ${JSON.stringify(name.slice(0, 100))}`)
}

async function placeOne(output: Placement, { outDir, blocks }: PlaceOptions): Promise<void> {
  const { cid, name, executable = false } = output
  const target = join(outDir, name)
  const path = await blocks.path(cid)
  if (path !== undefined) {
    const copied = await replace(target, executable, (temp) => copyUnlessGone(path, temp))
    if (copied) return
  }
  const bytes = await blocks.get(cid)
  if (bytes === undefined) throw new ShoalError('ERR_BLOCK_MISSING', `${name}: ${cid.toString()}`)
  await replace(target, executable, (temp) => writeNew(temp, bytes))
}

function writeNew(temp: string, bytes: Uint8Array | string): boolean {
  writeFileSync(temp, bytes, { flag: 'wx', mode: 0o600 })
  return true
}

/** @returns false when the block was removed from the store a moment ago */
async function copyUnlessGone(path: string, temp: string): Promise<boolean> {
  const flags = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE
  try {
    if (statSync(path).size <= atOnceBytes) copyFileSync(path, temp, flags)
    else await copyFile(path, temp, flags)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

/** Renames onto `target` what `write` made under a name of its own beside it, unless `write` says that it made nothing. */
async function replace(
  target: string,
  executable: boolean,
  write: (temp: string) => Promise<boolean> | boolean,
): Promise<boolean> {
  const dir = dirname(target)
  const temp = join(dir, `.shoal-${randomUUID()}`)
  try {
    const written = write(temp)
    if (!(typeof written === 'boolean' ? written : await written)) return false
    chmodSync(temp, (executable ? 0o777 : 0o666) & statSync(dir).mode)
    // Copying on macOS keeps the time of the original; elsewhere a new file is as old as it is, by the kernel's own clock.
    if (process.platform === 'darwin') {
      const seconds = (performance.timeOrigin + performance.now()) / 1000
      utimesSync(temp, seconds, seconds)
    }
    renameSync(temp, target)
    return true
  } catch (error) {
    removeLeftover(temp)
    throw toShoalError(error, 'ERR_STORE')
  }
}

function removeLeftover(temp: string): void {
  try {
    unlinkSync(temp)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw toShoalError(error, 'ERR_STORE')
  }
}
