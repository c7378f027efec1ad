import { deflateRawSync } from 'node:zlib'
import { type Clock, seededRandom } from '../base/clock.ts'

/** What is compressed, and how long that takes on the reference machine, which the recorded builds of `sim/` are from. */
const sampleBytes = 32 << 10
const referenceMs = 1.4
/** The quickest of so many times is nobody else's doing; they lie apart so that not all of them are disturbed. */
const tries = 16
const gapMs = 25
/** A laptop that runs on its battery, or is hot, is another machine. */
const againMs = 600_000

const words = 'let mut self fn impl Result Option String match => return { } ( ) , ; usize &str where'.split(' ')

/** Text much like a source, the same on every machine. */
function sample(): Buffer {
  const random = seededRandom(1)
  let text = ''
  while (text.length < sampleBytes) {
    text += words[Math.floor(random() * words.length)] ?? ''
    text += random() < 0.2 ? Math.floor(random() * 1000) : ' '
  }
  return Buffer.from(text.slice(0, sampleBytes))
}

/**
 * How fast a core of this machine is: work with branches and memory much as a compiler's, in pieces of about a millisecond, the quickest
 * of which counts. Neither what else runs here nor a share of the processor changes it.
 */
export class MachineSpeed {
  readonly #clock: Clock
  readonly #changed: (permille: number) => void
  #permille = 1000
  #cancel: () => void = () => {}

  /** @param changed called with each new figure */
  constructor(clock: Clock, changed: (permille: number) => void) {
    this.#clock = clock
    this.#changed = changed
  }

  /** Relative to the reference machine, in thousandths; 1000 until it was measured. */
  get permille(): number {
    return this.#permille
  }

  /** Looks now, which takes about half a second of which 25 ms are work, and every ten minutes. */
  start(): void {
    this.#look(sample(), tries, Number.POSITIVE_INFINITY)
  }

  stop(): void {
    this.#cancel()
  }

  #look(bytes: Buffer, left: number, bestMs: number): void {
    if (left === 0) {
      this.#permille = Math.round((1000 * referenceMs) / bestMs)
      this.#changed(this.#permille)
      this.#cancel = this.#clock.after(againMs, () => this.start())
      return
    }
    const from = this.#clock.now()
    deflateRawSync(bytes)
    const tookMs = this.#clock.now() - from
    this.#cancel = this.#clock.after(gapMs, () => this.#look(bytes, left - 1, Math.min(bestMs, tookMs)))
  }
}
