import { type Datastore, Key } from 'interface-datastore'
import { z } from 'zod'
import type { Clock } from '../base/clock.ts'
import { codeOf, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'

const prefix = '/early/'
/** For so long nothing early is taken of a lender that was lost after it; the second time for good. */
const pauseMs = 3_600_000
const lossesOfTheLast = 2
const maxRecordBytes = 256

const recordSchema = z.strictObject({
  v: z.literal(1),
  /** How often it was lost after metadata of which nobody could say whether it was right. */
  losses: z.int().min(1),
  /** Milliseconds since the Unix epoch of the last of these. */
  at: z.int().min(0),
  /** Something else came than it had announced. */
  isProven: z.boolean(),
})
type Record = z.output<typeof recordSchema>

export interface EarlyWordNeeds {
  datastore: Datastore
  clock: Pick<Clock, 'wall'>
  log: Logger
}

/**
 * Whose metadata is announced to cargo before the rest is there. Nobody has signed it by then, and if rustc here makes another,
 * the unit fails: so that nobody gets to do that often, whatever is started anew.
 */
export class EarlyWord {
  readonly #needs: EarlyWordNeeds
  readonly #broken = new Map<string, Record>()
  /** One after the other. */
  #writing: Promise<void> = Promise.resolve()

  private constructor(needs: EarlyWordNeeds) {
    this.#needs = needs
  }

  /** `datastore` may be shared: only keys below `/early/` are used. */
  static async open(needs: EarlyWordNeeds): Promise<EarlyWord> {
    const opened = new EarlyWord(needs)
    for await (const { key, value } of needs.datastore.query({ prefix })) {
      opened.#broken.set(key.toString().slice(prefix.length), opened.#read(value))
    }
    return opened
  }

  isTaken(peer: string): boolean {
    const broken = this.#broken.get(peer)
    if (broken === undefined) return true
    return !broken.isProven && broken.losses < lossesOfTheLast && this.#needs.clock.wall() >= broken.at + pauseMs
  }

  /** What it announced did not come. @param isProven something else came, or what no lender would give that works as it should */
  broke(peer: string, isProven: boolean): void {
    const before = this.#broken.get(peer)
    const losses = (before?.losses ?? 0) + 1
    const at = this.#needs.clock.wall()
    this.#broken.set(peer, { v: 1, losses, at, isProven: isProven || before?.isProven === true })
    this.#write(peer)
  }

  /** What it announced before it was lost turned out to be right. */
  kept(peer: string): void {
    const before = this.#broken.get(peer)
    if (before === undefined || before.isProven) return
    if (before.losses > 1) this.#broken.set(peer, { ...before, losses: before.losses - 1, at: 0 })
    else this.#broken.delete(peer)
    this.#write(peer)
  }

  /** Waits until everything is written down. */
  async saved(): Promise<void> {
    await this.#writing
  }

  #write(peer: string): void {
    const { datastore, log } = this.#needs
    const key = new Key(prefix + peer, false)
    const record = this.#broken.get(peer)
    const write = async (): Promise<void> => {
      if (record === undefined) await datastore.delete(key)
      else await datastore.put(key, encodeCbor(record).bytes)
    }
    this.#writing = this.#writing.then(write).catch((error: unknown) => {
      log.warn('whose early word was broken is not written down', {
        code: 'ERR_STORE',
        message: toShoalError(error).message,
      })
    })
  }

  #read(value: Uint8Array): Record {
    try {
      return decodeCbor(value, recordSchema, maxRecordBytes)
    } catch (error) {
      if (codeOf(error) !== 'ERR_DECODE') throw error
      return { v: 1, losses: 1, at: 0, isProven: true }
    }
  }
}
