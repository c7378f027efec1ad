import type { Cluster } from './cluster.ts'
import type { Job } from './job.ts'

/** A result from elsewhere has to be sooner by this share to be worth going for; the market wants as much. */
const gainLeast = 0.05
const overMs = 5

/**
 * Tells apart what units wait for. Time in which no machine that may have it had a slot for it, or only such from which its result would
 * have come later than from the slot here that it was waiting for, is nobody's fault; a slot is there for one unit, the one that most waits for. All the rest is what deciding costs: news of slots,
 * frames, and mistakes. Judged with what the simulator knows, not by what nodes believe.
 */
export class WaitingWatch {
  readonly #cluster: Cluster
  /** Jobs that wait, at any machine. */
  readonly #waiting: () => Iterable<Job>
  /** Machines that a builder on this one can ask. */
  readonly #reach: (home: number) => Iterable<number>

  constructor(cluster: Cluster, waiting: () => Iterable<Job>, reach: (home: number) => Iterable<number>) {
    this.#cluster = cluster
    this.#waiting = waiting
    this.#reach = reach
  }

  start(): void {
    this.#cluster.time.after(overMs, () => {
      this.#look()
      this.start()
    })
  }

  #look(): void {
    const jobs = [...this.#waiting()].sort((a, b) => b.trueRank - a.trueRank)
    const free = new Map<number, number>()
    /** Machine → how many of those looked at wait for a slot there, as far as they have no better one. */
    const places = new Map<number, number>()
    for (const job of jobs) {
      const { home } = job.build
      const place = places.get(home) ?? 0
      const node = this.#slotFor(job, place, free)
      if (node !== undefined) {
        free.set(node, this.#left(node, free) - 1)
        continue
      }
      places.set(home, place + 1)
      if (job.unit.mobile) job.unavoidableMs += overMs
    }
  }

  /** A slot that nobody has and no unit before was meant for, from which its result would have come sooner. */
  #slotFor(job: Job, place: number, free: ReadonlyMap<number, number>): number | undefined {
    const { home } = job.build
    if (this.#left(home, free) > 0) return home
    if (!job.unit.mobile) return undefined
    for (const node of this.#reach(home))
      if (this.#left(node, free) > 0 && this.#isSooner(job, node, place)) return node
    return undefined
  }

  #left(node: number, free: ReadonlyMap<number, number>): number {
    return free.get(node) ?? this.#cluster.free(node)
  }

  /** @param place among those that wait for a slot here: all before it are taken to get one first */
  #isSooner(job: Job, node: number, place: number): boolean {
    const { build, unit } = job
    const cluster = this.#cluster
    const { speed = 1, liar = 'no' } = cluster.machines[node] ?? {}
    if (liar === 'silent') return false
    const compileMs = unit.ms / (liar === 'slow' ? speed / 10 : speed)
    const madeMs = cluster.init.overheadMs + build.missing(node, unit) / cluster.rate(build.home, node) + compileMs
    const backMs = unit.outputBytes / Math.min(cluster.bytesPerMs(node), cluster.bytesPerMs(build.home))
    // What is under way to where it is built comes first, as far as it has not come by then.
    const thereMs = madeMs + Math.max(0, cluster.comingMs(build.home) - madeMs) + backMs
    const hereMs = cluster.untilFree(build.home, place) + unit.ms / (cluster.machines[build.home]?.speed ?? 1)
    return thereMs < hereMs * (1 - gainLeast)
  }
}
