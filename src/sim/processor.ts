import type { VirtualTime } from './virtual-time.ts'

interface Compile {
  own: boolean
  /** Of the machine's speed, when it has a slot of its own. */
  pace: number
  /** Milliseconds of work that are left until each of these, the next one first. */
  stages: { left: number; reached: () => void }[]
  share: number
  since: number
  /** Processor milliseconds up to `since`. */
  cpuMs: number
  cancel: () => void
}

/** A compile that runs. */
export interface Compiling {
  cpuMs(): number
  cancel(): void
}

/** What is left to guests when the owner's compiles fill the machine: they run at the lowest priority. */
const leastShare = 0.02

/** The slots of one machine. More compiles than slots go slower: first the guests', then the owner's. */
export class Processor {
  readonly #time: VirtualTime
  readonly #slots: number
  readonly #quota: number
  readonly #compiles = new Set<Compile>()
  #own = 0

  /** @param quota of each slot, what may be used of it in a unit of time. Default: all */
  constructor(time: VirtualTime, slots: number, quota = 1) {
    this.#time = time
    this.#slots = slots
    this.#quota = quota
  }

  /**
   * @param stages milliseconds of work from the start until each of them, ascending
   */
  start(own: boolean, pace: number, stages: { ms: number; reached: () => void }[]): Compiling {
    let before = 0
    const steps = stages.map(({ ms, reached }) => {
      const left = ms - before
      before = ms
      return { left, reached }
    })
    const compile: Compile = { own, pace, stages: steps, share: 0, since: this.#time.now(), cpuMs: 0, cancel: () => {} }
    this.#compiles.add(compile)
    if (own) this.#own += 1
    this.#changed(compile)
    return {
      cpuMs: () => compile.cpuMs + (this.#time.now() - compile.since) * compile.share,
      cancel: () => this.#leave(compile),
    }
  }

  #leave(compile: Compile): void {
    if (!this.#compiles.delete(compile)) return
    compile.cancel()
    if (compile.own) this.#own -= 1
    this.#changed()
  }

  #changed(fresh?: Compile): void {
    const guests = this.#compiles.size - this.#own
    const forGuests = guests > 0 ? Math.min(1, (this.#slots - this.#own) / guests) : 1
    const [own, guest] = [Math.min(1, this.#slots / Math.max(1, this.#own)), Math.max(leastShare, forGuests)]
    for (const compile of this.#compiles) {
      const share = this.#quota * (compile.own ? own : guest)
      if (share === compile.share && compile !== fresh) continue
      const now = this.#time.now()
      const stage = compile.stages[0]
      if (stage) stage.left -= (now - compile.since) * compile.share * compile.pace
      compile.cpuMs += (now - compile.since) * compile.share
      compile.since = now
      compile.share = share
      this.#arm(compile)
    }
  }

  #arm(compile: Compile): void {
    compile.cancel()
    const stage = compile.stages[0]
    if (!stage) {
      this.#leave(compile)
      return
    }
    const wait = Math.max(0, stage.left) / (compile.share * compile.pace)
    compile.cancel = this.#time.after(wait, () => {
      compile.stages.shift()
      compile.cpuMs += (this.#time.now() - compile.since) * compile.share
      compile.since = this.#time.now()
      if (compile.stages.length === 0) this.#leave(compile)
      else this.#arm(compile)
      stage.reached()
    })
  }
}
