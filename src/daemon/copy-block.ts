import type { FileHandle } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import type { BlockStore } from '../store/blocks.ts'

const pieceBytes = 1 << 20

/**
 * Writes the bytes of a block to a file that is open; a large one is never in memory as a whole.
 * @returns false when it is not here after all
 * @throws ShoalError ERR_STORE when it is changed meanwhile, and the file system's error
 */
export async function copyBlock(cid: CID, to: FileHandle, blocks: Pick<BlockStore, 'open' | 'get'>): Promise<boolean> {
  const block = await blocks.open(cid)
  if (block === undefined) {
    const bytes = await blocks.get(cid)
    if (bytes !== undefined) await to.writeFile(bytes)
    return bytes !== undefined
  }
  try {
    for (let at = 0; at < block.size; at += pieceBytes) await to.writeFile(await block.read(at, pieceBytes))
    return true
  } finally {
    await block.close()
  }
}
