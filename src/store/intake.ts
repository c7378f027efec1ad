import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import { cidFromDigest, hexOf, rawCodec } from '../wire/cid.ts'
import type { BlockDisk } from './disk.ts'
import { chunkBytes, newChunk, sha256 } from './files.ts'
import { IncomingFile } from './large.ts'
import type { Leases } from './leases.ts'
import type { KeyedQueues } from './queues.ts'
import type { Shelf } from './shelf.ts'
import { SourceFile } from './source.ts'
import type { Space } from './space.ts'

/** What is written on the event loop. */
const writeAtOnceBytes = 512 << 10

interface IntakeNeeds {
  disk: BlockDisk
  shelf: Shelf
  space: Space
  queues: KeyedQueues
  leases: Leases
}

/** The ways into a store: when there is room, a temporary file, and a name once the content is known to be what it says. */
export class Intake {
  readonly #needs: IntakeNeeds
  /** Of the last large file: memory outside the heap is given back late, and taken anew page by page. */
  #spare: Buffer | undefined

  constructor(needs: IntakeNeeds) {
    this.#needs = needs
  }

  async bytes(bytes: Uint8Array, codec: number): Promise<CID> {
    const cid = cidFromDigest(await sha256(bytes), codec)
    await this.named(bytes, cid)
    return cid
  }

  /** Bytes of which it is known that `cid` names them. */
  async named(bytes: Uint8Array, cid: CID): Promise<void> {
    const { disk, shelf, space, queues, leases } = this.#needs
    leases.take(hexOf(cid))
    const isSmall = bytes.length <= writeAtOnceBytes
    // A few bytes are written sooner than it is found out whether a file that nobody knows of holds them.
    const mayBeThere = (): boolean => !isSmall || shelf.knows(cid)
    if (mayBeThere() && (await shelf.path(cid)) !== undefined) return
    await space.admit(bytes.length, () =>
      queues.run(hexOf(cid), async () => {
        // Another put of the same bytes can have been first.
        if (mayBeThere() && (await shelf.verified(cid)) !== undefined) return
        const temp = isSmall ? disk.writeTempNow(bytes) : await disk.writeTemp((file) => file.writeFile(bytes))
        await shelf.commit(temp, cid, bytes.length)
      }),
    )
  }

  async file(
    path: string,
    { maxBytes, watch }: { maxBytes: number; watch?: (chunk: Uint8Array) => void },
  ): Promise<{ cid: CID; size: number }> {
    const source = await SourceFile.open(path, maxBytes)
    try {
      const { size } = source
      if (size > chunkBytes) return { cid: await this.#stream(source, watch), size }
      const bytes = await source.read()
      watch?.(bytes)
      return { cid: await this.bytes(bytes, rawCodec), size }
    } finally {
      await source.close()
    }
  }

  async #stream(source: SourceFile, watch?: (chunk: Uint8Array) => void): Promise<CID> {
    let cid: CID | undefined
    const buffer = this.#spare ?? newChunk()
    this.#spare = undefined
    await this.#needs.space.admit(source.size, async () => {
      let digest: Uint8Array = new Uint8Array()
      const temp = await this.#needs.disk.writeTemp(async (file) => {
        digest = await source.copyTo(file, buffer, watch)
      })
      cid = cidFromDigest(digest)
      await this.#name(temp, cid, source.size)
    })
    // Not after a failure: nobody knows whether the system still writes from it.
    this.#spare = buffer
    if (cid === undefined) throw new ShoalError('ERR_INTERNAL', 'a block was let in and not written')
    return cid
  }

  async large(cid: CID, size: number, fill: (file: IncomingFile) => Promise<void>): Promise<void> {
    await this.#needs.space.admitOnce(size, async () => {
      const temp = await this.#needs.disk.writeTemp(async (handle) => {
        const file = new IncomingFile(handle, size)
        await fill(file)
        if (!file.matches(cid)) throw new ShoalError('ERR_BLOCK_MISMATCH', `${cid} is not what arrived`)
      })
      await this.#name(temp, cid, size)
    })
  }

  /** Gives a finished temporary file the name of its content, unless something right lies there. */
  async #name(temp: string, cid: CID, size: number): Promise<void> {
    const { disk, shelf, queues, leases } = this.#needs
    leases.take(hexOf(cid))
    await queues.run(hexOf(cid), async () => {
      if ((await shelf.verified(cid)) === undefined) await shelf.commit(temp, cid, size)
      else await disk.discard(temp)
    })
  }
}
