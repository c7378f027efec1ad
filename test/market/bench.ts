import assert from 'node:assert/strict'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { type Random, seededRandom } from '../../src/base/clock.ts'
import { Builder } from '../../src/market/builder.ts'
import type { BuilderEffect, BuilderInput } from '../../src/market/builder-events.ts'
import { frame, type MarketBody } from '../../src/market/frames.ts'
import { Lender } from '../../src/market/lender.ts'
import type { LenderEffect, LenderInput, LendTerms } from '../../src/market/lender-events.ts'
import { timing } from '../../src/market/limits.ts'
import type { Task, WorkResult } from '../../src/market/task.ts'
import { type OfferSchema, Outcome, Phase, type ReserveSchema, Tier } from '../../src/wire/generated/market_pb.ts'

type Bodies = { [B in MarketBody as B['case']]: B['value'] }
type Body<C extends MarketBody['case']> = Bodies[C]
export type Award = Body<'award'>

const toolchain = 'ab'.repeat(32)
export const toolchainBytes = new Uint8Array(32).fill(0xab)
export const build = new Uint8Array(16).fill(1)

export const terms: LendTerms = {
  tier: Tier.CONFINED,
  host: 'x86_64-unknown-linux-gnu',
  toolchains: [toolchain],
  speedPermille: 1000,
  memoryFreeMib: 4096,
  onBattery: false,
  links: false,
  room: Number.MAX_SAFE_INTEGER,
}

export function idOf(number: number): string {
  return number.toString(16).padStart(32, '0')
}

export function taskBytes(number: number): Uint8Array {
  return Uint8Array.from(Buffer.from(idOf(number), 'hex'))
}

export function makeTask(change: Partial<Task> = {}): Task {
  return {
    build,
    toolchain,
    host: terms.host,
    target: terms.host,
    expectedMs: 1000,
    rank: 1000,
    mayGoAway: true,
    action: new Uint8Array([1]),
    inputs: new Uint8Array(36),
    ...change,
  }
}

type Effect = BuilderEffect | LenderEffect

/** A machine under a clock that only the test moves. */
abstract class Bench<Input, E extends Effect> {
  now = 1000
  /** Effects of everything since the last `clear`. */
  effects: E[] = []
  #wakeAt = Number.POSITIVE_INFINITY

  protected abstract step(input: Input | { kind: 'tick' }): E[]

  tell(input: Input | { kind: 'tick' }): E[] {
    const effects = this.step(input)
    for (const effect of effects) if (effect.kind === 'wake') this.#wakeAt = effect.at
    this.effects.push(...effects)
    return effects
  }

  clear(): void {
    this.effects = []
  }

  /** Lets time pass, with every tick that the machine asked for. */
  pass(ms: number): E[] {
    const until = this.now + ms
    const before = this.effects.length
    while (this.#wakeAt <= until) {
      this.now = Math.max(this.now, this.#wakeAt)
      this.#wakeAt = Number.POSITIVE_INFINITY
      this.tell({ kind: 'tick' })
    }
    this.now = until
    return this.effects.slice(before)
  }

  /** The process stands still for so long, and then the timer fires. */
  standStill(ms: number): E[] {
    this.now += ms
    return this.tell({ kind: 'tick' })
  }

  /** Frames of one kind in the effects so far, with their receivers. */
  sent<C extends MarketBody['case']>(kind: C, among: readonly Effect[] = this.effects): ({ to: string } & Body<C>)[] {
    const frames: ({ to: string } & Body<C>)[] = []
    for (const effect of among) {
      if (effect.kind !== 'send' || effect.body.case !== kind) continue
      frames.push(Object.assign({ to: effect.peer }, effect.body.value as Body<C>))
    }
    return frames
  }

  of<K extends E['kind']>(kind: K, among: readonly E[] = this.effects): Extract<E, { kind: K }>[] {
    return among.filter((effect): effect is Extract<E, { kind: K }> => effect.kind === kind)
  }
}

export class BuilderBench extends Bench<BuilderInput, BuilderEffect> {
  readonly builder: Builder
  #seq = 0n

  constructor(slots: number, random: Random = seededRandom(1), speed: () => number = () => 1) {
    super()
    this.builder = new Builder({ slots, random, speed })
    this.tell({ kind: 'building', build, active: true })
  }

  protected step(input: BuilderInput): BuilderEffect[] {
    return this.builder.step(this.now, input)
  }

  receive(peer: string, body: MarketBody): BuilderEffect[] {
    return this.tell({ kind: 'frame', peer, body })
  }

  submit(number: number, change: Partial<Task> = {}): BuilderEffect[] {
    return this.tell({ kind: 'submit', id: idOf(number), task: makeTask(change) })
  }

  /** Connects the peer if need be, and lets it offer. */
  offer(peer: string, change: MessageInitShape<typeof OfferSchema> = {}): BuilderEffect[] {
    this.tell({ kind: 'peer', peer, state: 'up' })
    const fields = {
      free: 4,
      total: 4,
      toolchains: [toolchainBytes],
      host: terms.host,
      tier: Tier.CONFINED,
      ttlMs: 3000,
    }
    return this.receive(peer, frame('offer', { ...fields, seq: ++this.#seq, ...change }))
  }

  /** Fills every slot with a unit that may not go away. */
  occupy(slots: number): void {
    for (let slot = 0; slot < slots; slot++) this.submit(0xff00 + slot, { mayGoAway: false })
    this.clear()
  }

  release(number = 0xff00): BuilderEffect[] {
    return this.tell({ kind: 'released', id: idOf(number) })
  }

  /** Bids for the first reservation at the peer, and returns the award. */
  award(peer: string): Award {
    const reserve = this.sent('reserve').find(({ to }) => to === peer)
    assert.ok(reserve, `no reservation at ${peer}`)
    const effects = this.receive(peer, frame('bid', { reservation: reserve.reservation }))
    this.clear()
    const award = this.sent('award', effects)[0]
    assert.ok(award, `no award to ${peer}`)
    return award
  }

  /** The peer has compiled a unit before; every slot here stays taken. */
  known(peer: string): void {
    this.done(peer, this.away(peer, 0xfe00))
    this.tell({ kind: 'peer', peer, state: 'suspect' })
    this.clear()
  }

  /** A unit that is away at the peer; every slot here stays taken. */
  away(peer: string, number = 1, change: Partial<Task> = {}): Award {
    this.offer(peer)
    this.submit(number, change)
    const award = this.award(peer)
    assert.equal(this.builder.away > 0, true)
    return award
  }

  /** The peer sends a sign of life each half second, with the processor time that its compile has at each. */
  beat(peer: string, { task, epoch }: Award, times: readonly number[]): void {
    for (const cpuMs of times) {
      this.pass(timing.heartbeat)
      this.receive(peer, frame('progress', { task, epoch, phase: Phase.RUNNING, cpuMs }))
    }
  }

  done(peer: string, award: Award, outcome: Outcome = Outcome.OK): BuilderEffect[] {
    const { task, epoch } = award
    return this.receive(peer, frame('done', { task, epoch, outcome, result: new Uint8Array([7]) }))
  }
}

/** One slot, and it is taken. */
export function busyBuilder(): BuilderBench {
  const bench = new BuilderBench(1)
  bench.occupy(1)
  return bench
}

export class LenderBench extends Bench<LenderInput, LenderEffect> {
  readonly lender: Lender

  constructor(slots: number, lendSlots = slots) {
    super()
    this.lender = new Lender({ slots, lendSlots, random: seededRandom(1) })
    this.tell({ kind: 'terms', terms })
  }

  protected step(input: LenderInput): LenderEffect[] {
    return this.lender.step(this.now, input)
  }

  connect(...peers: string[]): void {
    for (const peer of peers) this.tell({ kind: 'peer', peer, state: 'up' })
  }

  receive(peer: string, body: MarketBody): LenderEffect[] {
    return this.tell({ kind: 'frame', peer, body })
  }

  reserve(peer: string, reservation: number, change: MessageInitShape<typeof ReserveSchema> = {}): LenderEffect[] {
    const fields = { build, toolchain: toolchainBytes, target: terms.host, waiting: 1, expectedMs: 1000 }
    return this.receive(peer, frame('reserve', { ...fields, reservation: BigInt(reservation), ...change }))
  }

  award(peer: string, reservation: number, task = reservation, epoch = 1): LenderEffect[] {
    const fields = { reservation: BigInt(reservation), task: taskBytes(task), epoch, leaseMs: 2000, expectedMs: 1000 }
    return this.receive(peer, frame('award', { ...fields, action: new Uint8Array([1]), inputs: new Uint8Array(36) }))
  }

  /** Starts a guest and returns its name. */
  guest(peer: string, reservation: number): string {
    this.reserve(peer, reservation)
    const run = this.of('run', this.award(peer, reservation))[0]
    assert.ok(run, 'the award was not admitted')
    return run.guest
  }

  finish(guest: string, outcome: Outcome = Outcome.OK): LenderEffect[] {
    return this.tell({ kind: 'finished', guest, result: workResult({ outcome }) })
  }
}

/** What a lender's work ends with, unless said otherwise. */
export function workResult(change: Partial<WorkResult> = {}): WorkResult {
  const [result, trace] = [new Uint8Array([7]), new Uint8Array()]
  return { outcome: Outcome.OK, code: '', message: '', result, trace, claim: new Uint8Array(), wallMs: 5, ...change }
}
