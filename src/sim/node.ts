import type { Clock, Random } from '../base/clock.ts'
import type { MarketBody } from '../market/frames.ts'
import type { Reading } from '../market/gauge.ts'
import type { LendTerms } from '../market/lender-events.ts'
import { type MarketEvent, Participant } from '../market/participant.ts'
import { Tier } from '../wire/generated/market_pb.ts'
import type { Network } from './network.ts'
import type { VirtualTime } from './virtual-time.ts'

export interface SimNodeInit {
  name: string
  slots: number
  /** What it says of its speed, relative to the reference machine. Default: 1. */
  speed?: number
  time: VirtualTime
  network: Network
  random: Random
  handle(node: SimNode, event: MarketEvent): void
  reading?(guest: string): Reading | undefined
  /** Every frame as it is sent. */
  observe(from: string, to: string, body: MarketBody): void
}

/** Lends whatever toolchain the simulation uses. */
const toolchain = '00'.repeat(32)
const usualTerms = {
  tier: Tier.WATCHED,
  host: 'sim',
  toolchains: [toolchain],
  speedPermille: 1000,
  memoryFreeMib: 8192,
  onBattery: false,
  links: false,
  room: Number.MAX_SAFE_INTEGER,
} as const

export const simTask = { toolchain, host: 'sim', target: 'sim' } as const

/** One process on one machine. After a crash there is another one of the same name. */
export class SimNode {
  readonly name: string
  readonly participant: Participant
  readonly clock: Clock
  readonly #time: VirtualTime
  readonly #network: Network
  #terms: LendTerms
  #alive = true
  #stoppedUntil = 0

  constructor(init: SimNodeInit) {
    this.name = init.name
    this.#time = init.time
    this.#network = init.network
    this.clock = {
      now: () => init.time.now(),
      wall: () => init.time.wall(),
      after: (ms, run) => init.time.after(ms, () => this.#act(run)),
    }
    const { network, random } = init
    this.#terms = { ...usualTerms, speedPermille: Math.round(1000 * (init.speed ?? 1)) }
    this.participant = new Participant(
      {
        clock: this.clock,
        random,
        terms: () => this.#terms,
        handle: (event) => init.handle(this, event),
        reading: (guest) => init.reading?.(guest),
        send: (to, body) => {
          if (!this.#alive) return false
          init.observe(init.name, to, body)
          network.send(init.name, to, body)
          return true
        },
      },
      { slots: init.slots, lendSlots: init.slots },
    )
    network.attach(init.name, (from, body) => this.#act(() => this.participant.receive(from, body)))
  }

  get alive(): boolean {
    return this.#alive
  }

  /** Runs `act` in this process: later while it is suspended, never once it is dead. */
  run(act: () => void): void {
    this.#act(act)
  }

  /** How many guests the owner lets in. */
  makeRoom(room: number): void {
    this.#terms = { ...this.#terms, room }
    this.#act(() => this.participant.refresh())
  }

  crash(): void {
    this.#alive = false
    this.#network.detach(this.name)
  }

  /** The process stands still, as a closed laptop does. */
  suspend(ms: number): void {
    this.#stoppedUntil = this.#time.now() + ms
  }

  #act(act: () => void): void {
    if (!this.#alive) return
    const wait = this.#stoppedUntil - this.#time.now()
    if (wait > 0) this.#time.after(wait, () => this.#act(act))
    else act()
  }
}
