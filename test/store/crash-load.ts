import { seededRandom } from '../../src/base/clock.ts'

/** A store small enough to be full all the time. */
export const crashInit = { maxBytes: 8 << 20, minFreeBytes: 0, reserveBytes: 64 << 10 }

export const blockCount = 400

/** The bytes of block `number`: most of them small, some larger than what is copied in one piece. */
export function blockOf(number: number): Buffer {
  const size = 4 + Math.floor(seededRandom(number)() ** 9 * (1500 << 10))
  const bytes = Buffer.alloc(size, number)
  bytes.writeUInt32LE(number)
  return bytes
}
