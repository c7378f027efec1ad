import type { Clock, Random } from '../base/clock.ts'
import { maxOthers } from './block-frames.ts'

const freshMs = 120_000
const maxBlocks = 256
const maxPeers = 64

/** Which members asked for which large blocks lately: they have parts of them, and can serve each other. */
export class Askers {
  readonly #clock: Clock
  readonly #random: Random
  /** By block, then by peer: when it last asked. The longest silent first, in both. */
  readonly #blocks = new Map<string, Map<string, number>>()

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  note(block: string, peerId: string): void {
    const peers = this.#blocks.get(block) ?? new Map<string, number>()
    peers.delete(peerId)
    peers.set(peerId, this.#clock.now())
    trim(peers, maxPeers)
    this.#blocks.delete(block)
    this.#blocks.set(block, peers)
    trim(this.#blocks, maxBlocks)
  }

  /** Other members that asked for it in the last two minutes, some of them when there are many. */
  others(block: string, peerId: string): string[] {
    const since = this.#clock.now() - freshMs
    const fresh = [...(this.#blocks.get(block) ?? [])].filter(([other, at]) => other !== peerId && at >= since)
    return fresh
      .map(([other]) => ({ other, order: this.#random() }))
      .toSorted((a, b) => a.order - b.order)
      .slice(0, maxOthers)
      .map(({ other }) => other)
  }
}

function trim(map: Map<string, unknown>, max: number): void {
  for (const key of map.keys()) {
    if (map.size <= max) return
    map.delete(key)
  }
}
