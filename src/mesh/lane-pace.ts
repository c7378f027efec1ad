import type { Clock } from '../base/clock.ts'
import { windowBytes } from './block-frames.ts'

const KiB = 1024
const checkMs = 500
/** Checks without a byte after which the peer is given up: two seconds. */
const silentChecks = 4
/** A peer that sends less than this over `rateChecks` while asked for more is given up. */
const minBytesPerSecond = 64 * KiB
const rateChecks = 8
/** Only while so much is outstanding does what arrives say how fast the link is. */
const saturatedBytes = 256 * KiB
const sampleMs = 100
/** What may be on its way, in seconds of the link: more would only make the control stream wait. */
const windowSeconds = 0.5
/** Bytes per second below which bytes had better come compressed, and above which not. */
const slowLink = 20_000_000
const fastLink = 30_000_000

/** How fast one lane is: how much to ask for at a time, whether compressed, and when to give the peer up. */
export class LanePace {
  readonly #clock: Clock
  readonly #onStuck: (what: string) => void
  #cancelCheck: (() => void) | undefined
  #check = { silent: 0, count: 0, bytes: 0, moved: false }
  /** Bytes per second, smoothed; undefined until measured. */
  #rate: number | undefined
  #sample: { since: number; bytes: number } | undefined
  #zstd = false

  /** @param onStuck told once, after the peer has sent nothing or too little for seconds while it owed something */
  constructor(clock: Clock, onStuck: (what: string) => void) {
    this.#clock = clock
    this.#onStuck = onStuck
  }

  /** More is asked for while fewer bytes than this are outstanding. */
  get windowBytes(): number {
    if (this.#rate === undefined) return windowBytes
    return Math.round(Math.min(windowBytes, Math.max(saturatedBytes, this.#rate * windowSeconds)))
  }

  /** The link is slower than compressing. */
  get wantsZstd(): boolean {
    return this.#zstd
  }

  /** The peer owes something from now on. */
  begin(): void {
    this.#check.silent = 0
    this.#cancelCheck ??= this.#clock.after(checkMs, () => this.#checkProgress())
  }

  /** The peer owes nothing any more. */
  rest(): void {
    this.#cancelCheck?.()
    this.#cancelCheck = undefined
    this.#check = { silent: 0, count: 0, bytes: 0, moved: false }
    this.#sample = undefined
  }

  /** Bytes have come from the network. @param outstanding bytes that were owed before */
  moved(bytes: number, outstanding: number): void {
    this.#check.moved = true
    this.#check.bytes += bytes
    if (outstanding < saturatedBytes) {
      this.#sample = undefined
      return
    }
    const now = this.#clock.now()
    this.#sample ??= { since: now, bytes: 0 }
    const { since } = this.#sample
    this.#sample.bytes += bytes
    if (now - since < sampleMs) return
    this.#measured((this.#sample.bytes * 1000) / (now - since))
    this.#sample = { since: now, bytes: 0 }
  }

  #measured(rate: number): void {
    this.#rate = this.#rate === undefined ? rate : this.#rate * 0.7 + rate * 0.3
    if (this.#rate < slowLink) this.#zstd = true
    else if (this.#rate > fastLink) this.#zstd = false
  }

  // Counts checks instead of time: when this machine was too busy to read, that is not the peer's doing.
  #checkProgress(): void {
    const check = this.#check
    check.silent = check.moved ? 0 : check.silent + 1
    check.moved = false
    check.count += 1
    const tooSlow = check.count >= rateChecks && check.bytes < (minBytesPerSecond * rateChecks * checkMs) / 1000
    if (check.silent >= silentChecks || tooSlow) {
      this.rest()
      this.#onStuck(tooSlow ? 'sends too slowly' : 'sends nothing')
      return
    }
    if (check.count >= rateChecks) this.#check = { ...check, count: 0, bytes: 0 }
    this.#cancelCheck = this.#clock.after(checkMs, () => this.#checkProgress())
  }
}
