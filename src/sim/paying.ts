import type { Cluster } from './cluster.ts'
import { insertByRank } from './ideal.ts'
import type { Build, Job, Scheduler } from './job.ts'

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
 * List scheduling by one who knows everything at once, as `AllKnowing`, on a network where bytes take the time that they take: the unit with
 * the longest true way to the end of its build goes where its result comes from soonest, with what has to be brought there and back. It may wait
 * for a slot that is not free yet. Nobody decides for it, no frame and no sandbox takes time.
 */
export class AllKnowingPaying implements Scheduler {
  readonly #cluster: Cluster
  /** Machines, the fastest first. */
  readonly #fastest: readonly number[]
  readonly #ready: Job[] = []
  readonly #bound = new Map<number, Job[]>()
  #isDue = false

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    const speed = (node: number): number => cluster.machines[node]?.speed ?? 0
    this.#fastest = cluster.machines.map((_, node) => node).sort((a, b) => speed(b) - speed(a))
    cluster.freed = () => this.#dispatchSoon()
  }

  begin(_build: Build): void {}
  end(_build: Build): void {}

  submit(job: Job): void {
    const queue = job.unit.mobile ? this.#ready : (this.#bound.get(job.build.home) ?? [])
    if (!job.unit.mobile) this.#bound.set(job.build.home, queue)
    insertByRank(queue, job)
    this.#dispatchSoon()
  }

  messages(): { units: number; standing: number; bytes: number } {
    return { units: 0, standing: 0, bytes: 0 }
  }

  /** After all that happens at this moment. */
  #dispatchSoon(): void {
    if (this.#isDue) return
    this.#isDue = true
    this.#cluster.time.after(0, () => {
      this.#isDue = false
      this.#dispatch()
    })
  }

  #dispatch(): void {
    for (const [node, queue] of this.#bound) {
      while (queue.length > 0 && this.#cluster.free(node) > 0) this.#run(queue.shift(), node)
      if (queue.length === 0) this.#bound.delete(node)
    }
    const slots = new Map<number, number[]>()
    for (const job of [...this.#ready]) {
      if (this.#cluster.slotsFree <= 0) return
      const { node, waitMs } = this.#choose(job, slots)
      this.#promise(job, node, slots)
      if (waitMs > 0 || this.#cluster.free(node) <= 0) continue
      this.#ready.splice(this.#ready.indexOf(job), 1)
      this.#run(job, node)
    }
  }

  #run(job: Job | undefined, node: number): void {
    if (job) this.#cluster.runFor(job, node)
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
    for (const node of this.#fastest) {
      if (this.#cluster.free(node) <= 0 || (this.#slots(node, slots)[0] ?? 1) > 0) continue
      consider(node)
      if (--left === 0) break
    }
    return best
  }

  #slots(node: number, slots: Slots): number[] {
    const known = slots.get(node) ?? this.#cluster.slotsIn(node)
    slots.set(node, known)
    return known
  }

  /** How long it holds a slot there: what has to be brought, and the compile. */
  #heldMs({ build, unit }: Job, node: number): number {
    const bringMs = node === build.home ? 0 : build.missing(node, unit) / this.#cluster.rate(build.home, node)
    return bringMs + unit.ms / (this.#cluster.machines[node]?.speed ?? 1)
  }

  #backMs({ build, unit }: Job, node: number): number {
    return node === build.home ? 0 : unit.outputBytes / this.#cluster.rate(node, build.home)
  }
}
