import { hash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import type { Tree } from '../plan/action.ts'
import { unpack } from '../plan/pack.ts'
import { digestOf } from '../wire/cid.ts'
import type { Blocks } from './blocks.ts'
import { letRead } from './guest-users.ts'
import { write } from './input-cache.ts'

const atOnce = 16

/** The files of a tree, and the block that holds all of them, if there may be one. */
export interface TreeFiles {
  files: Tree['files']
  pack: CID | undefined
}

/**
 * Writes the files of a tree to directories that are there, each compared with its name.
 * @throws ShoalError ERR_INPUT_MISSING when a block is not here, has another size, or holds something else than said; the
 *   signal's reason; the file system's error
 */
export async function writeTree(
  blocks: Blocks,
  { files, pack }: TreeFiles,
  to: { placeOf(path: string): string; signal?: AbortSignal | undefined },
): Promise<void> {
  const packed = pack === undefined ? undefined : await blocks.get(pack)
  const parts = packed === undefined ? undefined : unpack({ files }, packed)
  if (parts !== undefined) {
    for (const [at, { path, cid }] of files.entries()) {
      const bytes = parts[at]
      if (bytes === undefined || !hash('sha256', bytes, 'buffer').equals(digestOf(cid))) {
        throw new ShoalError('ERR_INPUT_MISSING', `the pack of ${path} holds something else`)
      }
      const place = to.placeOf(path)
      writeFileSync(place, bytes, { flag: 'wx', mode: 0o444 })
      letRead(place)
    }
    return
  }
  for (let from = 0; from < files.length; from += atOnce) {
    to.signal?.throwIfAborted()
    const some = files.slice(from, from + atOnce)
    await Promise.all(some.map(({ path, cid, size }) => write(blocks, cid, size, to.placeOf(path))))
  }
}
