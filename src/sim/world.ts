import { type Random, seededRandom } from '../base/clock.ts'
import type { MarketBody } from '../market/frames.ts'
import type { Reading } from '../market/gauge.ts'
import type { MarketEvent } from '../market/participant.ts'
import type { WorkResult } from '../market/task.ts'
import { Outcome } from '../wire/generated/market_pb.ts'
import { readSimAction, SimBuild, simResult } from './build.ts'
import { type FaultPlan, type FaultTarget, injectFaults, isFaultless } from './faults.ts'
import { watchIdleness } from './idleness.ts'
import { Network } from './network.ts'
import { SimNode } from './node.ts'
import { VirtualTime } from './virtual-time.ts'
import { criticalPathMs, layeredGraph, workMs } from './workload.ts'

export interface SimInit {
  seed: number
  nodes: number
  /** Nodes that build, all from the same moment on. */
  builders: number
  slots: number
  /** Units of each build. */
  units: number
  latencyMs: readonly [number, number]
  /** Added to a compile away for inputs, sandbox and outputs. Bandwidth is not modelled. */
  overheadMs: number
  errorSigma: number
  faults: FaultPlan
}

export interface SimReport {
  /** End of the last build. Builds whose node crashed are in none of the figures. */
  makespanMs: number
  /** The least that any scheduler could reach with all these slots, without any overhead: max(critical path, work ÷ slots). */
  boundMs: number
  /** The same bound for each builder alone on its own machine, the largest. */
  aloneMs: number
  units: number
  away: number
  delaysMs: number[]
  /** Frames by kind, up to the end of the last build. */
  sent: ReadonlyMap<string, number>
  /** Why attempts came back without a result, and how often. */
  returned: ReadonlyMap<string, number>
  mostAttempts: number
  abandonedBuilds: number
  /** Broken promises; each is a fault of the market, whatever the faults of the network were. */
  violations: string[]
}

interface Running {
  lender: SimNode
  builder: string
  task: string
  epoch: number
  finish: (outcome: WorkResult['outcome']) => void
  startedAt: number
  orphanedFor: number
}

/** How a compile away can end in vain. */
const badOutcomes = [Outcome.UNSPECIFIED, Outcome.FAILED, Outcome.REFUSED, Outcome.UNUSABLE, Outcome.ERROR] as const
const settleMs = 20_000
/** A slot may stand idle for so long, and for three rounds of frames, while work that fits waits. */
const idleMs = 100
/** By then the last trace of a fault is gone: a reservation that one side has lost, a pause. */
const forgottenMs = 60_000

/** Runs one seeded simulation to its end. The same `init` gives the same report on every machine. */
export function simulate(init: SimInit): SimReport {
  return new World(init).run()
}

/** All nodes, their network and their builds. */
class World implements FaultTarget {
  readonly init: SimInit
  readonly time = new VirtualTime()
  readonly random: Random
  readonly names: readonly string[]
  readonly network: Network
  readonly nodes = new Map<string, SimNode>()
  readonly builds = new Map<string, SimBuild>()
  readonly violations: string[] = []
  readonly #running = new Map<string, Running>()
  readonly #awards = new Map<string, number>()
  readonly #returned = new Map<string, number>()
  readonly #abandoned: SimBuild[] = []
  #calmAt = 0

  constructor(init: SimInit) {
    this.init = init
    this.random = seededRandom(init.seed)
    this.names = Array.from({ length: init.nodes }, (_, index) => `n${index}`)
    this.network = new Network(this.time, this.random, {
      latencyMs: init.latencyMs,
      loss: init.faults.loss,
      duplicate: init.faults.duplicate,
    })
  }

  run(): SimReport {
    const { builders, units, errorSigma } = this.init
    const { names } = this
    for (const name of names) this.nodes.set(name, this.#newNode(name))
    for (const name of names.slice(0, builders)) {
      const node = this.nodes.get(name)
      const graph = layeredGraph({ units, random: this.random, errorSigma })
      if (node) this.builds.set(name, new SimBuild(node, graph, this.builds.size))
    }
    const { aloneMs } = this.#bounds()
    for (const name of names) this.#join(name)
    for (const build of this.builds.values()) build.start()
    this.#calmAt = injectFaults(this, this.init.faults)
    this.time.after(this.#calmAt, () => this.network.calm())
    this.#watchOrphans()
    watchIdleness({
      time: this.time,
      nodes: () => this.nodes.values(),
      mostMs: idleMs + 6 * this.init.latencyMs[1],
      isSound: () => isFaultless(this.init.faults) || this.time.now() > this.#calmAt + forgottenMs,
      broken: (violation) => this.violations.push(violation),
    })

    const done = (): boolean => [...this.builds.values()].every((build) => build.finishedAt !== undefined)
    const limitMs = this.#calmAt + 20 * aloneMs * this.init.builders + 120_000
    if (!this.time.run(done, limitMs)) this.violations.push(`not finished after ${limitMs} ms`)
    const makespanMs = this.time.now()
    const sent = new Map(this.network.sent)
    // What was under way settles, then nothing may be left of it.
    this.time.run(() => false, Math.max(makespanMs, this.#calmAt) + settleMs)
    this.#checkNothingLeft()
    return { makespanMs, ...this.#bounds(), sent, ...this.#totals() }
  }

  /** The process dies; its peers notice after a while, and another one takes its place if `restartMs` is given. */
  crash(name: string, noticeMs: number, restartMs: number | undefined): void {
    const node = this.nodes.get(name)
    if (!node) return
    node.crash()
    this.nodes.delete(name)
    for (const [key, running] of this.#running) if (running.lender === node) this.#running.delete(key)
    const build = this.builds.get(name)
    if (build && build.finishedAt === undefined) {
      this.#abandoned.push(build)
      this.builds.delete(name)
    }
    const others = [...this.nodes.values()]
    for (const other of others) this.time.after(noticeMs, () => other.run(() => other.participant.disconnect(name)))
    if (restartMs === undefined) return
    this.time.after(noticeMs + restartMs, () => {
      this.nodes.set(name, this.#newNode(name))
      this.#join(name)
    })
  }

  /** Two sides lose sight of each other, notice after a while if it lasts, and meet again. */
  partition(island: ReadonlySet<string>, ms: number, noticeMs: number): void {
    this.network.cut(island)
    const pairs = [...this.nodes.keys()].flatMap((a) =>
      [...this.nodes.keys()].filter((b) => a !== b && this.network.separated(a, b)).map((b) => [a, b] as const),
    )
    if (noticeMs < ms) {
      this.time.after(noticeMs, () => {
        for (const [a, b] of pairs) this.#act(a, (node) => node.participant.disconnect(b))
      })
    }
    this.time.after(ms, () => {
      this.network.cut(new Set())
      for (const [a, b] of pairs) if (this.nodes.has(b)) this.#act(a, (node) => node.participant.connect(b))
    })
  }

  suspend(name: string, ms: number): void {
    this.nodes.get(name)?.suspend(ms)
  }

  #act(name: string, act: (node: SimNode) => void): void {
    const node = this.nodes.get(name)
    node?.run(() => act(node))
  }

  #newNode(name: string): SimNode {
    const { time, network, random, init } = this
    return new SimNode({
      name,
      slots: init.slots,
      time,
      network,
      random,
      handle: (node, event) => this.#handle(node, event),
      observe: (_from, _to, body) => this.#observe(body),
      reading: (guest) => this.#reading(guest + name),
    })
  }

  /** Links of nodes that never build carry nothing, so only links with a builder at one end are modelled. */
  #join(name: string): void {
    for (const other of this.nodes.keys()) {
      if (other === name || !(this.builds.has(name) || this.builds.has(other))) continue
      if (this.network.separated(name, other)) continue
      this.#act(name, (node) => node.participant.connect(other))
      this.#act(other, (node) => node.participant.connect(name))
    }
  }

  #observe(body: MarketBody): void {
    if (body.case !== 'award') return
    const task = Buffer.from(body.value.task).toString('hex')
    const awards = (this.#awards.get(task) ?? 0) + 1
    this.#awards.set(task, awards)
    if (awards > 3) this.violations.push(`${awards} attempts at ${task}`)
  }

  #handle(node: SimNode, event: MarketEvent): void {
    const build = this.builds.get(node.name)
    switch (event.kind) {
      case 'here':
        build?.settledHere(event.id)
        break
      case 'away':
        build?.settledAway(event.id, event.done.result)
        break
      case 'returned':
        this.#returned.set(event.why, (this.#returned.get(event.why) ?? 0) + 1)
        break
      case 'run':
        this.#work(node, event)
        break
      case 'kill':
        node.clock.after(5, () => this.#running.get(event.guest + node.name)?.finish(Outcome.OK))
        break
      case 'ended':
        if (event.overdue) this.violations.push(`${event.guest}: killed but not ended`)
        break
      case 'waiting':
      case 'metadata':
        break
    }
  }

  #reading(key: string): Reading | undefined {
    const startedAt = this.#running.get(key)?.startedAt
    return startedAt === undefined ? undefined : { cpuMs: this.time.now() - startedAt, fetchedBytes: 0, fetchMs: 0 }
  }

  #work(node: SimNode, { guest, peer, award }: MarketEvent & { kind: 'run' }): void {
    const action = readSimAction(award.action)
    const task = Buffer.from(award.task).toString('hex')
    const key = guest + node.name
    const finish = (outcome: WorkResult['outcome']): void => {
      if (!this.#running.delete(key)) return
      const result = {
        outcome,
        code: '',
        message: '',
        result: simResult(action),
        trace: new Uint8Array(),
        claim: new Uint8Array(),
        wallMs: Math.round(action.ms),
      }
      node.participant.tellLender({ kind: 'finished', guest, result })
    }
    const startedAt = this.time.now()
    this.#running.set(key, { lender: node, builder: peer, task, epoch: award.epoch, finish, startedAt, orphanedFor: 0 })
    this.builds.get(peer)?.startedAway(task)
    const bad = this.random() < this.init.faults.badWork
    const outcome = (bad ? badOutcomes[Math.floor(this.random() * badOutcomes.length)] : undefined) ?? Outcome.OK
    node.clock.after(action.ms + this.init.overheadMs, () => finish(outcome))
  }

  /** After the faults, work that its builder does not count on must be noticed and killed within three seconds. */
  #watchOrphans(): void {
    this.time.after(1000, () => {
      for (const [key, running] of this.#running) {
        const builder = this.nodes.get(running.builder)?.participant.builder
        const owned = builder?.leased(running.task, running.lender.name) === running.epoch
        running.orphanedFor = owned || this.time.now() < this.#calmAt + 5000 ? 0 : running.orphanedFor + 1
        if (running.orphanedFor === 4) this.violations.push(`${key}: runs for nobody`)
      }
      this.#watchOrphans()
    })
  }

  #checkNothingLeft(): void {
    for (const { name, participant } of this.nodes.values()) {
      const { builder, lender } = participant
      const left = {
        waiting: builder.waiting,
        here: builder.here,
        away: builder.away,
        reservations: builder.reservations,
        guests: lender.guests,
        bids: lender.bids,
        queued: lender.queued,
        audience: lender.audience,
      }
      for (const [what, count] of Object.entries(left)) {
        if (count !== 0) this.violations.push(`${name}: ${what} is ${count} at the end`)
      }
    }
    for (const build of this.builds.values()) {
      this.violations.push(...build.violations)
      if (build.settled !== build.graph.length) this.violations.push(`${build.node.name}: units were lost`)
    }
    for (const build of this.#abandoned) this.violations.push(...build.violations)
  }

  #bounds(): { boundMs: number; aloneMs: number } {
    const { slots, nodes } = this.init
    let longest = 0
    let work = 0
    let aloneMs = 0
    for (const { graph } of this.builds.values()) {
      longest = Math.max(longest, criticalPathMs(graph))
      work += workMs(graph)
      aloneMs = Math.max(aloneMs, criticalPathMs(graph), workMs(graph) / slots)
    }
    return { boundMs: Math.max(longest, work / (slots * nodes)), aloneMs }
  }

  #totals(): Omit<SimReport, 'makespanMs' | 'boundMs' | 'aloneMs' | 'sent'> {
    const builds = [...this.builds.values()]
    return {
      units: builds.reduce((sum, build) => sum + build.graph.length, 0),
      away: builds.reduce((sum, build) => sum + build.away, 0),
      delaysMs: builds.flatMap((build) => build.delaysMs).sort((a, b) => a - b),
      returned: this.#returned,
      mostAttempts: Math.max(0, ...this.#awards.values()),
      abandonedBuilds: this.#abandoned.length,
      violations: this.violations,
    }
  }
}
