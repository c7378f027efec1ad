import type { Unit } from './unit.ts'

/** Of what has taken longer than expected, as much again of this share is left. */
const overrun = 0.25
const leastMs = 20

/** Own units that hold a slot here, and when there will be one for the next. */
export class SlotsHere {
  readonly #total: number
  readonly #units = new Map<string, { since: number; expectedMs: number }>()

  /** @param total own units that may run here at once */
  constructor(total: number) {
    this.#total = total
  }

  get size(): number {
    return this.#units.size
  }
  get isFull(): boolean {
    return this.#units.size >= this.#total
  }
  has(id: string): boolean {
    return this.#units.has(id)
  }
  take(unit: Unit, now: number): void {
    this.#units.set(unit.id, { since: now, expectedMs: unit.task.expectedMs })
  }
  /** @returns how long it was held and how long that was expected to be; undefined when it was not held */
  release(id: string, now: number): { tookMs: number; expectedMs: number } | undefined {
    const held = this.#units.get(id)
    this.#units.delete(id)
    return held && { tookMs: now - held.since, expectedMs: held.expectedMs }
  }

  /**
   * Milliseconds until each unit of the queue, in its order, would get a slot here.
   * @param scale how many times as long as expected units take here
   */
  *waits(now: number, queue: Iterable<Unit>, scale: number): Generator<[unit: Unit, ms: number]> {
    let work = 0
    for (const { since, expectedMs } of this.#units.values()) {
      work += Math.max(leastMs, scale * expectedMs - (now - since), overrun * (now - since))
    }
    for (const unit of queue) {
      yield [unit, this.isFull ? work / this.#total : 0]
      work += scale * unit.task.expectedMs
    }
  }
}
