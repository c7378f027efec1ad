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
/** So many samples of compressed bytes show whether that brings more, at least so many times as much; if not, it is left for so long. */
const trialSamples = 4
const worthwhile = 1.2
const leftMs = 30_000

interface Sample {
  since: number
  /** On the wire. */
  bytes: number
  /** Of blocks, and how they came. */
  content: number
  plain: boolean
  compressed: boolean
}

const nothingSince = (since: number): Sample => ({ since, bytes: 0, content: 0, plain: false, compressed: false })

/** How fast one lane is: how much to ask for at a time, whether compressed, and when to give the peer up. */
export class LanePace {
  readonly #clock: Clock
  readonly #onStuck: (what: string) => void
  #cancelCheck: (() => void) | undefined
  #check = { silent: 0, count: 0, bytes: 0, moved: false }
  /** Bytes per second, smoothed; undefined until measured. */
  #rate: number | undefined
  #sample: Sample | undefined
  #zstd = false
  /** Bytes of blocks per second: as they are, and how it went once they were asked for compressed. */
  #plainRate: number | undefined
  #trial: { rate: number; samples: number } | undefined
  /** Until when they are not asked for compressed again. */
  #leftUntil = Number.NEGATIVE_INFINITY

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

  /** More of a block comes in the same time when it is compressed: the link is slow, and not one of the machines. */
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
    const sample = this.#sample ?? nothingSince(now)
    this.#sample = sample
    sample.bytes += bytes
    const ms = now - sample.since
    if (ms < sampleMs) return
    this.#sample = nothingSince(now)
    if (sample.plain !== sample.compressed) this.#brought((sample.content * 1000) / ms, sample.compressed, now)
    this.#measured((sample.bytes * 1000) / ms, now)
  }

  /** So many bytes of a block were in what has come. */
  delivered(bytes: number, compressed: boolean): void {
    if (this.#sample === undefined) return
    this.#sample.content += bytes
    if (compressed) this.#sample.compressed = true
    else this.#sample.plain = true
  }

  #measured(rate: number, now: number): void {
    this.#rate = smoothed(this.#rate, rate)
    if (this.#rate > fastLink) this.#zstd = false
    else if (this.#rate < slowLink && now >= this.#leftUntil) this.#zstd = true
  }

  /**
   * Machines that have little of a processor left look like a slow link, and compressing makes them slower still: what tells the two apart
   * is whether it helps.
   */
  #brought(rate: number, compressed: boolean, now: number): void {
    if (!compressed) {
      this.#plainRate = smoothed(this.#plainRate, rate)
      this.#trial = undefined
      return
    }
    const { samples, rate: before } = this.#trial ?? { samples: 0, rate: undefined }
    this.#trial = { samples: samples + 1, rate: smoothed(before, rate) }
    if (this.#trial.samples !== trialSamples || this.#plainRate === undefined) return
    if (this.#trial.rate >= this.#plainRate * worthwhile) return
    this.#zstd = false
    this.#trial = undefined
    this.#leftUntil = now + leftMs
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

const smoothed = (before: number | undefined, now: number): number =>
  before === undefined ? now : before * 0.7 + now * 0.3
