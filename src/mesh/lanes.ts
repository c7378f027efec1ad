import type { Stream } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import type { ShoalError } from '../base/errors.ts'
import { abortable } from './abortable.ts'
import { BlockLane } from './block-lane.ts'

interface LanesNeeds {
  clock: Clock
  /** Opens a block stream to a member, connecting to it when necessary. */
  open(peerId: string, signal: AbortSignal): Promise<Stream>
  /** A connection to the member is open. */
  isConnected(peerId: string): boolean
}

/** Where a connection has to be made first, and where there is one: as long as a source may be silent. */
const [dialTimeoutMs, openTimeoutMs] = [3000, 2000]
const keptTimes = 64
const reviewEvery = 32
const firstHedgeMs = 50
const minHedgeMs = 10
const maxHedgeMs = 1000

/** One bulk stream to each member that blocks are fetched from, opened when first needed. */
export class Lanes {
  readonly #needs: LanesNeeds
  readonly #lanes = new Map<string, Promise<BlockLane>>()
  readonly #open = new Map<string, BlockLane>()
  /** By peer: those who have something to ask of it when there is room, in turn. */
  readonly #lines = new Map<string, Set<() => void>>()
  /** Milliseconds to the first byte, of the latest readings. */
  readonly #firstBytes: number[] = []
  #next = 0
  #hedgeMs = firstHedgeMs

  constructor(needs: LanesNeeds) {
    this.#needs = needs
  }

  /** @throws ShoalError ERR_PEER_LOST, and whatever dialling throws; the signal's reason when it fires */
  async to(peerId: string, signal: AbortSignal): Promise<BlockLane> {
    const open = this.#open.get(peerId)
    if (open !== undefined) return open
    const known = this.#lanes.get(peerId)
    if (known !== undefined) return abortable(known, signal)
    const forget = (): void => {
      if (this.#lanes.get(peerId) !== opening) return
      this.#lanes.delete(peerId)
      this.#open.delete(peerId)
    }
    // The lane outlives the call that opens it, so the call's signal does not end the opening.
    const timeout = AbortSignal.timeout(this.#needs.isConnected(peerId) ? openTimeoutMs : dialTimeoutMs)
    const opening: Promise<BlockLane> = this.#needs.open(peerId, timeout).then((stream) => {
      const lane = new BlockLane(this.#needs.clock, peerId, stream, {
        onClose: forget,
        onRoom: () => this.#callNext(peerId),
      })
      if (this.#lanes.get(peerId) === opening) this.#open.set(peerId, lane)
      this.#callNext(peerId)
      return lane
    })
    this.#lanes.set(peerId, opening)
    opening.catch(forget)
    return abortable(opening, signal)
  }

  /** The lane to a member, when it is open. */
  opened(peerId: string): BlockLane | undefined {
    return this.#open.get(peerId)
  }

  /**
   * Whether a chunk can be asked for so that it is asked for at once: what is chosen early is chosen badly. When not,
   * `call` is called as soon as that may have changed and it is its turn.
   */
  mayAsk(peerId: string, call: () => void): boolean {
    const line = this.#lines.get(peerId) ?? new Set()
    const [first = call] = line
    const hasRoom = this.#hasRoom(peerId)
    if (first === call && hasRoom) {
      line.delete(call)
      return true
    }
    line.add(call)
    this.#lines.set(peerId, line)
    // Those before it may want nothing any more.
    if (hasRoom) queueMicrotask(() => this.#callNext(peerId))
    return false
  }

  /** `call` is not called any more. */
  leave(call: () => void): void {
    for (const [peerId, line] of this.#lines) if (line.delete(call)) this.#callNext(peerId)
  }

  #hasRoom(peerId: string): boolean {
    return this.#open.get(peerId)?.hasRoom ?? !this.#lanes.has(peerId)
  }

  #callNext(peerId: string): void {
    const line = this.#lines.get(peerId)
    while (line !== undefined && this.#hasRoom(peerId)) {
      const [call] = line
      if (call === undefined) {
        this.#lines.delete(peerId)
        return
      }
      call()
      const [first] = line
      // It wants nothing of this peer any more.
      if (first === call && this.#hasRoom(peerId)) line.delete(call)
    }
  }

  /** Notes how long a reading waited for its first byte. */
  firstByteAfter(ms: number): void {
    this.#firstBytes[this.#next] = ms
    this.#next = (this.#next + 1) % keptTimes
    if (this.#next % reviewEvery !== 0) return
    const p80 = this.#firstBytes.toSorted((a, b) => a - b)[Math.floor(this.#firstBytes.length * 0.8)] ?? firstHedgeMs
    this.#hedgeMs = Math.min(maxHedgeMs, Math.max(minHedgeMs, p80))
  }

  /** After so long without a byte a second source is asked: four of five readings have one by then. */
  get hedgeMs(): number {
    return this.#hedgeMs
  }

  close(reason: ShoalError): void {
    for (const lane of this.#lanes.values()) {
      lane.then(
        (open) => open.close(reason),
        // A lane that never opened has told whoever wanted it.
        () => undefined,
      )
    }
    this.#lanes.clear()
    this.#open.clear()
    this.#lines.clear()
  }
}
