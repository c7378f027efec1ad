import type { Random } from '../base/clock.ts'
import { ChunkSet } from './manifest.ts'

/** A member that has a large block, or is getting it. */
export interface ChunkSource {
  readonly peerId: string
  /** It was named by others, so that what it has must be asked for first. */
  state: 'whole' | 'partial' | 'unknown' | 'gone'
  have: ChunkSet | undefined
  /** Chunks that are on their way from it. */
  active: number
  askedAt: number
  asking: boolean
  /** It was busy: nothing is asked of it before. */
  restsUntil: number
  refusals: number
  /** Times that it broke off or fell silent. */
  failures: number
}

const maxSources = 16

/** The members that a large block is fetched from, and which chunk had better come from whom. */
export class ChunkSources {
  readonly #random: Random
  readonly #sources = new Map<string, ChunkSource>()

  constructor(random: Random) {
    this.#random = random
  }

  /** @param state `whole` for one that is believed to have all of it */
  add(peerId: string, state: 'whole' | 'unknown'): void {
    const known = this.#sources.get(peerId)
    if (known !== undefined || this.#sources.size >= maxSources) return
    this.#sources.set(peerId, {
      peerId,
      state,
      have: undefined,
      active: 0,
      askedAt: Number.NEGATIVE_INFINITY,
      asking: false,
      restsUntil: Number.NEGATIVE_INFINITY,
      refusals: 0,
      failures: 0,
    })
  }

  all(): ChunkSource[] {
    return [...this.#sources.values()].filter(({ state }) => state !== 'gone')
  }

  isEmpty(): boolean {
    return this.all().every(({ state }) => state === 'unknown')
  }

  /** From what a source answered about itself. */
  learn(source: ChunkSource, have: Uint8Array, count: number): void {
    source.state = have.length === 0 ? 'whole' : 'partial'
    source.have = have.length === 0 ? undefined : new ChunkSet(count, have)
  }

  /**
   * One of the chunks that `source` has and nobody has been asked for. Of one that has everything, such as no partial
   * source has, so that what it sends can be passed on; at random otherwise.
   */
  pick(source: ChunkSource, todo: Iterable<number>): number | undefined {
    const there = [...todo].filter((index) => this.#hasChunk(source, index))
    if (source.state !== 'whole') return this.#oneOf(there)
    const partial = this.all().filter((other) => other.state === 'partial')
    const rare = there.filter((index) => !partial.some((other) => this.#hasChunk(other, index)))
    return this.#oneOf(rare.length > 0 ? rare : there)
  }

  #hasChunk({ state, have }: ChunkSource, index: number): boolean {
    return state === 'whole' || (state === 'partial' && have?.has(index) === true)
  }

  #oneOf(indexes: readonly number[]): number | undefined {
    return indexes[Math.floor(this.#random() * indexes.length)]
  }
}
