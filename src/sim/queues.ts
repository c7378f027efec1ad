import type { Cluster } from './cluster.ts'
import type { Build, Job, Scheduler } from './job.ts'

/** What a machine's queue holds: a job, or a place-holder that asks for one when its turn comes. */
type Entry = { job: Job } | { ask: Build }

/** A few hundred bytes: most messages name a unit; the one that carries it has its command line. */
const smallBytes = 60
const jobBytes = 2500

/** Machines with a queue each, first in first out, where units that must stay go first. What the baselines share. */
export abstract class QueueScheduler implements Scheduler {
  protected readonly cluster: Cluster
  readonly #queues: Entry[][]
  readonly #own: Job[][]
  protected sentUnits = 0
  protected sentStanding = 0
  protected sentBytes = 0
  /** Slots that wait for the answer to a place-holder. */
  readonly #asking: number[]

  constructor(cluster: Cluster) {
    this.cluster = cluster
    this.#queues = cluster.machines.map(() => [])
    this.#own = cluster.machines.map(() => [])
    this.#asking = cluster.machines.map(() => 0)
    cluster.freed = (node) => this.#pump(node)
  }

  begin(_build: Build): void {}
  end(_build: Build): void {}

  submit(job: Job): void {
    if (job.unit.mobile) {
      this.place(job)
      return
    }
    this.#own[job.build.home]?.push(job)
    this.#pump(job.build.home)
  }

  messages(): { units: number; standing: number; bytes: number } {
    return { units: this.sentUnits, standing: this.sentStanding, bytes: this.sentBytes }
  }

  /** Decides for a unit that may leave. */
  protected abstract place(job: Job): void
  /** A machine has a slot that nothing waits for. */
  protected idle(_node: number): void {}
  /** The next unit for a place-holder of this build whose turn has come. */
  protected pull(_build: Build): Job | undefined {
    return undefined
  }

  /** Units and place-holders that the machine has, running ones included. */
  protected load(node: number): number {
    return (this.cluster.busy[node] ?? 0) + (this.#queues[node]?.length ?? 0) + (this.#asking[node] ?? 0)
  }

  protected message(from: number, to: number, kind: 'small' | 'job', then: () => void): void {
    if (from !== to) {
      this.sentUnits += 1
      this.sentBytes += kind === 'job' ? jobBytes : smallBytes
    }
    this.cluster.time.after(this.cluster.delayMs(from, to, this.cluster.random), then)
  }

  /** Sends the unit to the machine's queue. Its result is one more message. */
  protected enqueue(job: Job, node: number): void {
    this.message(job.build.home, node, 'job', () => {
      if (node !== job.build.home) this.sentUnits += 1
      this.#queues[node]?.push({ job })
      this.#pump(node)
    })
  }

  protected hold(build: Build, node: number): void {
    this.message(build.home, node, 'small', () => {
      this.#queues[node]?.push({ ask: build })
      this.#pump(node)
    })
  }

  #pump(node: number): void {
    for (;;) {
      if (this.cluster.free(node) - (this.#asking[node] ?? 0) <= 0) return
      const own = this.#own[node]?.shift()
      if (own) {
        this.cluster.runFor(own, node)
        continue
      }
      const entry = this.#queues[node]?.shift()
      if (!entry) break
      if ('job' in entry) this.cluster.runFor(entry.job, node)
      else this.#ask(entry.ask, node)
    }
    this.idle(node)
  }

  #ask(build: Build, node: number): void {
    this.#asking[node] = (this.#asking[node] ?? 0) + 1
    this.message(node, build.home, 'small', () => {
      const job = this.pull(build)
      this.message(build.home, node, job ? 'job' : 'small', () => {
        this.#asking[node] = (this.#asking[node] ?? 0) - 1
        if (job && node !== build.home) this.sentUnits += 1
        if (job) this.#queues[node]?.unshift({ job })
        this.#pump(node)
      })
    })
  }
}
