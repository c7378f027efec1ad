import type { Random } from '../base/clock.ts'
import type { Reading } from '../market/gauge.ts'
import { type CostSteps, type NodeCost, NodeProcess, stepsOf } from './cost.ts'
import { Flows, type Sending } from './flows.ts'
import type { GraphUnit } from './graph.ts'
import type { Job } from './job.ts'
import { type Compiling, Processor } from './processor.ts'
import { normal } from './random.ts'
import { VirtualTime } from './virtual-time.ts'

export interface Machine {
  slots: number
  /** Relative to the machine on which the builds were recorded. */
  speed: number
  /** What it says of that. */
  toldSpeed: number
  wifi: boolean
  /** Goes on as before, but takes ten times as long; or takes work and never gives it back. */
  liar: 'no' | 'slow' | 'silent'
}

export interface ClusterInit {
  nodes: number
  /** Share of the machines that are on Wi-Fi; a dozen of them share an access point. */
  wifiShare: number
  /** Standard deviation of the logarithm of the machines' speeds. */
  speedSigma: number
  /** The same of the error of what machines say of their speed. */
  speedError: number
  /** Of each machine; 0: 4, 8, 10 or 16, drawn for each. */
  slots: number
  /** Of each machine; 0: as many as slots. Compiles and the node itself share them. */
  processors: number
  /** Of each processor, the share that may be used. Default: all of it. */
  quota?: number
  /** What units cost besides their compiles. */
  cost: NodeCost
  /** Added to each compile away, for its sandbox and its files. */
  overheadMs: number
  /** False: bytes take no time. */
  transfers: boolean
  liars: number
  slow: number
  /** What uses macros tells nobody of its metadata ahead of the rest when it is compiled away. Default: as all others. */
  lateMacros?: boolean
  /** Of every link, where given: one round trip, and what it carries. */
  line?: { roundTripMs: number; bytesPerMs: number } | undefined
}

const wiredBytesPerMs = 117_000
const wifiBytesPerMs = 50_000
const airtimeBytesPerMs = 60_000
const perAccessPoint = 12
const slotChoices = [4, 8, 10, 16] as const
/** Of the node's own work what nobody waits for comes last. */
const putOff = -1

interface Running {
  kill(): void
  /** What its machine says of it. */
  reading(): Reading
  /** How long the compile alone took. */
  compiledMs(): number
}

const nothingUnderWay: Sending = { left: () => 0, cancel: () => {} }

/** Machines, and what compiling and sending bytes takes. Every scheduler is measured on the same ones. */
export class Cluster {
  readonly time = new VirtualTime()
  readonly random: Random
  readonly init: ClusterInit
  readonly machines: Machine[] = []
  readonly busy: number[] = []
  /** Since when a machine has had a slot that nothing uses; Infinity when it has none. */
  readonly idleSince: number[] = []
  readonly #processors: Processor[] = []
  readonly #nodes: NodeProcess[] = []
  readonly #steps: CostSteps
  readonly #flows: Flows
  readonly #up: number[] = []
  readonly #down: number[] = []
  readonly #air: number[] = []
  /** Machine → when those that it compiles should end. */
  readonly #ends: Set<{ at: number }>[] = []
  /** Milliseconds of slots that were in use, of those the ones that were no compile, and of compiles for nothing. */
  readonly spent = { slotMs: 0, fetchMs: 0, wastedMs: 0, away: 0, here: 0 }
  /** When the last moment ended at which no machine had a free slot. */
  fullUntil = 0
  #slotsFree = 0
  /** Called when a slot is free again. */
  freed: (node: number) => void = () => {}

  /** @param random a source that every scheduler's cluster of the same seed has anew */
  constructor(init: ClusterInit, random: Random) {
    this.init = init
    this.random = random
    this.#flows = new Flows(this.time)
    this.#steps = stepsOf(init.cost)
    let air: number | undefined
    let onAir = 0
    for (let node = 0; node < init.nodes; node++) {
      const [silent, slow] = [random() < init.liars, random() < init.slow]
      const liar = silent ? 'silent' : slow ? 'slow' : 'no'
      const wifi = random() < init.wifiShare
      const drawnSlots = slotChoices[Math.floor(random() * slotChoices.length)] ?? 8
      const slots = init.slots > 0 ? init.slots : drawnSlots
      const speed = Math.exp(init.speedSigma * normal(random))
      const toldSpeed = speed * Math.exp(init.speedError * normal(random))
      this.machines.push({ slots, speed, toldSpeed, wifi, liar })
      this.#slotsFree += slots
      const processor = new Processor(this.time, init.processors > 0 ? init.processors : slots, init.quota)
      this.#processors.push(processor)
      this.#nodes.push(new NodeProcess(processor, speed))
      this.busy.push(0)
      this.#ends.push(new Set())
      this.idleSince.push(0)
      if (wifi && onAir % perAccessPoint === 0) air = this.#flows.resource(airtimeBytesPerMs)
      if (wifi) onAir += 1
      const wired = init.line?.bytesPerMs ?? wiredBytesPerMs
      const link = this.#flows.resource(wifi ? wifiBytesPerMs : wired)
      this.#up.push(link)
      this.#down.push(wifi ? link : this.#flows.resource(wired))
      this.#air.push(wifi ? (air ?? -1) : -1)
    }
  }

  get capacity(): number {
    return this.machines.reduce((sum, { slots, speed }) => sum + slots * speed, 0)
  }
  get bytes(): number {
    return this.#flows.bytes
  }
  /** What the machine's own link carries at best. */
  bytesPerMs(node: number): number {
    if (!this.init.transfers) return Number.POSITIVE_INFINITY
    return this.machines[node]?.wifi ? wifiBytesPerMs : wiredBytesPerMs
  }
  /** Bytes per millisecond that a transfer which begins now would get. */
  rate(from: number, to: number): number {
    return this.init.transfers ? this.#flows.next(this.#between(from, to)) : Number.POSITIVE_INFINITY
  }
  /** How long the link of a machine is busy with what is under way to it, at least. */
  comingMs(node: number): number {
    return this.init.transfers ? this.#flows.left(this.#down[node] ?? -1) / this.bytesPerMs(node) : 0
  }
  /** Processor milliseconds of all the nodes' own processes. */
  get nodeMs(): number {
    return this.#nodes.reduce((sum, { spentMs }) => sum + spentMs, 0)
  }
  /** Of all machines. */
  get slotsFree(): number {
    return this.#slotsFree
  }
  free(node: number): number {
    return (this.machines[node]?.slots ?? 0) - (this.busy[node] ?? 0)
  }

  /** Of each slot there, the milliseconds until it is free as things are going, ascending. */
  slotsIn(node: number): number[] {
    const now = this.time.now()
    const taken = [...(this.#ends[node] ?? [])].map(({ at }) => Math.max(0, at - now)).sort((a, b) => a - b)
    return [...Array<number>(Math.max(0, this.free(node))).fill(0), ...taken]
  }

  /** About how long until a slot is free there for who is at this place (from 0) among those that wait for one. */
  untilFree(node: number, place: number): number {
    const now = this.time.now()
    const slots = this.machines[node]?.slots ?? 1
    const left = [...(this.#ends[node] ?? [])].map(({ at }) => Math.max(0, at - now)).sort((a, b) => a - b)
    const round = left.reduce((sum, ms) => sum + ms, 0) / Math.max(1, left.length)
    return Math.floor(place / slots) * 2 * round + (left[place % slots] ?? 0)
  }

  /** One-way delay of a frame: a wired link has a round trip of 0.3 to 1 ms, a Wi-Fi link of 3 ms, in 1 % 40 ms. */
  delayMs(from: number, to: number, random: Random): number {
    if (from === to) return 0
    if (this.init.line) return this.init.line.roundTripMs / 2
    const wifi = (this.machines[from]?.wifi ? 1 : 0) + (this.machines[to]?.wifi ? 1 : 0)
    if (wifi === 0) return (0.3 + 0.7 * random()) / 2
    let delay = 0
    for (let link = 0; link < wifi; link++) delay += Math.min(500, 3 * Math.exp(1.113 * normal(random))) / 2
    return delay
  }

  /** Bytes from one machine to another. */
  send(from: number, to: number, bytes: number, done: () => void): Sending {
    if (from === to || bytes <= 0 || !this.init.transfers) {
      done()
      return nothingUnderWay
    }
    return this.#flows.start(this.#between(from, to), bytes, done)
  }

  #between(from: number, to: number): number[] {
    const uses = [this.#up[from] ?? 0, this.#down[to] ?? 0]
    for (const air of [this.#air[from] ?? -1, this.#air[to] ?? -1]) if (air >= 0) uses.push(air)
    return uses
  }

  /** cargo asks for a unit there: `ready` once that is known which could be compiled. */
  ask(home: number, { asked, rank }: GraphUnit, ready: () => void): void {
    const { cargo } = this.init.cost
    const planned = (): void => this.#work(home, asked ? this.#steps.plan : 0, ready, rank)
    const { speed = 1 } = this.machines[home] ?? {}
    if (cargo <= 0) planned()
    else this.#processors[home]?.start(true, speed, [{ ms: cargo, reached: planned }])
  }

  /** All of a unit's output has come from another machine: `delivered` once it lies where cargo looks for it. */
  accept(home: number, delivered: () => void): void {
    this.#work(home, this.#steps.accept, () => {
      delivered()
      this.#work(home, this.#steps.keep, undefined, putOff)
    })
  }

  #work(node: number, ms: number, done?: () => void, rank?: number): void {
    this.#nodes[node]?.work(ms, done, rank)
  }

  /**
   * Takes a slot, brings the inputs that are not there, compiles, and frees the slot. `metadata` and `end` are called on
   * the machine where it runs. Killed, it frees its slot and calls nothing.
   */
  run(job: Job, node: number, on: { metadata(): void; end(): void }): Running {
    const machine = this.machines[node]
    const processor = this.#processors[node]
    if (!machine || !processor) throw new RangeError(`no machine ${node}`)
    const { unit, build } = job
    const startedAt = this.time.now()
    build.bound(job)
    this.#take(node)
    const cancels: (() => void)[] = []
    const fetch = { bytes: 0, since: 0, until: undefined as number | undefined, sending: nothingUnderWay }
    const compiled = { from: 0, until: 0 }
    let compiling: Compiling | undefined
    let over = false
    const pace = machine.speed * (machine.liar === 'slow' && node !== build.home ? 0.1 : 1)
    const ends = { at: startedAt + unit.ms / pace }
    this.#ends[node]?.add(ends)
    const leave = (): void => {
      over = true
      this.#ends[node]?.delete(ends)
      this.spent.slotMs += this.time.now() - startedAt
      this.#release(node)
    }
    const isAway = node !== build.home
    const compile = (): void => {
      if (over) return
      this.spent.fetchMs += this.time.now() - startedAt
      ends.at += this.time.now() - startedAt
      if (machine.liar === 'silent' && isAway) return
      const end = (): void => {
        if (over) return
        build.hold(node, unit.index)
        leave()
        on.end()
        this.freed(node)
        if (!isAway && unit.asked) this.#work(node, this.#steps.keep)
      }
      compiled.from = this.time.now()
      const collect = (): void => {
        compiled.until = this.time.now()
        this.#work(node, isAway ? this.#steps.collect : 0, end)
      }
      const stages = [{ ms: unit.ms, reached: collect }]
      const tellsEarly = !isAway || !unit.usesMacros || this.init.lateMacros !== true
      if (unit.onMetadata.length > 0 && tellsEarly) stages.unshift({ ms: unit.metadataMs, reached: on.metadata })
      compiling = processor.start(node === build.home, pace, stages)
      cancels.push(compiling.cancel)
    }
    if (!isAway) {
      this.spent.here += 1
      compile()
    } else {
      this.spent.away += 1
      const bring = (): void => {
        fetch.bytes = build.lacks(node, unit)
        fetch.since = this.time.now()
        fetch.sending = this.send(build.home, node, fetch.bytes, () => {
          fetch.until = this.time.now()
          this.#work(node, this.#steps.layOut, compile)
        })
        cancels.push(fetch.sending.cancel)
      }
      cancels.push(this.time.after(this.init.overheadMs, bring))
    }
    const isSlow = machine.liar === 'slow' && isAway
    return {
      compiledMs: () => compiled.until - compiled.from,
      reading: () => ({
        cpuMs: (compiling?.cpuMs() ?? 0) * (isSlow ? 0.1 : 1),
        fetchedBytes: fetch.bytes - (fetch.until === undefined ? fetch.sending.left() : 0),
        fetchMs: (fetch.until ?? this.time.now()) - fetch.since,
        isFetching: isAway && fetch.until === undefined,
      }),
      kill: () => {
        if (over) return
        for (const cancel of cancels) cancel()
        this.spent.wastedMs += this.time.now() - startedAt
        leave()
        this.freed(node)
      },
    }
  }

  /** As `run`, and brings what it makes back to the build: for schedulers that do not lose anything. */
  runFor(job: Job, node: number): void {
    const { build, unit } = job
    const back = (bytes: number, then: () => void): void => {
      if (node === build.home) then()
      else this.time.after(this.delayMs(node, build.home, this.random), () => this.send(node, build.home, bytes, then))
    }
    this.run(job, node, {
      metadata: () => back(unit.rmetaBytes, () => build.metadata(unit)),
      end: () =>
        back(unit.outputBytes, () => {
          if (node === build.home) build.finished(unit)
          else this.accept(build.home, () => build.finished(unit))
        }),
    })
  }

  #take(node: number): void {
    const busy = (this.busy[node] ?? 0) + 1
    this.busy[node] = busy
    this.#slotsFree -= 1
    if (this.free(node) <= 0) this.idleSince[node] = Number.POSITIVE_INFINITY
  }

  #release(node: number): void {
    this.busy[node] = (this.busy[node] ?? 0) - 1
    if (this.#slotsFree++ <= 0) this.fullUntil = this.time.now()
    if (this.free(node) === 1) this.idleSince[node] = this.time.now()
  }
}
