import type { Cluster } from './cluster.ts'
import type { Job } from './job.ts'

/** A result from elsewhere has to be sooner by this share to be worth going for; the market wants as much. */
const gainLeast = 0.05
const overMs = 5

/**
 * Tells apart what units wait for. Time in which no machine that may have it had a slot for it, or only such from which its result would
 * have come later than from the slot here that it was waiting for, is nobody's fault. All the rest is what deciding costs: news of slots,
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
    const byHome = new Map<number, Job[]>()
    for (const job of this.#waiting()) {
      const jobs = byHome.get(job.build.home)
      if (jobs) jobs.push(job)
      else byHome.set(job.build.home, [job])
    }
    for (const [home, jobs] of byHome) {
      if (this.#cluster.free(home) > 0) continue
      const lenders = [...this.#reach(home)].filter((node) => this.#cluster.free(node) > 0)
      jobs.sort((a, b) => b.trueRank - a.trueRank)
      for (const [place, job] of jobs.entries()) {
        if (job.unit.mobile && !lenders.some((node) => this.#isSooner(job, node, place))) job.unavoidableMs += overMs
      }
    }
  }

  /** @param place among those that wait for a slot here: all before it are taken to get one first */
  #isSooner(job: Job, node: number, place: number): boolean {
    const { build, unit } = job
    const cluster = this.#cluster
    const { speed = 1, liar = 'no' } = cluster.machines[node] ?? {}
    if (liar === 'silent') return false
    const bytes = build.missing(node, unit) + unit.outputBytes
    const movingMs = bytes / Math.min(cluster.bytesPerMs(node), cluster.bytesPerMs(build.home))
    const compileMs = unit.ms / (liar === 'slow' ? speed / 10 : speed)
    const thereMs = cluster.init.overheadMs + movingMs + compileMs
    const hereMs = cluster.untilFree(build.home, place) + unit.ms / (cluster.machines[build.home]?.speed ?? 1)
    return thereMs < hereMs * (1 - gainLeast)
  }
}
