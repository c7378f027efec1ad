import type { Cluster } from './cluster.ts'
import type { Build, Job, Scheduler } from './job.ts'
import { sample } from './random.ts'

/** Rules that the market has, or could have. */
export interface Rules {
  /** Lenders are drawn by free slots × speed to this power. 0: speeds do not matter. */
  speedPower: number
  /** A unit leaves a free slot at home when a lender known to be free is expected to be faster by more than this share. */
  leaveFor: number
  /** How long a builder collects bids for a unit of half a second or more, to take the fastest. 0: the first one wins. */
  auctionMs: number
  /** A builder with a free slot and nothing waiting compiles a unit a second time when that is expected to end sooner. */
  hedge: boolean
  /** Units expected to take less stay at home. */
  shortestMs: number
  /** Lenders are told apart by when the unit would be at its end there, with the inputs that they lack. */
  finish: boolean
}

export const rulesNow: Rules = {
  speedPower: 16,
  leaveFor: 0.25,
  auctionMs: 0,
  hedge: false,
  shortestMs: 0,
  finish: false,
}

interface Copy {
  node: number
  startedAt: number
  kill(): void
}

interface Waiting {
  job: Job
  order: number
}

/** Units here and away, and place-holders of one machine's builds. */
interface Builder {
  home: number
  view: readonly number[]
  seen: ReadonlySet<number>
  queue: Waiting[]
  reservations: number
  away: Map<Job, Copy[]>
  auction: number[]
}

const choices = 2
const drawn = 6
const messageBytes = 250
const auctionFloorMs = 500
const attemptFloorMs = 300_000

/**
 * The market's rules as a table: the same decisions and delays without frames, timers and faults. It shows what other rules
 * would bring, and reaches sizes that the state machines do not.
 */
export class VariantMarket implements Scheduler {
  readonly #cluster: Cluster
  readonly #rules: Rules
  readonly #view: number
  readonly #builders = new Map<number, Builder>()
  /** Slots that are kept for the answer to a bid, and place-holders that wait for a slot. */
  readonly #kept: number[]
  readonly #held: Builder[][]
  readonly #done = new Set<Job>()
  /** Builders with units that wait. */
  readonly #hungry = new Set<Builder>()
  #sent = 0
  #order = 0

  constructor(cluster: Cluster, view: number, rules: Rules) {
    this.#cluster = cluster
    this.#rules = rules
    this.#view = view
    this.#kept = cluster.machines.map(() => 0)
    this.#held = cluster.machines.map(() => [])
    cluster.freed = (node) => this.#freed(node)
  }

  begin({ home }: Build): void {
    if (this.#builders.has(home)) return
    const { machines, random } = this.#cluster
    const others = machines.length - 1
    const view =
      others <= this.#view
        ? [...machines.keys()].filter((node) => node !== home)
        : distinct(this.#view, () => Math.floor(random() * machines.length), home)
    this.#builders.set(home, {
      home,
      view,
      seen: new Set(view),
      queue: [],
      reservations: 0,
      away: new Map(),
      auction: [],
    })
  }

  end(_build: Build): void {}

  submit(job: Job): void {
    const builder = this.#builder(job.build.home)
    if (this.#room(builder.home) > 0 && !this.#betterAway(builder, job)) {
      this.#runHere(builder, job)
      return
    }
    insert(builder.queue, { job, order: this.#order++ })
    this.#hungry.add(builder)
    this.#reserve(builder)
  }

  messages(): { units: number; standing: number; bytes: number } {
    return { units: this.#sent, standing: 0, bytes: this.#sent * messageBytes }
  }

  #builder(home: number): Builder {
    const builder = this.#builders.get(home)
    if (!builder) throw new RangeError(`nothing is built on ${home}`)
    return builder
  }

  #speed(node: number): number {
    return this.#cluster.machines[node]?.speed ?? 1
  }

  #room(node: number): number {
    return this.#cluster.free(node) - (this.#kept[node] ?? 0)
  }

  #message(from: number, to: number, then: () => void): void {
    this.#sent += 1
    this.#cluster.time.after(this.#cluster.delayMs(from, to, this.#cluster.random), then)
  }

  /** Some of those that it knows, the best by the rule first. */
  #candidates(builder: Builder): number[] {
    const { random } = this.#cluster
    const next = builder.queue.find(({ job }) => this.#mayLeave(job))?.job
    const some: { node: number; key: number }[] = []
    for (const node of sample(builder.view, Math.min(builder.view.length, drawn * 4), random)) {
      const room = this.#room(node)
      if (room <= 0) continue
      if (this.#rules.finish && next) {
        some.push({ node, key: -this.#finishMs(builder, next, node) })
        continue
      }
      // The largest of u^(1/weight) is a draw by weight.
      some.push({ node, key: random() ** (1 / (room * this.#speed(node) ** this.#rules.speedPower)) })
    }
    return some.sort((a, b) => b.key - a.key).map(({ node }) => node)
  }

  /** How long the unit would take there, as far as its builder can know; 30 ms are for frames, sandbox and files. */
  #finishMs(builder: Builder, { build, unit }: Job, node: number): number {
    if (node === builder.home) return unit.expectedMs / this.#speed(node)
    const bytes = this.#rules.finish ? build.missing(node, unit) + unit.rmetaBytes : 0
    return unit.expectedMs / this.#speed(node) + 30 + bytes / this.#cluster.bytesPerMs(node)
  }

  #betterAway(builder: Builder, job: Job): boolean {
    const { unit } = job
    if (!unit.mobile || this.#rules.leaveFor === Number.POSITIVE_INFINITY || unit.expectedMs < this.#rules.shortestMs)
      return false
    const here = unit.expectedMs / this.#speed(builder.home)
    for (const node of builder.view) {
      if (this.#room(node) <= 0) continue
      if (this.#finishMs(builder, job, node) < here * (1 - this.#rules.leaveFor)) return true
    }
    return false
  }

  #reserve(builder: Builder): void {
    const units = builder.queue.filter(({ job }) => this.#mayLeave(job)).length
    let missing = choices * units - builder.reservations
    if (missing <= 0) return
    for (const node of this.#candidates(builder)) {
      if (missing-- <= 0) return
      builder.reservations += 1
      this.#message(builder.home, node, () => {
        this.#held[node]?.push(builder)
        this.#bid(node)
      })
    }
  }

  #mayLeave({ unit }: Job): boolean {
    return unit.mobile && unit.expectedMs >= this.#rules.shortestMs
  }

  #bid(node: number): void {
    while (this.#room(node) > 0) {
      const builder = this.#held[node]?.shift()
      if (!builder) return
      this.#kept[node] = (this.#kept[node] ?? 0) + 1
      this.#message(node, builder.home, () => this.#answer(builder, node))
    }
  }

  #answer(builder: Builder, node: number): void {
    const first = builder.queue.find(({ job }) => this.#mayLeave(job))
    if (!first || this.#rules.auctionMs === 0 || first.job.unit.expectedMs < auctionFloorMs) {
      this.#award(builder, node)
      return
    }
    builder.auction.push(node)
    if (builder.auction.length > 1) return
    this.#cluster.time.after(this.#rules.auctionMs, () => {
      const next = builder.queue.find(({ job }) => this.#mayLeave(job))?.job
      const ms = (of: number): number => (next ? this.#finishMs(builder, next, of) : 0)
      const bids = builder.auction.sort((a, b) => ms(a) - ms(b))
      builder.auction = []
      for (const bid of bids) this.#award(builder, bid)
    })
  }

  #award(builder: Builder, node: number): void {
    builder.reservations -= 1
    const at = builder.queue.findIndex(({ job }) => this.#mayLeave(job))
    const [next] = at < 0 ? [] : builder.queue.splice(at, 1)
    this.#message(builder.home, node, () => {
      this.#kept[node] = (this.#kept[node] ?? 0) - 1
      if (next) this.#runAway(builder, next.job, node)
      else this.#bid(node)
    })
    if (next) this.#reserve(builder)
  }

  #runHere(builder: Builder, job: Job): void {
    const copies = builder.away.get(job)
    const running = this.#cluster.run(job, builder.home, {
      metadata: () => job.build.metadata(job.unit),
      end: () => this.#settle(builder, job, builder.home),
    })
    copies?.push({ node: builder.home, startedAt: this.#cluster.time.now(), kill: running.kill })
  }

  #runAway(builder: Builder, job: Job, node: number): void {
    const { time, random } = this.#cluster
    const back = (bytes: number, then: () => void): void => {
      this.#sent += 1
      time.after(this.#cluster.delayMs(node, builder.home, random), () => {
        this.#cluster.send(node, builder.home, bytes, then)
      })
    }
    const running = this.#cluster.run(job, node, {
      metadata: () => back(job.unit.rmetaBytes, () => job.build.metadata(job.unit)),
      end: () => {
        back(job.unit.outputBytes, () => this.#cluster.accept(builder.home, () => this.#settle(builder, job, node)))
      },
    })
    const copies = builder.away.get(job) ?? []
    copies.push({ node, startedAt: time.now(), kill: running.kill })
    builder.away.set(job, copies)
    time.after(Math.max(attemptFloorMs, 10 * job.unit.expectedMs), () => this.#overdue(builder, job))
    if (this.#rules.hedge) time.after(2 * job.unit.expectedMs + 1000, () => this.#hedge(builder, job))
  }

  #settle(builder: Builder, job: Job, node: number): void {
    if (this.#done.has(job)) return
    this.#done.add(job)
    const copies = builder.away.get(job) ?? []
    builder.away.delete(job)
    for (const copy of copies) if (copy.node !== node) copy.kill()
    job.build.finished(job.unit)
  }

  /** The longest that the market lets an attempt take. */
  #overdue(builder: Builder, job: Job): void {
    if (this.#done.has(job)) return
    for (const copy of builder.away.get(job) ?? []) if (copy.node !== builder.home) copy.kill()
    if (builder.away.get(job)?.some(({ node }) => node === builder.home)) return
    if (this.#room(builder.home) > 0) this.#runHere(builder, job)
    else this.#cluster.time.after(250, () => this.#overdue(builder, job))
  }

  #freed(node: number): void {
    const builder = this.#builders.get(node)
    while (builder && this.#room(node) > 0) {
      const next = builder.queue.shift()
      if (!next) break
      this.#runHere(builder, next.job)
    }
    this.#bid(node)
    // Builders that found nobody ask again: an offer has come.
    for (const other of this.#hungry) {
      if (this.#room(node) <= 0) break
      if (other.queue.length === 0) this.#hungry.delete(other)
      else if (other.seen.has(node) && other.reservations < choices * other.queue.length) this.#reserve(other)
    }
  }

  /** Overdue: whatever the reason, a second copy here. */
  #hedge(builder: Builder, job: Job): void {
    if (this.#done.has(job) || (builder.away.get(job)?.length ?? 0) !== 1) return
    if (this.#room(builder.home) > 0) this.#runHere(builder, job)
    else this.#cluster.time.after(250, () => this.#hedge(builder, job))
  }
}

function distinct(count: number, draw: () => number, without: number): number[] {
  const found = new Set<number>()
  while (found.size < count) found.add(draw())
  found.delete(without)
  return [...found]
}

function insert(queue: Waiting[], waiting: Waiting): void {
  const rank = ({ job }: Waiting): number => (job.unit.mobile ? job.unit.rank : Number.MAX_SAFE_INTEGER)
  let [low, high] = [0, queue.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    const other = queue[middle]
    if (other && rank(other) >= rank(waiting)) low = middle + 1
    else high = middle
  }
  queue.splice(low, 0, waiting)
}
