import { chmodSync, constants, lutimesSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import { placeRoots, type Root } from '../plan/roots.ts'
import type { ScriptFile, ScriptResult } from '../plan/script-action.ts'

export interface LayoutBlocks {
  get(cid: CID): Promise<Uint8Array | undefined>
  /** The store's own file, checked. */
  path(cid: CID): Promise<string | undefined>
}

/**
 * Makes a directory what OUT_DIR was when the script had run, for the paths here. Nothing of it is shared with the store.
 * @param dir is made; its parent is there. It is gone again when this fails
 * @param outDir whose mode it gets
 * @throws ShoalError ERR_BLOCK_MISSING, and the file system's errors
 */
export async function layOut(
  { entries }: ScriptResult,
  { dir, outDir, roots }: { dir: string; outDir: string; roots: readonly Root[] },
  blocks: LayoutBlocks,
): Promise<void> {
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir, { mode: 0o700 })
  try {
    for (const entry of entries) {
      const path = join(dir, entry.path)
      if (entry.kind === 'dir') mkdirSync(path, { mode: 0o700 })
      else if (entry.kind === 'link') symlinkSync(entry.to, path)
      else await layOutFile(entry, path, roots, blocks)
    }
    // The last one first: a directory that cannot be written to may hold others.
    for (const entry of entries.toReversed()) if (entry.kind === 'dir') chmodSync(join(dir, entry.path), entry.mode)
    // Whatever was changed first is older here, too: make and the like go by that.
    const now = Date.now() * 1000
    for (const { path, mtime, age } of entries) {
      // In the middle of a microsecond: what is left of that in seconds is cut off.
      const seconds = ((mtime ?? now - age) + 0.5) / 1e6
      lutimesSync(join(dir, path), seconds, seconds)
    }
    chmodSync(dir, statSync(outDir).mode & 0o7777)
  } catch (error) {
    rmSync(dir, { recursive: true, force: true })
    throw error
  }
}

async function layOutFile(
  { cid, named, mode, path: name }: ScriptFile,
  path: string,
  roots: readonly Root[],
  blocks: LayoutBlocks,
): Promise<void> {
  const source = named ? undefined : await blocks.path(cid)
  if (source !== undefined) {
    await copyFile(source, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  } else {
    const bytes = await blocks.get(cid)
    if (bytes === undefined) throw new ShoalError('ERR_BLOCK_MISSING', `${name}: ${cid.toString()}`)
    const text = named ? placeRoots(Buffer.from(bytes).toString(), roots) : bytes
    writeFileSync(path, text, { flag: 'wx', mode: 0o600 })
  }
  chmodSync(path, mode)
}
