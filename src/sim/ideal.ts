import type { Cluster } from './cluster.ts'
import { ListScheduler } from './list-scheduler.ts'

/** Whenever a slot is free, the next unit gets the fastest free one. On a cluster whose transfers and overheads take no time. */
export class AllKnowing extends ListScheduler {
  /** Of each machine, its place in the order of speeds. */
  readonly #place: number[] = []
  /** Places of machines that may have a free slot: a heap, the least first. */
  readonly #free: number[]

  constructor(cluster: Cluster) {
    super(cluster)
    for (const [place, node] of this.fastest.entries()) this.#place[node] = place
    this.#free = this.fastest.map((_, place) => place)
    cluster.freed = (node) => {
      if (cluster.free(node) === 1) push(this.#free, this.#place[node] ?? 0)
      this.runBound(node)
      this.dispatch()
    }
  }

  protected dispatch(): void {
    while (this.ready.length > 0) {
      const place = this.#free[0]
      if (place === undefined) return
      const node = this.fastest[place] ?? 0
      const job = this.cluster.free(node) > 0 ? this.ready.shift() : undefined
      if (job) this.cluster.runFor(job, node)
      else pop(this.#free)
    }
  }
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
