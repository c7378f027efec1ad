import type { Cluster } from './cluster.ts'
import type { Build, Job, Scheduler } from './job.ts'

/**
 * List scheduling by one who knows everything at once: whenever a slot is free, the unit with the longest true way to
 * the end of its build gets the fastest free slot. On a cluster whose transfers and overheads take no time.
 */
export class AllKnowing implements Scheduler {
  readonly #cluster: Cluster
  /** Machines, the fastest first, and each one's place in that order. */
  readonly #fastest: readonly number[]
  readonly #place: number[] = []
  /** Places of machines that may have a free slot: a heap, the least first. */
  readonly #free: number[]
  readonly #ready: Job[] = []
  readonly #bound = new Map<number, Job[]>()
  #dispatching = false

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    const speed = (node: number): number => cluster.machines[node]?.speed ?? 0
    this.#fastest = cluster.machines.map((_, node) => node).sort((a, b) => speed(b) - speed(a))
    for (const [place, node] of this.#fastest.entries()) this.#place[node] = place
    this.#free = this.#fastest.map((_, place) => place)
    cluster.freed = (node) => {
      if (cluster.free(node) === 1) push(this.#free, this.#place[node] ?? 0)
      this.#dispatch(node)
    }
  }

  begin(_build: Build): void {}
  end(_build: Build): void {}

  submit(job: Job): void {
    const queue = job.unit.mobile ? this.#ready : (this.#bound.get(job.build.home) ?? [])
    if (!job.unit.mobile) this.#bound.set(job.build.home, queue)
    insertByRank(queue, job)
    // After all that become ready at this moment.
    if (this.#dispatching) return
    this.#dispatching = true
    this.#cluster.time.after(0, () => {
      this.#dispatching = false
      for (const node of [...this.#bound.keys()]) this.#runBound(node)
      this.#dispatch(job.build.home)
    })
  }

  #runBound(node: number): void {
    const queue = this.#bound.get(node)
    if (!queue) return
    while (this.#cluster.free(node) > 0) {
      const job = queue.shift()
      if (!job) break
      this.#cluster.runFor(job, node)
    }
    if (queue.length === 0) this.#bound.delete(node)
  }

  #dispatch(freed: number): void {
    this.#runBound(freed)
    while (this.#ready.length > 0) {
      const place = this.#free[0]
      if (place === undefined) return
      const node = this.#fastest[place] ?? 0
      const job = this.#cluster.free(node) > 0 ? this.#ready.shift() : undefined
      if (job) this.#cluster.runFor(job, node)
      else pop(this.#free)
    }
  }

  messages(): { units: number; standing: number; bytes: number } {
    return { units: 0, standing: 0, bytes: 0 }
  }
}

/** Into a queue in which the longest true way to the end of its build comes first. */
export function insertByRank(queue: Job[], job: Job): void {
  let [low, high] = [0, queue.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((queue[middle]?.trueRank ?? 0) >= job.trueRank) low = middle + 1
    else high = middle
  }
  queue.splice(low, 0, job)
}

function push(heap: number[], value: number): void {
  let at = heap.push(value) - 1
  while (at > 0) {
    const up = (at - 1) >>> 1
    const parent = heap[up] ?? 0
    if (parent <= value) break
    heap[at] = parent
    at = up
  }
  heap[at] = value
}

function pop(heap: number[]): void {
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return
  let at = 0
  for (;;) {
    let down = 2 * at + 1
    if (down >= heap.length) break
    if ((heap[down + 1] ?? Number.POSITIVE_INFINITY) < (heap[down] ?? 0)) down += 1
    const child = heap[down] ?? 0
    if (child >= last) break
    heap[at] = child
    at = down
  }
  heap[at] = last
}
