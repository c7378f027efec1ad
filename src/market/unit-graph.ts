/** What is kept of one unit of a workspace. */
export interface KnownUnit {
  /** Names of the units that have to come before it. */
  needs: readonly string[]
  /** Whether it waits for the whole of them, not for their metadata alone: it links. */
  links: boolean
  /** Wall milliseconds that a compile took, the latest counting most; undefined when none was seen. */
  ms?: number
}

/** Of a compile, until its metadata is there: where the pipelining of cargo lets dependents begin. */
const metadataShare = 0.5
/** Of a new measurement, against all before it. */
const weight = 0.3

/**
 * The units of a workspace as earlier builds asked for them: what each took, and what waits for it. cargo says neither, but
 * every rustc call names what it needs. Names are those of crates, without versions that an update would change.
 */
export class UnitGraph {
  readonly #units = new Map<string, KnownUnit>()
  readonly #most: number
  #waiting: Map<string, Set<string>> | undefined
  readonly #ranks = new Map<string, number>()

  /** @param most units that are remembered; of more, the one not asked for longest goes */
  constructor(most = 4096) {
    this.#most = most
  }

  get size(): number {
    return this.#units.size
  }

  [Symbol.iterator](): IterableIterator<[string, KnownUnit]> {
    return this.#units[Symbol.iterator]()
  }

  /** A unit is asked for. True when that is news: what it needs has changed, or it was unknown. */
  asked(name: string, needs: readonly string[], links: boolean): boolean {
    const known = this.#units.get(name)
    const same = known !== undefined && known.links === links && sameItems(known.needs, needs)
    if (known !== undefined) this.#units.delete(name)
    this.#units.set(name, same ? known : { ...known, needs: [...needs], links })
    for (const oldest of this.#units.keys()) {
      if (this.#units.size <= this.#most) break
      this.#units.delete(oldest)
    }
    if (!same) this.#forgetRanks()
    return !same
  }

  /** A compile of it took so long, wherever it was. */
  took(name: string, ms: number): void {
    const known = this.#units.get(name)
    if (known === undefined) return
    known.ms = known.ms === undefined ? ms : known.ms + weight * (ms - known.ms)
    this.#ranks.clear()
  }

  /** What a compile of it took; undefined when none was seen. */
  ms(name: string): number | undefined {
    return this.#units.get(name)?.ms
  }

  /**
   * Milliseconds from its start to the end of the longest chain of units that wait for it: what is on the critical path has
   * most. Units of unknown length count with `otherwiseMs`.
   * @returns undefined for an unknown unit
   */
  rank(name: string, otherwiseMs: number): number | undefined {
    if (!this.#units.has(name)) return undefined
    this.#waiting ??= this.#waitingFor()
    return this.#rankOf(name, otherwiseMs, this.#waiting, new Set())
  }

  #rankOf(
    name: string,
    otherwiseMs: number,
    waiting: ReadonlyMap<string, ReadonlySet<string>>,
    path: Set<string>,
  ): number {
    const known = this.#ranks.get(name)
    if (known !== undefined) return known
    const ms = this.#units.get(name)?.ms ?? otherwiseMs
    let rank = ms
    path.add(name)
    for (const dependent of waiting.get(name) ?? []) {
      // Two versions of a crate share a name, and so may seem to wait for each other.
      if (path.has(dependent)) continue
      const before = this.#units.get(dependent)?.links === true ? ms : ms * metadataShare
      rank = Math.max(rank, before + this.#rankOf(dependent, otherwiseMs, waiting, path))
    }
    path.delete(name)
    this.#ranks.set(name, rank)
    return rank
  }

  #waitingFor(): Map<string, Set<string>> {
    const waiting = new Map<string, Set<string>>()
    for (const [name, { needs }] of this.#units) {
      for (const need of needs) waiting.set(need, (waiting.get(need) ?? new Set()).add(name))
    }
    return waiting
  }

  #forgetRanks(): void {
    this.#waiting = undefined
    this.#ranks.clear()
  }
}

const sameItems = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((item, at) => item === b[at])
