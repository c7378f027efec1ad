import type { Clock } from '../base/clock.ts'
import type { Machine } from './machine.ts'

export interface RestNeeds {
  clock: Clock
  machine: Pick<Machine, 'cores' | 'busyCores' | 'onBattery' | 'freeMemoryBytes'>
  /** No cargo is at work and no unit in flight here. */
  isQuiet(): boolean
}

const leastFreeBytes = 1 << 30

/** Whether this machine has had nothing to do for a while, and has power and memory to spare. */
export class Rest {
  readonly #needs: RestNeeds
  readonly #quietMs: number
  #quietSince: number

  constructor(needs: RestNeeds, { quietMs }: { quietMs: number }) {
    this.#needs = needs
    this.#quietMs = quietMs
    this.#quietSince = needs.clock.now()
  }

  /** Somebody needs the machine. */
  broken(): void {
    this.#quietSince = this.#needs.clock.now()
  }

  /** To be asked again and again: what happens in between is not seen. */
  look(): 'at-rest' | 'busy' | 'scarce' {
    const { clock, machine, isQuiet } = this.#needs
    if (!isQuiet() || machine.busyCores() >= machine.cores / 2) this.broken()
    if (clock.now() - this.#quietSince < this.#quietMs) return 'busy'
    return machine.onBattery() || machine.freeMemoryBytes() < leastFreeBytes ? 'scarce' : 'at-rest'
  }
}
