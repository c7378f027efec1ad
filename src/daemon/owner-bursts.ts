import type { Clock } from '../base/clock.ts'

export interface OwnerBurstsInit {
  /** Guests stand still. */
  hold(): void
  letGo(): void
}

/** For so long guests stand still when the owner's cargo begins: by then the watch has seen what its work leaves to them. */
const burstMs = 2500
/** cargo needs moments between units. */
const restMs = 150
/** Without a unit for so long, the next one is a beginning again. */
const overMs = 1000

/**
 * The owner's builds come first from their first moment on: other work shows only once it has lasted, but of these the node hears
 * when they begin.
 */
export class OwnerBursts {
  readonly #clock: Clock
  readonly #init: OwnerBurstsInit
  #units = 0
  #isHeld = false
  /** A build goes on for which guests have stood still long enough. */
  #isSpent = false
  #cancelBurst: () => void = () => undefined
  #cancelRest: () => void = () => undefined

  constructor(clock: Clock, init: OwnerBurstsInit) {
    this.#clock = clock
    this.#init = init
  }

  /** Runs what is done for one unit of the owner's. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#begin()
    try {
      return await work()
    } finally {
      this.#end()
    }
  }

  stop(): void {
    this.#cancelBurst()
    this.#cancelRest()
    this.#letGo()
  }

  #begin(): void {
    this.#units += 1
    this.#cancelRest()
    if (this.#isHeld || this.#isSpent) return
    this.#isHeld = true
    this.#init.hold()
    this.#cancelBurst = this.#clock.after(burstMs, () => {
      this.#isSpent = true
      this.#letGo()
    })
  }

  #end(): void {
    this.#units -= 1
    if (this.#units > 0) return
    this.#cancelRest = this.#clock.after(restMs, () => {
      this.#cancelBurst()
      this.#letGo()
      this.#cancelRest = this.#clock.after(overMs - restMs, () => {
        this.#isSpent = false
      })
    })
  }

  #letGo(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#init.letGo()
  }
}
