import type { Cluster } from './cluster.ts'
import type { Job } from './job.ts'
import { ListScheduler } from './list-scheduler.ts'

/** Machines besides those that hold something of the build, the fastest with a free slot: of others none can be better. */
const others = 4

interface Choice {
  node: number
  waitMs: number
  /** Until all that comes of it is at home. */
  ms: number
}

/** Machine → of each slot, the milliseconds until it is free for who comes next, ascending. */
type Slots = Map<number, number[]>

/**
 * The same on a network where bytes take the time that they take: the next unit goes where its result comes from soonest, with what has to be
 * brought there and back. It may wait for a slot that is not free yet. Nobody decides for it, no frame and no sandbox takes time.
 */
export class AllKnowingPaying extends ListScheduler {
  constructor(cluster: Cluster) {
    super(cluster)
    cluster.freed = () => this.dispatchSoon()
  }

  protected dispatch(): void {
    const slots = new Map<number, number[]>()
    for (const job of [...this.ready]) {
      if (this.cluster.slotsFree <= 0) return
      const { node, waitMs } = this.#choose(job, slots)
      this.#promise(job, node, slots)
      if (waitMs > 0 || this.cluster.free(node) <= 0) continue
      this.ready.splice(this.ready.indexOf(job), 1)
      this.cluster.runFor(job, node)
    }
  }

  /** Units that come later wait for this one as well, whether it begins now or not. */
  #promise(job: Job, node: number, slots: Slots): void {
    const waits = this.#slots(node, slots)
    const until = (waits.shift() ?? 0) + this.#heldMs(job, node)
    const at = waits.findIndex((other) => other > until)
    waits.splice(at < 0 ? waits.length : at, 0, until)
  }

  #choose(job: Job, slots: Slots): Choice {
    const best: Choice = { node: job.build.home, waitMs: 0, ms: Number.POSITIVE_INFINITY }
    const consider = (node: number): void => {
      const waitMs = this.#slots(node, slots)[0] ?? Number.POSITIVE_INFINITY
      const ms = waitMs + this.#heldMs(job, node) + this.#backMs(job, node)
      if (ms < best.ms) Object.assign(best, { node, waitMs, ms })
    }
    consider(job.build.home)
    for (const node of job.build.holders()) consider(node)
    let left = others
    for (const node of this.fastest) {
      if (this.cluster.free(node) <= 0 || (this.#slots(node, slots)[0] ?? 1) > 0) continue
      consider(node)
      if (--left === 0) break
    }
    return best
  }

  #slots(node: number, slots: Slots): number[] {
    const known = slots.get(node) ?? this.cluster.slotsIn(node)
    slots.set(node, known)
    return known
  }

  /** How long it holds a slot there: what has to be brought, and the compile. */
  #heldMs({ build, unit }: Job, node: number): number {
    const bringMs = node === build.home ? 0 : build.missing(node, unit) / this.cluster.rate(build.home, node)
    return bringMs + unit.ms / (this.cluster.machines[node]?.speed ?? 1)
  }

  #backMs({ build, unit }: Job, node: number): number {
    return node === build.home ? 0 : unit.outputBytes / this.cluster.rate(node, build.home)
  }
}
