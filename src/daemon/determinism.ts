import { type Datastore, Key } from 'interface-datastore'
import { z } from 'zod'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'

const prefix = '/determinism/'
const maxRecordBytes = 1024
const maxKept = 20_000

const recordSchema = z.strictObject({
  v: z.literal(1),
  /** `name version` */
  package: z.string().max(200),
  /** Digest, hex. */
  toolchain: z.string().max(64),
  same: z.int().min(0),
  different: z.int().min(0),
})
type Entry = z.output<typeof recordSchema>

/**
 * Which packages come out the same each time, by package, version and toolchain, as far as this node has compiled them more than
 * once. What has come out differently a single time is not shared, nor taken from others, any more.
 */
export class Determinism {
  readonly #needs: { datastore: Datastore; log: Logger }
  readonly #entries = new Map<string, Entry>()
  /** Packages that come out differently with any toolchain. */
  readonly #unsteady = new Set<string>()

  private constructor(needs: { datastore: Datastore; log: Logger }) {
    this.#needs = needs
  }

  /** `datastore` may be shared: only keys below `/determinism/` are used. */
  static async open(needs: { datastore: Datastore; log: Logger }): Promise<Determinism> {
    const ledger = new Determinism(needs)
    for await (const { value } of needs.datastore.query({ prefix })) {
      try {
        ledger.#keep(decodeCbor(value, recordSchema, maxRecordBytes))
      } catch (error) {
        if (codeOf(error) !== 'ERR_DECODE') throw error
        needs.log.warn('an entry of the ledger cannot be read', { code: 'ERR_DECODE' })
      }
    }
    return ledger
  }

  /** Whether a package (`name version`) is known to come out differently each time. */
  isUnsteady(name: string): boolean {
    return this.#unsteady.has(name)
  }

  /** All that are. */
  unsteady(): { package: string; toolchain: string; same: number; different: number }[] {
    return [...this.#entries.values()]
      .filter(({ different }) => different > 0)
      .map(({ package: name, toolchain, same, different }) => ({ package: name, toolchain, same, different }))
  }

  /** It was compiled once more here, from the same. */
  async note(name: string, toolchain: string, isSame: boolean): Promise<void> {
    const id = `${toolchain}/${name}`
    const before = this.#entries.get(id) ?? { v: 1, package: name, toolchain, same: 0, different: 0 }
    const entry: Entry = isSame ? { ...before, same: before.same + 1 } : { ...before, different: before.different + 1 }
    if (!this.#entries.has(id) && this.#entries.size >= maxKept && isSame) return
    this.#keep(entry)
    await this.#needs.datastore.put(new Key(prefix + encodeURIComponent(id), false), encodeCbor(entry).bytes)
  }

  #keep(entry: Entry): void {
    this.#entries.set(`${entry.toolchain}/${entry.package}`, entry)
    if (entry.different > 0) this.#unsteady.add(entry.package)
  }
}
