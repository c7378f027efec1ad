import { type Random, seededRandom } from '../base/clock.ts'
import { Alone, Icecream, JoinIdleQueue, RandomChoice, SccacheDist, Sparrow, StaleLeastLoaded } from './baselines.ts'
import { CargoBuild } from './cargo.ts'
import type { Departure } from './churn.ts'
import { Cluster, type ClusterInit } from './cluster.ts'
import { type NodeCost, noCost, withoutNode } from './cost.ts'
import { type Graph, graphOf, graphPathMs, graphWorkMs, type Knowledge } from './graph.ts'
import { AllKnowing } from './ideal.ts'
import type { Job, Scheduler } from './job.ts'
import { MarketScheduler } from './market-scheduler.ts'
import { AllKnowingPaying } from './paying.ts'
import { exponential } from './random.ts'
import type { RecordedKind, Recording } from './recording.ts'
import { type Rules, VariantMarket } from './variant.ts'
import { WaitingWatch } from './waiting.ts'

export const schedulers = [
  'all-knowing',
  'all-knowing-paying',
  'alone',
  'market',
  'sparrow',
  'join-idle-queue',
  'random',
  'stale-least-loaded',
  'icecream',
  'sccache-dist',
  'table',
] as const

export type SchedulerName = (typeof schedulers)[number]

export interface Scenario {
  seed: number
  nodes: number
  /** Builds arrive at random machines at random moments: this share of what all machines can compile. 0: one build alone. */
  load: number
  builds: number
  recordings: readonly Recording[]
  knowledge: Knowledge
  errorSigma: number
  mobile: readonly RecordedKind[]
  wifiShare: number
  speedSigma: number
  /** Log-normal error of what machines say of their speed. */
  speedError: number
  /** Of each machine; 0: 4, 8, 10 or 16, drawn for each. */
  slots: number
  /** Of each machine; 0: as many as slots. */
  processors: number
  /** Of each processor, the share that may be used. Default: all of it. */
  quota?: number
  /** Of units besides their compiles. The all-knowing scheduler has none, plain cargo has no node. */
  cost: NodeCost
  overheadMs: number
  transfers: boolean
  view: number
  liars: number
  slow: number
  line?: { roundTripMs: number; bytesPerMs: number } | undefined
  /** Of the scheduler `market`: departures of each machine per hour, and the share of machines with an owner at work. */
  departures: number
  owners: number
  late: number
  /** What uses macros tells nobody of its metadata ahead of the rest when it is compiled away. Default: as all others. */
  lateMacros?: boolean
  /** Of the scheduler `table`. */
  rules: Rules
}

export interface ArenaReport {
  scheduler: SchedulerName
  /** Start to end of each build, and the least possible for it alone: max(critical path, work ÷ all slots) at speed 1. */
  makespansMs: number[]
  boundsMs: number[]
  /** Ready → bound of units that may leave, sorted, and the part of it during which some machine had a free slot. */
  delaysMs: number[]
  idleDelaysMs: number[]
  /** Of the market: the part of it during which a slot was free that would have brought the unit forward. */
  ownDelaysMs: number[]
  units: number
  away: number
  messages: { units: number; standing: number; bytes: number }
  sentBytes: number
  endedAtMs: number
  /** Slot time: in use; of that bringing inputs; compiles for nothing. */
  slotMs: number
  fetchMs: number
  wastedMs: number
  /** Processor time of the nodes themselves. */
  nodeMs: number
  /** Slot milliseconds that stood idle while a unit that may leave waited. */
  idleMs: number
  /** How often a slot stood idle for 100 ms while a unit that may leave waited as long. */
  starved: number
  /** From the end of a lender to the new start of its units. */
  recoveries: readonly { how: Departure; ms: number }[]
  violations: string[]
}

interface Arrival {
  at: number
  home: number
  graph: Graph
}

const sampleMs = 20
const idleMost = 100

/** Runs one scheduler on one world. The same scenario is the same machines, builds and moments for each of them. */
export function contest(scheduler: SchedulerName, scenario: Scenario): ArenaReport {
  return new Arena(scheduler, scenario).run()
}

/** What it is spared of what others have to bear. */
function freeOf(name: SchedulerName, { cost }: Scenario): Partial<ClusterInit> {
  if (name === 'alone') return { cost: withoutNode(cost) }
  const ideal = { overheadMs: 0, liars: 0, slow: 0, cost: noCost, lateMacros: false }
  if (name === 'all-knowing') return { ...ideal, transfers: false }
  return name === 'all-knowing-paying' ? ideal : {}
}

class Arena {
  readonly #name: SchedulerName
  readonly #scenario: Scenario
  readonly #cluster: Cluster
  readonly #scheduler: Scheduler
  readonly #builds: CargoBuild[] = []
  readonly #active = new Set<CargoBuild>()
  readonly #violations: string[] = []
  #idleMs = 0
  #starved = 0

  constructor(name: SchedulerName, scenario: Scenario) {
    this.#name = name
    this.#scenario = scenario
    this.#cluster = new Cluster({ ...scenario, ...freeOf(name, scenario) }, seededRandom(scenario.seed))
    this.#scheduler = schedulerOf(name, this.#cluster, scenario)
  }

  run(): ArenaReport {
    const { time } = this.#cluster
    const arrivals = arrivalsOf(this.#scenario, this.#cluster)
    let begun = 0
    for (const { at, home, graph } of arrivals) {
      time.after(at, () => {
        const end = (): boolean => this.#active.delete(build)
        const build = new CargoBuild(this.#cluster, this.#scheduler, begun++, home, graph, end)
        this.#builds.push(build)
        this.#active.add(build)
        build.start()
      })
    }
    this.#watch()
    const scheduler = this.#scheduler
    if (scheduler instanceof MarketScheduler) {
      const waiting = (): Iterable<Job> => [...this.#active].flatMap((build) => [...build.waiting])
      new WaitingWatch(this.#cluster, waiting, (home) => scheduler.reach(home)).start()
    }
    const done = (): boolean => this.#active.size === 0 && begun === arrivals.length
    const limit = 3_600_000 + (arrivals.at(-1)?.at ?? 0)
    if (!time.run(done, limit)) this.#violations.push('a build did not end within an hour')
    return this.#report()
  }

  /** Looks again and again whether slots stand idle while units wait that any machine may compile. */
  #watch(): void {
    const { time } = this.#cluster
    const { machines } = this.#cluster
    time.after(sampleMs, () => {
      const now = time.now()
      let waiting = 0
      let oldest = now
      for (const build of this.#active) {
        for (const job of build.waiting) {
          if (!job.unit.mobile) continue
          waiting += 1
          // The first of a build is its oldest.
          oldest = Math.min(oldest, job.readyAt)
        }
      }
      if (waiting > 0) {
        let free = 0
        let longest = 0
        for (let node = 0; node < machines.length; node++) {
          free += Math.max(0, this.#cluster.free(node))
          longest = Math.max(longest, now - (this.#cluster.idleSince[node] ?? now))
        }
        this.#idleMs += sampleMs * Math.min(free, waiting)
        const both = Math.min(longest, now - oldest)
        if (both > idleMost && both <= idleMost + sampleMs) {
          this.#starved += 1
        }
      }
      this.#watch()
    })
  }

  #report(): ArenaReport {
    const { spent, capacity } = this.#cluster
    for (const build of this.#builds) this.#violations.push(...build.violations)
    return {
      scheduler: this.#name,
      makespansMs: this.#builds.map((build) => (build.finishedAt ?? Number.POSITIVE_INFINITY) - build.startedAt),
      boundsMs: this.#builds.map(({ graph }) => Math.max(graphPathMs(graph), graphWorkMs(graph) / capacity)),
      delaysMs: this.#builds.flatMap(({ delaysMs }) => delaysMs).sort((a, b) => a - b),
      idleDelaysMs: this.#builds.flatMap(({ idleDelaysMs }) => idleDelaysMs).sort((a, b) => a - b),
      ownDelaysMs: this.#builds.flatMap(({ ownDelaysMs }) => ownDelaysMs).sort((a, b) => a - b),
      units: spent.here + spent.away,
      away: spent.away,
      messages: this.#scheduler.messages(),
      sentBytes: this.#cluster.bytes,
      endedAtMs: this.#cluster.time.now(),
      slotMs: spent.slotMs,
      fetchMs: spent.fetchMs,
      wastedMs: spent.wastedMs,
      nodeMs: this.#cluster.nodeMs,
      idleMs: this.#idleMs,
      starved: this.#starved,
      recoveries: this.#scheduler instanceof MarketScheduler ? this.#scheduler.recoveries : [],
      violations: this.#violations,
    }
  }
}

function arrivalsOf(scenario: Scenario, cluster: Cluster): Arrival[] {
  const { seed, builds, load, recordings, knowledge, errorSigma } = scenario
  const random = seededRandom(seed + 7919)
  const mobile = new Set(scenario.mobile)
  if (recordings.length === 0) throw new RangeError('no recordings')
  // What was learnt of a package is the same for all who build it.
  const known = recordings.map((recording) => graphOf(recording, { random, errorSigma, knowledge, mobile }))
  const graphs = Array.from({ length: builds }, (_, index) => known[(index + seed) % known.length] ?? [])
  const meanWork = graphs.reduce((sum, graph) => sum + graphWorkMs(graph), 0) / Math.max(1, builds)
  const gap = load > 0 ? meanWork / (load * cluster.capacity) : 0
  const draw: Random = seededRandom(seed + 104_729)
  let at = 0
  return graphs.map((graph, index) => {
    if (index > 0) at += exponential(gap, draw)
    const home = Math.floor(draw() * scenario.nodes)
    // All at once: each on a machine of its own, as far as there are enough.
    return { at, home: load > 0 ? home : index % scenario.nodes, graph }
  })
}

function schedulerOf(name: SchedulerName, cluster: Cluster, scenario: Scenario): Scheduler {
  switch (name) {
    case 'all-knowing':
      return new AllKnowing(cluster)
    case 'all-knowing-paying':
      return new AllKnowingPaying(cluster)
    case 'alone':
      return new Alone(cluster)
    case 'market':
      return new MarketScheduler(cluster, scenario)
    case 'sparrow':
      return new Sparrow(cluster)
    case 'join-idle-queue':
      return new JoinIdleQueue(cluster)
    case 'random':
      return new RandomChoice(cluster)
    case 'stale-least-loaded':
      return new StaleLeastLoaded(cluster)
    case 'icecream':
      return new Icecream(cluster)
    case 'sccache-dist':
      return new SccacheDist(cluster)
    case 'table':
      return new VariantMarket(cluster, scenario.view, scenario.rules)
  }
}
