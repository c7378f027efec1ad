import type { Cluster } from './cluster.ts'
import type { Build, Job } from './job.ts'
import { QueueScheduler } from './queues.ts'
import { sample } from './random.ts'

function anyOf(cluster: Cluster): number {
  return Math.floor(cluster.random() * cluster.machines.length)
}

/** Plain cargo: each unit where its build is. */
export class Alone extends QueueScheduler {
  protected place(job: Job): void {
    this.enqueue(job, job.build.home)
  }
}

/** Each unit to any machine. */
export class RandomChoice extends QueueScheduler {
  protected place(job: Job): void {
    this.enqueue(job, anyOf(this.cluster))
  }
}

/** Sparrow: place-holders at twice as many random machines as units are ready, bound when their turn comes, in order. */
export class Sparrow extends QueueScheduler {
  readonly #waiting = new Map<Build, Job[]>()
  readonly #fresh = new Map<Build, number>()

  protected place(job: Job): void {
    const queue = this.#waiting.get(job.build) ?? []
    this.#waiting.set(job.build, queue)
    queue.push(job)
    const fresh = this.#fresh.get(job.build) ?? 0
    this.#fresh.set(job.build, fresh + 1)
    // One batch for all that become ready at this moment.
    if (fresh === 0) this.cluster.time.after(0, () => this.#probe(job.build))
  }

  #probe(build: Build): void {
    const units = this.#fresh.get(build) ?? 0
    this.#fresh.delete(build)
    const all = this.cluster.machines.map((_, node) => node)
    for (let left = 2 * units; left > 0; left -= all.length) {
      for (const node of sample(all, Math.min(left, all.length), this.cluster.random)) this.hold(build, node)
    }
  }

  protected override pull(build: Build): Job | undefined {
    return this.#waiting.get(build)?.shift()
  }

  override end(build: Build): void {
    this.#waiting.delete(build)
  }
}

/** Join-idle-queue: machines with free slots are known to one random builder each; a unit goes to one of those, or anywhere. */
export class JoinIdleQueue extends QueueScheduler {
  readonly #idle = new Map<Build, number[]>()
  readonly #known: number[]

  constructor(cluster: Cluster) {
    super(cluster)
    this.#known = cluster.machines.map(() => 0)
  }

  override begin(build: Build): void {
    this.#idle.set(build, [])
    for (const node of this.cluster.machines.keys()) this.idle(node)
  }

  override end(build: Build): void {
    const tokens = this.#idle.get(build) ?? []
    this.#idle.delete(build)
    for (const node of tokens) this.#known[node] = (this.#known[node] ?? 0) - 1
    for (const node of tokens) this.idle(node)
  }

  protected override idle(node: number): void {
    const builds = [...this.#idle.keys()]
    while (builds.length > 0 && (this.#known[node] ?? 0) < this.cluster.free(node)) {
      const build = builds[Math.floor(this.cluster.random() * builds.length)]
      if (!build) return
      this.#known[node] = (this.#known[node] ?? 0) + 1
      this.message(node, build.home, 'small', () => {
        const tokens = this.#idle.get(build)
        if (tokens) tokens.push(node)
        else this.#known[node] = (this.#known[node] ?? 0) - 1
      })
    }
  }

  protected place(job: Job): void {
    const tokens = this.#idle.get(job.build) ?? []
    const at = Math.floor(this.cluster.random() * tokens.length)
    const [node] = tokens.splice(at, 1)
    if (node !== undefined) this.#known[node] = (this.#known[node] ?? 0) - 1
    this.enqueue(job, node ?? anyOf(this.cluster))
  }
}

/** A scheduler in the middle whose picture of the machines is what they said a second ago at most. */
export class StaleLeastLoaded extends QueueScheduler {
  #seen: number[] = []
  #seenAt = Number.NEGATIVE_INFINITY

  protected place(job: Job): void {
    const { time, machines, random } = this.cluster
    if (time.now() - this.#seenAt >= 1000) {
      this.#seenAt = time.now()
      this.#seen = machines.map(({ slots }, node) => this.load(node) / slots)
      this.sentStanding += machines.length
    }
    let best: number[] = []
    let least = Number.POSITIVE_INFINITY
    for (const [node, load] of this.#seen.entries()) {
      if (load < least) best = []
      if (load <= least) best.push(node)
      least = Math.min(least, load)
    }
    const node = best[Math.floor(random() * best.length)] ?? 0
    // Asking the one in the middle is a round trip.
    this.sentUnits += 2
    time.after(2 * this.cluster.delayMs(0, job.build.home, random), () => this.enqueue(job, node))
  }
}

/** What the centralised ones share: they know what they have assigned, and hear at once what has ended. */
abstract class Central extends QueueScheduler {
  readonly #queue: Job[] = []

  protected abstract choose(job: Job): number | undefined

  protected place(job: Job): void {
    this.sentUnits += 2
    this.cluster.time.after(2 * this.cluster.delayMs(0, job.build.home, this.cluster.random), () => {
      this.#queue.push(job)
      this.#assign()
    })
  }

  protected override idle(_node: number): void {
    this.#assign()
  }

  #assign(): void {
    for (let job = this.#queue[0]; job; job = this.#queue[0]) {
      const node = this.choose(job)
      if (node === undefined) return
      this.#queue.shift()
      this.assigned(node)
      this.enqueue(job, node)
    }
  }

  protected readonly pending = new Map<number, number>()

  private assigned(node: number): void {
    const { time } = this.cluster
    this.pending.set(node, (this.pending.get(node) ?? 0) + 1)
    // Until it shows in the machine's own load.
    time.after(20, () => this.pending.set(node, (this.pending.get(node) ?? 0) - 1))
  }
}

/** icecream: the fastest machine in its own measure, less the busier it is; the submitter's own rated by how full it is. */
export class Icecream extends Central {
  protected choose(job: Job): number | undefined {
    let best: number | undefined
    let most = 0
    for (const [node, { slots, speed }] of this.cluster.machines.entries()) {
      const jobs = this.load(node) + (this.pending.get(node) ?? 0)
      if (jobs >= slots) continue
      const half = jobs < slots / 2 ? 1.1 : 1
      const score = speed * (1 - (0.5 * jobs) / slots) * (node === job.build.home ? half : 1)
      if (score > most) [best, most] = [node, score]
    }
    return best
  }
}

/** sccache-dist: the machine with the fewest jobs for its cores, each taking an eighth and one more than it has; none: here. */
export class SccacheDist extends Central {
  protected choose(job: Job): number | undefined {
    let best: number | undefined
    let least = Number.POSITIVE_INFINITY
    for (const [node, { slots }] of this.cluster.machines.entries()) {
      const jobs = this.load(node) + (this.pending.get(node) ?? 0)
      if (jobs >= slots + 1 + slots / 8) continue
      if (jobs / slots < least) [best, least] = [node, jobs / slots]
    }
    return best ?? job.build.home
  }
}
