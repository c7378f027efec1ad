import type { Processor } from './processor.ts'

/** Processor milliseconds that a unit costs besides its compile, on a machine of speed 1. */
export interface NodeCost {
  /** cargo and what it starts beside rustc, on the machine that builds, with a node or without. */
  cargo: number
  /** The node's own process: of a unit that is compiled where it is built. */
  here: number
  /** Of one that is compiled away: on the machine that builds, and on the one that lends. */
  builder: number
  lender: number
}

export const noCost: NodeCost = { cargo: 0, here: 0, builder: 0, lender: 0 }

/** About what `npm run bench -- mesh` prints, on a machine whose two cores others used as well. */
export const measured: NodeCost = { cargo: 10, here: 40, builder: 110, lender: 150 }

/** What is left of it for plain cargo. */
export function withoutNode({ cargo }: NodeCost): NodeCost {
  return { ...noCost, cargo }
}

/** What of it has to happen before, between and after. */
export interface CostSteps {
  /** Before the unit is anybody's: arguments, inputs, what is kept of it. */
  plan: number
  /** Once a result has come: checked and put where cargo looks for it. Nobody waits for what follows that. */
  accept: number
  keep: number
  /** On the lender: before rustc begins, and after it has ended, while the slot is held. */
  layOut: number
  collect: number
}

/** Half of what a unit here costs is work before the compile, the other half what nobody waits for. */
export function stepsOf({ here, builder, lender }: NodeCost): CostSteps {
  return {
    plan: here / 2,
    accept: Math.max(0, builder - here),
    keep: here / 2,
    layOut: lender / 2,
    collect: lender / 2,
  }
}

/** The node's own process on one machine: one thing at a time, on processors that compiles use as well. */
export class NodeProcess {
  readonly #processor: Processor
  readonly #speed: number
  readonly #queue: { ms: number; done: () => void; rank: number }[] = []
  #isBusy = false
  /** Processor milliseconds so far. */
  spentMs = 0

  constructor(processor: Processor, speed: number) {
    this.#processor = processor
    this.#speed = speed
  }

  /** @param ms of processor time at speed 1; none: `done` is called at once @param rank the highest goes first */
  work(ms: number, done: () => void = () => {}, rank = 0): void {
    if (ms <= 0) {
      done()
      return
    }
    const at = this.#queue.findIndex((other) => other.rank < rank)
    this.#queue.splice(at < 0 ? this.#queue.length : at, 0, { ms, done, rank })
    if (!this.#isBusy) this.#next()
  }

  #next(): void {
    const next = this.#queue.shift()
    this.#isBusy = next !== undefined
    if (next === undefined) return
    this.spentMs += next.ms / this.#speed
    const reached = (): void => {
      this.#next()
      next.done()
    }
    this.#processor.start(true, this.#speed, [{ ms: next.ms, reached }])
  }
}
