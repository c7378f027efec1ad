import type { Random } from '../base/clock.ts'
import type { MarketBody } from '../market/frames.ts'
import type { VirtualTime } from './virtual-time.ts'

export interface NetworkInit {
  /** One-way delay of a frame: uniformly between the two, or a draw for the link. */
  latencyMs: readonly [number, number] | ((from: string, to: string) => number)
  /** Share of frames that are lost, and that arrive twice. */
  loss: number
  duplicate: number
}

type Receive = (from: string, body: MarketBody) => void

/**
 * Frames between nodes: in order from one node to another, in any order across nodes. Harsher than the connections it
 * stands for, which break rather than lose or repeat a frame.
 */
export class Network {
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #init: NetworkInit
  readonly #receivers = new Map<string, Receive>()
  readonly #lastArrival = new Map<string, number>()
  #island: ReadonlySet<string> = new Set()
  #faulty = true
  /** Frames handed over for sending, by kind. */
  readonly sent = new Map<string, number>()

  constructor(time: VirtualTime, random: Random, init: NetworkInit) {
    this.#time = time
    this.#random = random
    this.#init = init
  }

  attach(name: string, receive: Receive): void {
    this.#receivers.set(name, receive)
  }

  detach(name: string): void {
    this.#receivers.delete(name)
  }

  /** No frame passes between the island and the rest. An empty island is a healed network. */
  cut(island: ReadonlySet<string>): void {
    this.#island = island
  }

  separated(a: string, b: string): boolean {
    return this.#island.has(a) !== this.#island.has(b)
  }

  /** From now on nothing is lost or repeated. */
  calm(): void {
    this.#faulty = false
  }

  send(from: string, to: string, body: MarketBody): void {
    this.sent.set(body.case, (this.sent.get(body.case) ?? 0) + 1)
    if (this.separated(from, to)) return
    if (this.#faulty && this.#random() < this.#init.loss) return
    this.#deliver(from, to, body)
    if (this.#faulty && this.#random() < this.#init.duplicate) this.#deliver(from, to, body)
  }

  #deliver(from: string, to: string, body: MarketBody): void {
    const receive = this.#receivers.get(to)
    const { latencyMs } = this.#init
    const [least, most] = typeof latencyMs === 'function' ? [latencyMs(from, to), 0] : latencyMs
    const spread = typeof latencyMs === 'function' ? 0 : this.#random() * (most - least)
    const link = `${from} ${to}`
    const now = this.#time.now()
    const arrival = Math.max(now + least + spread, this.#lastArrival.get(link) ?? 0)
    this.#lastArrival.set(link, arrival)
    this.#time.after(arrival - now, () => {
      // What is under way to a process that has ended reaches nobody, not even its successor.
      if (receive && this.#receivers.get(to) === receive && !this.separated(from, to)) receive(from, body)
    })
  }
}
