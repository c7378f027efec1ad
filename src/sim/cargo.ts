import type { Cluster } from './cluster.ts'
import { type Graph, type GraphUnit, trueRanks } from './graph.ts'
import type { Build, Job, Scheduler } from './job.ts'

/** One cargo on one machine: submits each unit when what it needs is there. */
export class CargoBuild implements Build {
  readonly number: number
  readonly home: number
  readonly graph: Graph
  readonly startedAt: number
  finishedAt: number | undefined
  /** Jobs that no machine has begun with. */
  readonly waiting = new Set<Job>()
  /** Ready → bound of each unit that may leave, and the part of it during which some machine had a free slot. */
  readonly delaysMs: number[] = []
  readonly idleDelaysMs: number[] = []
  /** What is left without the time in which no slot would have brought it forward. */
  readonly ownDelaysMs: number[] = []
  readonly violations: string[] = []
  readonly #cluster: Cluster
  readonly #scheduler: Scheduler
  readonly #awaited: number[]
  readonly #ranks: readonly number[]
  readonly #announced: Uint8Array
  readonly #ended: Uint8Array
  /** Machine → which units' outputs lie there. */
  readonly #held = new Map<number, Uint8Array>()
  readonly #onEnd: () => void
  #left: number

  constructor(cluster: Cluster, scheduler: Scheduler, number: number, home: number, graph: Graph, onEnd: () => void) {
    this.#onEnd = onEnd
    this.#cluster = cluster
    this.#scheduler = scheduler
    this.number = number
    this.home = home
    this.graph = graph
    this.startedAt = cluster.time.now()
    this.#awaited = graph.map(({ missing }) => missing)
    this.#ranks = trueRanks(graph)
    this.#announced = new Uint8Array(graph.length)
    this.#ended = new Uint8Array(graph.length)
    this.#left = graph.length
  }

  start(): void {
    this.#scheduler.begin(this)
    for (const unit of this.graph) if (unit.missing === 0) this.#submit(unit)
  }

  bound(job: Job): void {
    if (job.boundAt !== undefined) return
    job.boundAt = this.#cluster.time.now()
    this.waiting.delete(job)
    if (!job.unit.mobile) return
    this.delaysMs.push(job.boundAt - job.readyAt)
    this.idleDelaysMs.push(job.boundAt - Math.max(job.readyAt, this.#cluster.fullUntil))
    this.ownDelaysMs.push(Math.max(0, job.boundAt - job.readyAt - job.unavoidableMs))
  }

  metadata(unit: GraphUnit): void {
    if (this.#announced[unit.index]) return
    this.#announced[unit.index] = 1
    for (const index of unit.onMetadata) this.#satisfy(index)
  }

  finished(unit: GraphUnit): void {
    if (this.#ended[unit.index]) {
      this.violations.push(`build ${this.number}: unit ${unit.index} was delivered twice`)
      return
    }
    this.metadata(unit)
    this.#ended[unit.index] = 1
    this.#left -= 1
    for (const index of unit.onEnd) this.#satisfy(index)
    if (this.#left > 0) return
    this.finishedAt = this.#cluster.time.now()
    this.#scheduler.end(this)
    this.#onEnd()
  }

  hold(node: number, index: number): void {
    this.#bits(node)[index] = 1
  }

  holders(): Iterable<number> {
    return this.#held.keys()
  }

  missing(node: number, unit: GraphUnit): number {
    const bits = this.#held.get(node)
    let bytes = unit.sourceBytes
    for (const index of unit.inputs) {
      const input = this.graph[index]
      if (!bits?.[index]) bytes += (unit.links ? input?.outputBytes : input?.rmetaBytes) ?? 0
    }
    return bytes
  }

  lacks(node: number, unit: GraphUnit): number {
    const bytes = this.missing(node, unit)
    const bits = this.#bits(node)
    for (const index of unit.inputs) bits[index] = 1
    return bytes
  }

  #bits(node: number): Uint8Array {
    const known = this.#held.get(node)
    if (known) return known
    const bits = new Uint8Array(this.graph.length)
    this.#held.set(node, bits)
    return bits
  }

  #satisfy(index: number): void {
    const left = (this.#awaited[index] ?? 0) - 1
    this.#awaited[index] = left
    const unit = this.graph[index]
    if (left === 0 && unit) this.#submit(unit)
  }

  #submit(unit: GraphUnit): void {
    this.#cluster.ask(this.home, unit, () => this.#asked(unit))
  }

  #asked(unit: GraphUnit): void {
    const readyAt = this.#cluster.time.now()
    const job: Job = {
      build: this,
      unit,
      readyAt,
      trueRank: this.#ranks[unit.index] ?? 0,
      boundAt: undefined,
      unavoidableMs: 0,
    }
    this.waiting.add(job)
    this.#scheduler.submit(job)
  }
}
