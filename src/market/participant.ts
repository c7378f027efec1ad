import type { Clock, Random } from '../base/clock.ts'
import { Builder } from './builder.ts'
import type { BuilderEffect, BuilderInput } from './builder-events.ts'
import { frame, type MarketBody } from './frames.ts'
import type { Reading } from './gauge.ts'
import { Lender } from './lender.ts'
import type { LenderEffect, LenderInput, LendTerms } from './lender-events.ts'

/** What is left to do once frames are sent and timers are set. */
export type MarketEvent = Exclude<BuilderEffect | LenderEffect, { kind: 'send' | 'wake' }>

export interface ParticipantNeeds {
  /** False when the frame cannot be sent now. */
  send(peer: string, body: MarketBody): boolean
  clock: Clock
  random: Random
  /** Asked often, so cheap; the same object as long as nothing changed. */
  terms(): LendTerms
  /** How the work on a guest's task advances. */
  reading?(guest: string): Reading | undefined
  /** May call the participant again; such calls take effect after the present one. */
  handle(event: MarketEvent): void
}

export interface ParticipantInit {
  slots: number
  lendSlots: number
}

/**
 * One node's part in the market: its builder and its lender, which share its slots and its links. The daemon drives it with
 * streams and the system clock, the simulation with virtual ones.
 */
export class Participant {
  readonly builder: Builder
  readonly lender: Lender
  readonly #needs: ParticipantNeeds
  readonly #connected = new Set<string>()
  readonly #inbox: (() => void)[] = []
  readonly #timers: { builder?: () => void; lender?: () => void } = {}
  #draining = false
  #own = 0
  #terms: LendTerms | undefined
  #stopped = false
  #left = false

  constructor(needs: ParticipantNeeds, init: ParticipantInit) {
    this.#needs = needs
    const speed = (): number => needs.terms().speedPermille / 1000
    this.builder = new Builder({ slots: init.slots, random: needs.random, speed })
    this.lender = new Lender({ ...init, random: needs.random, reading: (guest) => needs.reading?.(guest) })
  }

  connect(peer: string): void {
    if (this.#stopped || this.#connected.has(peer)) return
    this.#connected.add(peer)
    this.tell({ kind: 'peer', peer, state: 'up' })
    this.tellLender({ kind: 'peer', peer, state: 'up' })
  }

  disconnect(peer: string): void {
    if (!this.#connected.delete(peer)) return
    this.tell({ kind: 'peer', peer, state: 'lost' })
    this.tellLender({ kind: 'peer', peer, state: 'lost' })
  }

  /** A frame proves that its sender is connected, even if the mesh has not said so yet. */
  receive(peer: string, body: MarketBody): void {
    if (this.#stopped) return
    this.connect(peer)
    // What was said before the machine fell asleep is over.
    if (this.#left) return
    this.tell({ kind: 'frame', peer, body })
    this.tellLender({ kind: 'frame', peer, body })
  }

  /** An input for the builder. */
  tell(input: BuilderInput): void {
    this.#enqueue(() => {
      for (const effect of this.builder.step(this.#needs.clock.now(), input)) this.#perform('builder', effect)
      if (this.builder.here === this.#own) return
      this.#own = this.builder.here
      this.tellLender({ kind: 'own', running: this.#own })
    })
  }

  tellLender(input: LenderInput): void {
    this.#enqueue(() => {
      if (input.kind === 'tick' || input.kind === 'frame') this.#refreshTerms()
      for (const effect of this.lender.step(this.#needs.clock.now(), input)) this.#perform('lender', effect)
    })
  }

  /** What `terms` says has changed. */
  refresh(): void {
    this.tellLender({ kind: 'tick' })
  }

  /** Says goodbye; every unit that is not settled is settled as "here", guests are killed, nothing is armed any more. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.tell({ kind: 'stop' })
    this.tellLender({ kind: 'stop' })
    this.#sayGoodbye('stopping')
  }

  /** Says goodbye, as before a sleep: guests are killed, what is away waits again. Frames count for nothing until `comeBack`. */
  leave(): void {
    if (this.#stopped || this.#left) return
    this.#left = true
    this.tell({ kind: 'leave' })
    this.tellLender({ kind: 'leave' })
    this.#sayGoodbye('sleeping')
  }

  comeBack(): void {
    if (!this.#left) return
    this.#left = false
    this.tellLender({ kind: 'return' })
    this.tell({ kind: 'return' })
  }

  #sayGoodbye(reason: string): void {
    this.#enqueue(() => {
      for (const peer of this.#connected) this.#needs.send(peer, frame('goodbye', { reason }))
    })
  }

  #refreshTerms(): void {
    const terms = this.#needs.terms()
    if (terms === this.#terms) return
    this.#terms = terms
    for (const effect of this.lender.step(this.#needs.clock.now(), { kind: 'terms', terms }))
      this.#perform('lender', effect)
  }

  /** One thing at a time: what an effect causes waits until the step that had it is done. */
  #enqueue(run: () => void): void {
    this.#inbox.push(run)
    if (this.#draining) return
    this.#draining = true
    try {
      for (let next = this.#inbox.shift(); next; next = this.#inbox.shift()) next()
    } finally {
      this.#draining = false
    }
  }

  #perform(half: 'builder' | 'lender', effect: BuilderEffect | LenderEffect): void {
    if (effect.kind === 'send') {
      if (!this.#needs.send(effect.peer, effect.body)) this.tell({ kind: 'peer', peer: effect.peer, state: 'suspect' })
    } else if (effect.kind === 'wake') {
      this.#wake(half, effect.at)
    } else {
      if (effect.kind === 'away') {
        const ms = Math.min(effect.done.wallMs, effect.awayMs)
        this.tellLender({ kind: 'borrowed', peer: effect.peer, ms })
      }
      this.#needs.handle(effect)
    }
  }

  #wake(half: 'builder' | 'lender', at: number): void {
    this.#timers[half]?.()
    delete this.#timers[half]
    if (at === Number.POSITIVE_INFINITY) return
    const delay = Math.max(0, at - this.#needs.clock.now())
    this.#timers[half] = this.#needs.clock.after(delay, () => {
      delete this.#timers[half]
      if (half === 'builder') this.tell({ kind: 'tick' })
      else this.tellLender({ kind: 'tick' })
    })
  }
}
