import { deflateRawSync } from 'node:zlib'
import { type Clock, seededRandom } from '../base/clock.ts'

/** What it takes on the reference machine, a virtual one on a server of 2023. */
const referenceMs = 9
/** How often, and after how long each: what else runs on a processor and its twin makes it slower for a while, and nothing faster. */
const [looks, everyMs] = [8, 400]

/**
 * Measures how fast this machine's processors are, by what rustc does most: short loops with many branches over a few hundred
 * kilobytes. Takes a tenth of a second of one of them, spread over three.
 * @param tell is told in thousandths of the reference machine, each time it turns out to be faster
 * @returns ends it
 */
export function measureSpeed(clock: Clock, tell: (permille: number) => void, spend = work): () => void {
  let best = Number.POSITIVE_INFINITY
  let left = looks
  let cancel = clock.after(everyMs, look)
  function look(): void {
    const ms = spend()
    if (ms < best) {
      best = ms
      tell(Math.round((1000 * referenceMs) / Math.max(1, ms)))
    }
    left -= 1
    if (left > 0) cancel = clock.after(everyMs, look)
  }
  return () => cancel()
}

/** @returns milliseconds of this thread's processor, whoever else wanted it */
function work(): number {
  const random = seededRandom(1)
  const text = Buffer.from(Uint8Array.from({ length: 256 << 10 }, () => 97 + Math.floor(26 * random() ** 3)))
  const from = process.threadCpuUsage()
  deflateRawSync(text, { level: 6 })
  const { user, system } = process.threadCpuUsage(from)
  return (user + system) / 1000
}
