import type { Cluster } from './cluster.ts'
import type { Build, Job, Scheduler } from './job.ts'

/**
 * List scheduling by one who knows everything at once: of the units that are ready those with the longest true way to the end of their
 * build come first. Those that have to be compiled where their build is get its slots before all others.
 */
export abstract class ListScheduler implements Scheduler {
  protected readonly cluster: Cluster
  /** Machines, the fastest first. */
  protected readonly fastest: readonly number[]
  /** Units that may go anywhere, the next one first. */
  protected readonly ready: Job[] = []
  /** Machine → units that only it may compile, the next one first. */
  readonly #bound = new Map<number, Job[]>()
  #isDue = false

  constructor(cluster: Cluster) {
    this.cluster = cluster
    const speed = (node: number): number => cluster.machines[node]?.speed ?? 0
    this.fastest = cluster.machines.map((_, node) => node).sort((a, b) => speed(b) - speed(a))
  }

  /** Gives slots to the units that may go anywhere. */
  protected abstract dispatch(): void

  begin(_build: Build): void {}
  end(_build: Build): void {}

  submit(job: Job): void {
    const queue = job.unit.mobile ? this.ready : (this.#bound.get(job.build.home) ?? [])
    if (!job.unit.mobile) this.#bound.set(job.build.home, queue)
    insertByRank(queue, job)
    this.dispatchSoon()
  }

  messages(): { units: number; standing: number; bytes: number } {
    return { units: 0, standing: 0, bytes: 0 }
  }

  /** After all that happens at this moment. */
  protected dispatchSoon(): void {
    if (this.#isDue) return
    this.#isDue = true
    this.cluster.time.after(0, () => {
      this.#isDue = false
      for (const node of [...this.#bound.keys()]) this.runBound(node)
      this.dispatch()
    })
  }

  /** Gives slots of this machine to the units that only it may compile. */
  protected runBound(node: number): void {
    const queue = this.#bound.get(node)
    if (!queue) return
    while (this.cluster.free(node) > 0) {
      const job = queue.shift()
      if (!job) break
      this.cluster.runFor(job, node)
    }
    if (queue.length === 0) this.#bound.delete(node)
  }
}

function insertByRank(queue: Job[], job: Job): void {
  let [low, high] = [0, queue.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((queue[middle]?.trueRank ?? 0) >= job.trueRank) low = middle + 1
    else high = middle
  }
  queue.splice(low, 0, job)
}
