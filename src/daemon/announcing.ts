import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { cidFromDigest, hexOf } from '../wire/cid.ts'
import { anyRange, rangeAt, rangeIndex } from './ranges.ts'

export interface AnnouncingNeeds {
  mesh: { announce(key: CID): void; withdraw(key: CID): void }
  clock: Clock
  /** Everything that this node can give to others: hex of the action key → what making it took. */
  held(): Iterable<[key: string, item: { costMs: number }]>
}

/** With fewer results one record says that there are some. */
const few = 64
/** CPU that one record costs all members together: measured among 30 nodes, see the bench `who-has`. */
const recordCpuMs = 120
/** Of what making the results took. */
const cpuShare = 0.015
const maxSingles = 768
const settleMs = 1000
const leastBetweenMs = 15_000

/**
 * Tells the DHT what this node has: first that it has something, by ranges of the key space once that is much; then
 * single results, the most expensive first, as far as the CPU goes that making them entitles to.
 */
export class Announcing {
  readonly #needs: AnnouncingNeeds
  readonly #toolchains = new Map<string, CID>()
  #announced = new Map<string, CID>()
  #lastAt = Number.NEGATIVE_INFINITY
  #cancel: (() => void) | undefined
  #stopped = false

  constructor(needs: AnnouncingNeeds) {
    this.#needs = needs
  }

  get count(): number {
    return this.#announced.size
  }

  /** What this node has is other than before. */
  changed(): void {
    if (this.#cancel !== undefined || this.#stopped) return
    const waitMs = Math.max(settleMs, this.#lastAt + leastBetweenMs - this.#needs.clock.now())
    this.#cancel = this.#needs.clock.after(waitMs, () => {
      this.#cancel = undefined
      this.#lastAt = this.#needs.clock.now()
      this.#update()
    })
  }

  /** A toolchain whose files this node serves, or no longer, by the digest of its manifest. */
  toolchain(manifest: CID, isHere: boolean): void {
    if (isHere) this.#toolchains.set(hexOf(manifest), manifest)
    else this.#toolchains.delete(hexOf(manifest))
    this.changed()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
  }

  #update(): void {
    const wanted = new Map(recordsFor([...this.#needs.held()]).map((cid) => [hexOf(cid), cid]))
    for (const [hex, cid] of this.#toolchains) wanted.set(hex, cid)
    for (const [hex, cid] of this.#announced) if (!wanted.has(hex)) this.#needs.mesh.withdraw(cid)
    for (const [hex, cid] of wanted) if (!this.#announced.has(hex)) this.#needs.mesh.announce(cid)
    this.#announced = wanted
  }
}

/** What to announce, in this order. */
export function recordsFor(held: readonly [key: string, item: { costMs: number }][]): CID[] {
  if (held.length === 0) return []
  const names = held.map(([key, { costMs }]) => ({ digest: Buffer.from(key, 'hex'), costMs }))
  const ranges =
    names.length < few ? [anyRange] : [...new Set(names.map(({ digest }) => rangeIndex(digest)))].sort().map(rangeAt)
  const allowed = (cpuShare * names.reduce((sum, { costMs }) => sum + costMs, 0)) / recordCpuMs
  const singles = Math.min(maxSingles, Math.floor(allowed) - ranges.length)
  if (singles <= 0) return ranges
  const costly = names.sort((a, b) => b.costMs - a.costMs).slice(0, singles)
  return [...ranges, ...costly.map(({ digest }) => cidFromDigest(digest))]
}
