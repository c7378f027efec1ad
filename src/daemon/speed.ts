import { deflateRawSync } from 'node:zlib'
import { type Clock, seededRandom } from '../base/clock.ts'

/** What it takes on the reference machine, a virtual one on a server of 2023. */
const referenceMs = 2.5
/** How often, and after how long each: what else runs on a processor and its twin makes it slower for a while, and nothing faster. */
const [looks, everyMs] = [40, 100]

/**
 * Measures how fast this machine's processors are, by what rustc does most: short loops with many branches. Takes a tenth of
 * a second of one of them, two milliseconds at a time.
 * @param tell is told in thousandths of the reference machine, each time it turns out to be faster
 * @returns ends it
 */
export function measureSpeed(clock: Clock, tell: (permille: number) => void, spend = work): () => void {
  const text = makeText()
  let best = Number.POSITIVE_INFINITY
  let left = looks
  let cancel = clock.after(everyMs, look)
  function look(): void {
    const ms = spend(clock, text)
    if (ms < best) {
      best = ms
      tell(Math.round((1000 * referenceMs) / Math.max(0.01, ms)))
    }
    left -= 1
    if (left > 0) cancel = clock.after(everyMs, look)
  }
  return () => cancel()
}

/** Made of letters of which some are much more frequent than others, always the same. */
function makeText(): Buffer {
  const random = seededRandom(1)
  return Buffer.from(Uint8Array.from({ length: 64 << 10 }, () => 97 + Math.floor(26 * random() ** 3)))
}

/** The processor time of a thread is counted in steps that are longer than this takes; of many looks some are not interrupted. */
function work(clock: Clock, text: Buffer): number {
  const from = clock.now()
  deflateRawSync(text, { level: 6 })
  return clock.now() - from
}
