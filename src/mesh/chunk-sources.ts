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
  /** When it last said what it has. */
  heardAt: number
  /** It was busy or broke off: nothing is asked of it before. */
  restsUntil: number
  refusals: number
  /** Times that it broke off or fell silent since it last sent a chunk. */
  failures: number
}

const maxSources = 16
/** One that was named and has said nothing after so many questions is not counted on. */
const patientRefusals = 5

/** The members that a large block is fetched from, and which chunk had better come from whom. */
export class ChunkSources {
  readonly #random: Random
  readonly #self: number
  readonly #sources = new Map<string, ChunkSource>()
  /** For each member, a number made of its peer id. */
  readonly #seeds = new Map<string, number>()

  /** @param self this node's peer id */
  constructor(random: Random, self: string) {
    this.#random = random
    this.#self = seedOf(self)
  }

  /** @param state `whole` for one that is believed to have all of it */
  add(peerId: string, state: 'whole' | 'unknown'): void {
    const known = this.#sources.get(peerId)
    if (known !== undefined || this.#sources.size >= maxSources) return
    this.#seeds.set(peerId, seedOf(peerId))
    this.#sources.set(peerId, {
      peerId,
      state,
      have: undefined,
      active: 0,
      askedAt: Number.NEGATIVE_INFINITY,
      asking: false,
      heardAt: Number.NEGATIVE_INFINITY,
      restsUntil: Number.NEGATIVE_INFINITY,
      refusals: 0,
      failures: 0,
    })
  }

  get(peerId: string): ChunkSource | undefined {
    return this.#sources.get(peerId)
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
   * One of the chunks that `source` has and nobody has been asked for. From a member that is getting the block: one that few
   * have. From one with all of it: a chunk that nobody else has and that is this node's to bring into circulation, so that
   * each leaves there about once; another only when nothing else is on its way from there.
   */
  pick(source: ChunkSource, unasked: Iterable<number>): number | undefined {
    const there = [...unasked].filter((index) => hasChunk(source, index))
    const getting = this.all().filter(({ state }) => state === 'partial')
    const holders = (index: number): number => getting.filter((other) => hasChunk(other, index)).length
    if (source.state !== 'whole') return this.#oneOf(lowest(there, holders))
    const rare = there.filter((index) => !getting.some((other) => hasChunk(other, index)))
    const rivals = this.all()
      .filter(({ state, refusals }) => state === 'partial' || (state === 'unknown' && refusals < patientRefusals))
      .map(({ peerId }) => this.#seeds.get(peerId) ?? 0)
    const rank = (index: number): number => {
      const own = mixed(this.#self, index)
      return rivals.filter((seed) => mixed(seed, index) > own).length
    }
    const own = rare.filter((index) => rank(index) === 0)
    if (own.length > 0) return this.#oneOf(own)
    if (source.active > 0) return undefined
    return this.#oneOf(lowest(rare.length > 0 ? rare : there, rank))
  }

  #oneOf(indexes: readonly number[]): number | undefined {
    return indexes[Math.floor(this.#random() * indexes.length)]
  }
}

function hasChunk({ state, have }: ChunkSource, index: number): boolean {
  return state === 'whole' || (state === 'partial' && have?.has(index) === true)
}

/** Those of which `of` is least. */
function lowest(indexes: readonly number[], of: (index: number) => number): number[] {
  let least = Number.POSITIVE_INFINITY
  let chosen: number[] = []
  for (const index of indexes) {
    const value = of(index)
    if (value > least) continue
    if (value < least) chosen = []
    least = value
    chosen.push(index)
  }
  return chosen
}

/** FNV-1a, 32 bits. */
function seedOf(peerId: string): number {
  let seed = 0x811c9dc5
  for (let at = 0; at < peerId.length; at++) seed = Math.imul(seed ^ peerId.charCodeAt(at), 0x01000193)
  return seed >>> 0
}

/** The member with the highest number for a chunk is the one to fetch it first: every member computes the same, with the finish of MurmurHash3. */
function mixed(seed: number, index: number): number {
  let value = seed ^ Math.imul(index + 1, 0x9e3779b1)
  value = Math.imul(value ^ (value >>> 15), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}
