import { create, toBinary } from '@bufbuild/protobuf'
import type { Random } from '../base/clock.ts'
import type { MarketBody } from '../market/frames.ts'
import type { Reading } from '../market/gauge.ts'
import type { MarketEvent } from '../market/participant.ts'
import { ControlFrameSchema } from '../wire/generated/control_pb.ts'
import { Outcome } from '../wire/generated/market_pb.ts'
import { type ChurnTarget, type Departure, injectChurn } from './churn.ts'
import type { Cluster } from './cluster.ts'
import type { Build, Job, Scheduler } from './job.ts'
import { Network } from './network.ts'
import { SimNode, simTask } from './node.ts'
import { sample } from './random.ts'
import type { VirtualTime } from './virtual-time.ts'

export interface MarketOptions {
  /** Machines that a builder is connected to at most, chosen at random. */
  view: number
  /** Departures of each machine per hour, and the share of machines whose owner comes and goes. */
  departures: number
  owners: number
  /** Share of lenders whose metadata is not told to cargo ahead of the rest. */
  late: number
}

interface Running {
  id: string
  index: number
  kill(): void
  reading(): Reading
}

const standing = new Set(['offer', 'building', 'goodbye'])
const noBytes = new Uint8Array()
/** What a unit's command line takes as an action, and its result without the files. */
const actionBytes = 2000

/** The market itself: one participant per machine, the same code as in the daemon. */
export class MarketScheduler implements Scheduler, ChurnTarget {
  readonly network: Network
  readonly violations: string[] = []
  readonly returned = new Map<string, number>()
  readonly #cluster: Cluster
  readonly #options: MarketOptions
  readonly #nodes: SimNode[]
  readonly #jobs = new Map<string, Job>()
  readonly #running = new Map<string, Running>()
  /** Machines that build or have built → whom they are connected to. */
  readonly #linked = new Map<number, ReadonlySet<number>>()
  readonly #building = new Map<number, number>()
  /** Units whose lender has left → when and how. */
  readonly #bereft = new Map<string, { at: number; how: Departure }>()
  /** From the end of a lender to the new start of its units. */
  readonly recoveries: { how: Departure; ms: number }[] = []
  /** Bytes of frames by kind: of some of them, since all of a kind are about as long. */
  readonly #sizes = new Map<string, { count: number; bytes: number }>()

  constructor(cluster: Cluster, options: MarketOptions) {
    this.#cluster = cluster
    this.#options = options
    const { time, random } = cluster
    this.network = new Network(time, random, {
      latencyMs: (from, to) => cluster.delayMs(Number(from), Number(to), random),
      loss: 0,
      duplicate: 0,
    })
    this.#nodes = cluster.machines.map((_, index) => this.#newNode(index))
    injectChurn(this, options.departures, options.owners)
  }

  get time(): VirtualTime {
    return this.#cluster.time
  }
  get random(): Random {
    return this.#cluster.random
  }
  get nodes(): number {
    return this.#cluster.machines.length
  }
  /** Machines that a builder on this one is connected to. */
  reach(home: number): Iterable<number> {
    return this.#linked.get(home) ?? []
  }
  mayLeave(index: number): boolean {
    return !this.#building.get(index)
  }
  makeRoom(index: number, room: number): void {
    this.#node(index).makeRoom(room)
  }

  depart(index: number, how: Departure, ms: number): void {
    const { time } = this
    const node = this.#node(index)
    const at = time.now()
    // Also those whose award is still under way to it.
    for (const [id, { build }] of this.#jobs) {
      const { builder } = this.#node(build.home).participant
      if (builder.leased(id, node.name) !== undefined) this.#bereft.set(id, { at, how })
    }
    if (how === 'goodbye') node.participant.stop()
    for (const [key, running] of [...this.#running]) {
      if (running.index !== index) continue
      this.#running.delete(key)
      running.kill()
    }
    if (how === 'sleep') {
      node.suspend(ms)
      return
    }
    // What is sent at this moment is still under way when the process ends.
    if (how === 'crash') node.crash()
    time.after(ms, () => {
      if (how === 'goodbye') node.crash()
      const fresh = this.#newNode(index)
      this.#nodes[index] = fresh
      for (const [home, seen] of this.#linked) {
        if (home === index) this.#linked.delete(home)
        else if (seen.has(index)) this.#join(home, index)
      }
    })
    // The connections break at some time.
    time.after(4000 * this.random(), () => {
      for (const other of this.#linked.keys()) if (other !== index) this.#node(other).participant.disconnect(node.name)
    })
  }

  #newNode(index: number): SimNode {
    const { time, random, machines } = this.#cluster
    const { slots, toldSpeed } = machines[index] ?? { slots: 1, toldSpeed: 1 }
    return new SimNode({
      name: String(index),
      slots,
      speed: toldSpeed,
      time,
      network: this.network,
      random,
      handle: (node, event) => this.#handle(node, index, event),
      observe: (_from, _to, body) => this.#measure(body),
      reading: (guest) => this.#running.get(guest + String(index))?.reading(),
    })
  }

  #join(home: number, index: number): void {
    const [builder, lender] = [this.#node(home), this.#node(index)]
    builder.run(() => builder.participant.connect(lender.name))
    lender.run(() => lender.participant.connect(builder.name))
  }

  begin(build: Build): void {
    const node = this.#node(build.home)
    this.#building.set(build.home, (this.#building.get(build.home) ?? 0) + 1)
    if (!this.#linked.has(build.home)) {
      const others = this.#nodes.flatMap((_, index) => (index === build.home ? [] : [index]))
      const seen =
        others.length > this.#options.view ? sample(others, this.#options.view, this.#cluster.random) : others
      this.#linked.set(build.home, new Set(seen))
      for (const index of seen) this.#join(build.home, index)
    }
    node.participant.tell({ kind: 'building', build: buildId(build), active: true })
  }

  end(build: Build): void {
    this.#building.set(build.home, (this.#building.get(build.home) ?? 0) - 1)
    this.#node(build.home).participant.tell({ kind: 'building', build: buildId(build), active: false })
  }

  submit(job: Job): void {
    const { build, unit } = job
    const id = build.number.toString(16).padStart(8, '0') + unit.index.toString(16).padStart(24, '0')
    this.#jobs.set(id, job)
    this.#node(build.home).participant.tell({
      kind: 'submit',
      id,
      task: {
        ...simTask,
        build: buildId(build),
        // What is known was learnt on the machine that builds; what is guessed is the same everywhere.
        expectedMs: unit.expectedMs / (unit.guessed ? 1 : (this.#cluster.machines[build.home]?.speed ?? 1)),
        // What leaves a compile is about eight times what it is made from.
        bytes: 9 * unit.sourceBytes,
        rank: unit.mobile ? unit.rank : Number.MAX_SAFE_INTEGER,
        mayGoAway: unit.mobile,
        action: new Uint8Array(actionBytes),
        inputs: new Uint8Array(36),
      },
    })
  }

  messages(): { units: number; standing: number; bytes: number } {
    const sum = { units: 0, standing: 0, bytes: 0 }
    for (const [kind, count] of this.network.sent) {
      const size = this.#sizes.get(kind)
      sum[standing.has(kind) ? 'standing' : 'units'] += count
      if (!standing.has(kind)) sum.bytes += size ? (count * size.bytes) / size.count : 0
    }
    return sum
  }

  #node(index: number): SimNode {
    const node = this.#nodes[index]
    if (!node) throw new RangeError(`no node ${index}`)
    return node
  }

  #job(id: string): Job {
    const job = this.#jobs.get(id)
    if (!job) throw new RangeError(`no unit ${id}`)
    return job
  }

  #handle(node: SimNode, index: number, event: MarketEvent): void {
    switch (event.kind) {
      case 'here': {
        const { id } = event
        const job = this.#job(id)
        this.#recovered(id)
        const running = this.#cluster.run(job, index, {
          metadata: () => job.build.metadata(job.unit),
          end: () => {
            node.participant.tell({ kind: 'released', id, cpuMs: running.reading().cpuMs })
            job.build.finished(job.unit)
          },
        })
        break
      }
      case 'metadata': {
        const { build, unit } = this.#job(event.id)
        if (Number(event.peer) < this.#options.late * this.nodes) break
        this.#cluster.send(Number(event.peer), index, unit.rmetaBytes, () => build.metadata(unit))
        break
      }
      case 'away': {
        const { build, unit } = this.#job(event.id)
        const since = this.time.now()
        this.#cluster.send(Number(event.peer), index, unit.outputBytes, () => {
          const ms = this.time.now() - since
          node.participant.tell({ kind: 'moved', peer: event.peer, bytes: unit.outputBytes, ms })
          node.participant.tell({ kind: 'settled', id: event.id })
          this.#cluster.accept(index, () => build.finished(unit))
        })
        break
      }
      case 'returned':
        this.returned.set(event.why, (this.returned.get(event.why) ?? 0) + 1)
        break
      case 'run':
        this.#work(node, index, event)
        break
      case 'kill':
        this.#kill(node, event.guest)
        break
      case 'ended':
      case 'waiting':
        break
    }
  }

  #work(node: SimNode, index: number, { guest, award }: MarketEvent & { kind: 'run' }): void {
    const id = Buffer.from(award.task).toString('hex')
    const job = this.#job(id)
    this.#recovered(id)
    const key = guest + node.name
    const running = this.#cluster.run(job, index, {
      metadata: () => {
        const rmeta = { name: 'rmeta', cid: new Uint8Array(36), size: BigInt(job.unit.rmetaBytes) }
        node.participant.tellLender({ kind: 'metadata', guest, rmeta, depInfo: noBytes, trace: noBytes })
      },
      end: () => {
        // What a process that has ended took nobody can tell.
        this.#running.delete(key)
        const result = {
          outcome: Outcome.OK,
          code: '',
          message: '',
          result: new Uint8Array(400),
          trace: noBytes,
          claim: noBytes,
          wallMs: Math.round(running.compiledMs()),
          fetchMs: Math.round(running.reading().fetchMs),
          outputBytes: job.unit.outputBytes,
        } as const
        node.participant.tellLender({ kind: 'finished', guest, result })
      },
    })
    this.#running.set(key, { id, index, kill: () => running.kill(), reading: () => running.reading() })
  }

  #recovered(id: string): void {
    const bereft = this.#bereft.get(id)
    if (bereft) this.recoveries.push({ how: bereft.how, ms: this.time.now() - bereft.at })
    this.#bereft.delete(id)
  }

  #kill(node: SimNode, guest: string): void {
    node.clock.after(5, () => {
      const key = guest + node.name
      this.#running.get(key)?.kill()
      this.#running.delete(key)
      const result = {
        outcome: Outcome.ERROR,
        code: '',
        message: '',
        result: noBytes,
        trace: noBytes,
        claim: noBytes,
        wallMs: 0,
      } as const
      node.participant.tellLender({ kind: 'finished', guest, result })
    })
  }

  #measure(body: MarketBody): void {
    const size = this.#sizes.get(body.case) ?? { count: 0, bytes: 0 }
    this.#sizes.set(body.case, size)
    if (size.count >= 500) return
    size.count += 1
    size.bytes += toBinary(ControlFrameSchema, create(ControlFrameSchema, { body })).length
  }
}

function buildId(build: Build): Uint8Array {
  const id = new Uint8Array(16)
  new DataView(id.buffer).setUint32(0, build.number)
  return id
}
