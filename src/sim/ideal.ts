import type { Cluster } from './cluster.ts'
import type { Build, Job, Scheduler } from './job.ts'

/**
 * List scheduling by one who knows everything at once: whenever a slot is free, the unit with the longest true way to
 * the end of its build gets the fastest free slot. On a cluster whose transfers and overheads take no time.
 */
export class AllKnowing implements Scheduler {
  readonly #cluster: Cluster
  readonly #fastest: readonly number[]
  readonly #ready: Job[] = []
  readonly #bound = new Map<number, Job[]>()
  #dispatching = false

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    const speed = (node: number): number => cluster.machines[node]?.speed ?? 0
    this.#fastest = cluster.machines.map((_, node) => node).sort((a, b) => speed(b) - speed(a))
    cluster.freed = () => this.#dispatch()
  }

  begin(_build: Build): void {}
  end(_build: Build): void {}

  submit(job: Job): void {
    const queue = job.unit.mobile ? this.#ready : (this.#bound.get(job.build.home) ?? [])
    if (!job.unit.mobile) this.#bound.set(job.build.home, queue)
    insert(queue, job)
    // After all that become ready at this moment.
    if (this.#dispatching) return
    this.#dispatching = true
    this.#cluster.time.after(0, () => {
      this.#dispatching = false
      this.#dispatch()
    })
  }

  #dispatch(): void {
    for (const [node, queue] of this.#bound) {
      while (this.#cluster.free(node) > 0) {
        const job = queue.shift()
        if (!job) break
        this.#cluster.runFor(job, node)
      }
      if (queue.length === 0) this.#bound.delete(node)
    }
    if (this.#ready.length === 0) return
    for (const node of this.#fastest) {
      while (this.#cluster.free(node) > 0) {
        const job = this.#ready.shift()
        if (!job) return
        this.#cluster.runFor(job, node)
      }
    }
  }

  messages(): { units: number; standing: number; bytes: number } {
    return { units: 0, standing: 0, bytes: 0 }
  }
}

function insert(queue: Job[], job: Job): void {
  let [low, high] = [0, queue.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((queue[middle]?.trueRank ?? 0) >= job.trueRank) low = middle + 1
    else high = middle
  }
  queue.splice(low, 0, job)
}
