import type { Clock, Random } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

export interface SpotCheckNeeds {
  blocks: {
    /** Hex sha2-256 of every block. */
    keys(): string[]
    /** Reads these through; what is bad is taken out and got again. */
    verify(options: { only: readonly string[] }): Promise<{ bad: number }>
  }
  clock: Clock
  random: Random
  log: Logger
  /** No cargo is at work and no unit in flight here. */
  isQuiet(): boolean
}

const settleMs = 30_000
const pauseMs = 250
const sample = 16

/**
 * Reads a few blocks at random, once after each start, when nothing else is going on: a disk that rots is noticed before a build
 * meets it.
 * @returns stops it
 */
export function spotCheck({ blocks, clock, random, log, isQuiet }: SpotCheckNeeds): () => Promise<void> {
  let left = sample
  let running: Promise<void> = Promise.resolve()
  let cancel = clock.after(settleMs, next)
  let isOver = false

  function next(): void {
    running = look()
      .catch((error: unknown) => {
        const { code, message } = toShoalError(error)
        log.info('blocks not looked at', { code, message })
      })
      .finally(() => {
        if (left > 0 && !isOver) cancel = clock.after(pauseMs, next)
      })
  }

  async function look(): Promise<void> {
    if (!isQuiet()) return
    left -= 1
    const keys = blocks.keys()
    const key = keys[Math.floor(random() * keys.length)]
    if (key !== undefined) await blocks.verify({ only: [key] })
  }

  return async () => {
    isOver = true
    cancel()
    await running
  }
}
