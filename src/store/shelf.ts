import { type BigIntStats, lutimesSync } from 'node:fs'
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { digestOf, hexOf } from '../wire/cid.ts'
import { type BlockDisk, cidOfHex } from './disk.ts'
import { type Checked, openFlags, readAtOnceBytes, readChecked, readNow } from './files.ts'
import { type Ledger, sameStamp, stampOf } from './ledger.ts'
import type { KeyedQueues } from './queues.ts'

/** A file's time stamp tells the next process how lately the block was used; a day is fine enough for that. */
const restampMs = 24 * 3600_000

interface ShelfNeeds {
  disk: BlockDisk
  ledger: Ledger
  queues: KeyedQueues
  clock: Clock
  log: Logger
  /** Called for a block whose file was found to hold something else and was moved out of the way. */
  onBad(cid: CID): void
}

/**
 * The block files and what is known about their content. A file is read through before it counts as right; after that
 * it counts for as long as inode, size, mtime and ctime stay. What is wrong is moved out of the way at once.
 */
export class Shelf {
  readonly #needs: ShelfNeeds
  #bad = 0

  constructor(needs: ShelfNeeds) {
    this.#needs = needs
  }

  /** Files found to be corrupt. */
  get bad(): number {
    return this.#bad
  }

  /** The content, verified just now. */
  async read(cid: CID): Promise<Uint8Array | undefined> {
    const { disk, ledger, queues } = this.#needs
    const hex = hexOf(cid)
    const isKnown = ledger.has(hex)
    if (!isKnown && disk.look(disk.file(cid)) === undefined) return undefined
    // A file that is not known may be on its way out: in the block's queue it is either there or not.
    const checked = isKnown ? await this.#check(cid, { keep: true }) : undefined
    if (checked?.kind !== 'right') return await queues.run(hex, () => this.#readInTurn(cid))
    if (ledger.has(hex)) this.#used(cid, checked.stat)
    return checked.bytes
  }

  async #readInTurn(cid: CID): Promise<Uint8Array | undefined> {
    const checked = await this.#expelIfWrong(cid, { keep: true })
    if (checked.kind !== 'right') return undefined
    this.#used(cid, checked.stat)
    return checked.bytes
  }

  /** The content of a small block in `into`, when its file was verified before and was not touched since, and there is room. */
  readUntouched(cid: CID, into: Uint8Array): Uint8Array | undefined {
    const { disk, ledger } = this.#needs
    const hex = hexOf(cid)
    const { stamp, size } = ledger.get(hex) ?? { stamp: undefined, size: 0 }
    if (stamp === undefined || size > Math.min(into.length, readAtOnceBytes)) return undefined
    const stat = readNow(disk.file(cid), size, into)
    // Looked at after it was read: a change in the meantime shows as well.
    if (stat === undefined || !sameStamp(stamp, stat)) return undefined
    ledger.touch(hex)
    return into.subarray(0, size)
  }

  /** Whether a file was seen under the block's name. It may be wrong, or gone. */
  knows(cid: CID): boolean {
    return this.#needs.ledger.has(hexOf(cid))
  }

  /** The file, verified now or untouched since it was. */
  async path(cid: CID): Promise<string | undefined> {
    return this.#untouched(cid) ?? (await this.#needs.queues.run(hexOf(cid), () => this.verified(cid)))
  }

  /** As `path`. Runs in the block's queue. */
  async verified(cid: CID): Promise<string | undefined> {
    const { disk, ledger } = this.#needs
    const untouched = this.#untouched(cid)
    if (untouched !== undefined) return untouched
    const file = disk.file(cid)
    if (disk.look(file) === undefined) {
      ledger.delete(hexOf(cid))
      return undefined
    }
    const checked = await this.#expelIfWrong(cid, { keep: false })
    if (checked.kind !== 'right') return undefined
    this.#used(cid, checked.stat)
    return file
  }

  /** Puts a finished temporary file under the block's name. Runs in the block's queue. */
  async commit(temp: string, cid: CID, size: number): Promise<void> {
    const { disk, ledger } = this.#needs
    try {
      const stat = disk.look(await disk.commit(temp, cid))
      if (stat !== undefined) ledger.set(hexOf(cid), size, stampOf(stat))
      await disk.quarantine.replaced(hexOf(cid))
    } catch (error) {
      await disk.discard(temp)
      throw error
    }
  }

  /** Reads a block through, whatever is known about it. @returns false when it was there and is bad */
  async recheck(hex: string): Promise<boolean> {
    const checked = await this.#needs.queues.run(hex, () => this.#expelIfWrong(cidOfHex(hex), { keep: false }))
    return checked.kind !== 'wrong'
  }

  /** Nobody finds the block from the moment of the call. Runs in the block's queue. */
  async remove(hex: string): Promise<void> {
    const { disk, ledger } = this.#needs
    const entry = ledger.get(hex)
    ledger.delete(hex)
    try {
      await disk.delete(hex)
    } catch (error) {
      if (entry !== undefined) ledger.set(hex, entry.size, entry.stamp)
      throw error
    }
  }

  #untouched(cid: CID): string | undefined {
    const { disk, ledger } = this.#needs
    const hex = hexOf(cid)
    const stamp = ledger.get(hex)?.stamp
    if (stamp === undefined) return undefined
    const file = disk.file(cid)
    const stat = disk.look(file)
    if (stat === undefined || !sameStamp(stamp, stat)) return undefined
    ledger.touch(hex)
    return file
  }

  #check(cid: CID, { keep }: { keep: boolean }): Promise<Checked> {
    return readChecked(this.#needs.disk.file(cid), digestOf(cid), {
      flags: openFlags,
      expectedBytes: this.#needs.ledger.get(hexOf(cid))?.size ?? 0,
      maxBytes: Number.MAX_SAFE_INTEGER,
      keep,
    })
  }

  /** Checks a block and moves a file with other content out of the way. Runs in the block's queue. */
  async #expelIfWrong(cid: CID, options: { keep: boolean }): Promise<Checked> {
    const { disk, ledger, log, clock } = this.#needs
    const hex = hexOf(cid)
    const checked = await this.#check(cid, options)
    if (checked.kind === 'right') return checked
    if (checked.kind === 'unreadable') {
      log.warn('block cannot be read', { code: 'ERR_STORE', cid: cid.toString(), reason: checked.why })
      return checked
    }
    ledger.delete(hex)
    if (checked.kind === 'absent') return checked
    this.#bad++
    const fields = { code: 'ERR_BLOCK_MISMATCH', cid: cid.toString(), reason: checked.why }
    try {
      const kept = await disk.quarantine.take(disk.file(cid), hex, clock.wall())
      log.warn('corrupt block taken out', { ...fields, kept })
    } catch (error) {
      log.error('corrupt block cannot be taken out', { ...fields, failure: codeOf(error) })
    }
    this.#needs.onBad(cid)
    return checked
  }

  /** Notes that a block was just found right. */
  #used(cid: CID, stat: BigIntStats): void {
    const { disk, ledger, log, clock } = this.#needs
    const hex = hexOf(cid)
    const file = disk.file(cid)
    ledger.set(hex, Number(stat.size), stampOf(stat))
    if (clock.wall() - Number(stat.mtimeMs) < restampMs) return
    // The stamp is out of date after this, so once a day the content is verified anew.
    try {
      lutimesSync(file, clock.wall() / 1000, clock.wall() / 1000)
    } catch (error) {
      log.debug('time of last use not kept', { reason: codeOf(error) })
    }
  }
}
