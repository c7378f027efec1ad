import type { Random } from '../base/clock.ts'
import { exponential } from './random.ts'
import type { VirtualTime } from './virtual-time.ts'

/** How a lender ends: its process dies, its lid closes without a word, or with a GOODBYE. */
export type Departure = 'crash' | 'sleep' | 'goodbye'

export interface ChurnTarget {
  readonly time: VirtualTime
  readonly random: Random
  readonly nodes: number
  /** False while something is built there. */
  mayLeave(node: number): boolean
  /** Gone for `ms`. */
  depart(node: number, how: Departure, ms: number): void
  /** Slots that the owner leaves to guests from now on. */
  makeRoom(node: number, room: number): void
}

const departures = ['crash', 'sleep', 'goodbye'] as const

/**
 * @param perHour departures of each machine; away for 5 to 35 s
 * @param owners share of the machines whose owner comes and goes: a third of the time one guest is let in at most
 */
export function injectChurn(target: ChurnTarget, perHour: number, owners: number): void {
  const { time, random, nodes } = target
  const next = (node: number): void => {
    time.after(exponential(3_600_000 / perHour, random), () => {
      const how = departures[Math.floor(random() * departures.length)] ?? 'crash'
      const ms = 5000 + 30_000 * random()
      if (target.mayLeave(node)) target.depart(node, how, ms)
      time.after(ms, () => next(node))
    })
  }
  const toggle = (node: number, present: boolean): void => {
    time.after(exponential(present ? 10_000 : 20_000, random), () => {
      target.makeRoom(node, present ? Number.MAX_SAFE_INTEGER : 1)
      toggle(node, !present)
    })
  }
  for (let node = 0; node < nodes; node++) {
    if (perHour > 0) next(node)
    if (random() < owners) toggle(node, false)
  }
}
