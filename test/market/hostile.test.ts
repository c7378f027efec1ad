import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { seededRandom } from '../../src/base/clock.ts'
import { frame, isMarketBody, type MarketBody } from '../../src/market/frames.ts'
import type { MarketEvent } from '../../src/market/participant.ts'
import { Participant } from '../../src/market/participant.ts'
import { VirtualTime } from '../../src/sim/virtual-time.ts'
import { ControlFrameSchema } from '../../src/wire/generated/control_pb.ts'
import { build, idOf, makeTask, taskBytes, terms, toolchainBytes, workResult } from './bench.ts'

const u32 = fc.oneof(fc.nat({ max: 3 }), fc.constantFrom(0xffffffff, 0x80000000, 2000), fc.nat())
const u64 = fc.oneof(fc.bigInt({ min: 0n, max: 6n }), fc.constantFrom(2n ** 64n - 1n, 2n ** 63n))
const enumValue = fc.oneof(fc.nat({ max: 6 }), fc.constant(0x7fffffff))
const bytes = fc.oneof(
  fc.constantFrom(build, toolchainBytes, taskBytes(1), taskBytes(2), new Uint8Array(0)),
  fc.uint8Array({ maxLength: 40 }),
)
const text = fc.oneof(fc.constantFrom(terms.host, ''), fc.string())
const rmeta = fc.option(fc.record({ name: text, cid: bytes, size: u64 }), { nil: undefined })

/** Any frame that the codec lets through, with values that are likely to hit something. */
const anyBody: fc.Arbitrary<MarketBody> = fc.oneof(
  fc
    .record({ build: bytes, active: fc.boolean(), toolchains: fc.array(bytes) })
    .map((value) => frame('building', value)),
  fc
    .record({ seq: u64, free: u32, total: u32, toolchains: fc.array(bytes), host: text, tier: enumValue, ttlMs: u32 })
    .map((value) => frame('offer', { ...value, tier: value.tier as 0 | 1 | 2 })),
  fc
    .record({
      build: bytes,
      reservation: u64,
      toolchain: bytes,
      target: text,
      expectedMs: u32,
      inputs: fc.array(bytes),
    })
    .map((value) => frame('reserve', value)),
  fc.record({ reservation: u64, reason: text }).map((value) => frame('decline', value)),
  fc.record({ reservation: u64, startInMs: u32, lacks: fc.array(bytes) }).map((value) => frame('bid', value)),
  fc
    .record({ reservation: u64, task: bytes, epoch: u32, leaseMs: u32, action: bytes, inputs: bytes, expectedMs: u32 })
    .map((value) => frame('award', value)),
  fc.record({ reservation: u64 }).map((value) => frame('gone', value)),
  fc
    .record({ task: bytes, epoch: u32, phase: enumValue, rmeta, depInfo: bytes, trace: bytes })
    .map(({ rmeta: ref, phase, ...value }) =>
      frame('progress', { ...value, phase: phase as 0, ...(ref && { rmeta: ref }) }),
    ),
  fc
    .record({ task: bytes, epoch: u32, outcome: enumValue, code: text, message: text, result: bytes, trace: bytes })
    .map((value) => frame('done', { ...value, outcome: value.outcome as 0 })),
  fc.record({ task: bytes, epoch: u32 }).map((value) => frame('cancel', value)),
  fc.record({ task: bytes, epoch: u32 }).map((value) => frame('cancelled', value)),
  fc.record({ reason: text }).map((value) => frame('goodbye', value)),
)

type Act =
  | { kind: 'frame'; peer: string; body: MarketBody }
  | { kind: 'peer'; peer: string; up: boolean }
  | { kind: 'pass'; ms: number }
  | { kind: 'submit'; away: boolean }
  | { kind: 'release' }
  | { kind: 'withdraw' }
  | { kind: 'finish' }

const peer = fc.constantFrom('ana', 'bob', 'eve')
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('frame' as const), peer, body: anyBody }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('peer' as const), peer, up: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat({ max: 3000 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('submit' as const), away: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'release' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'withdraw' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'finish' as const }) },
)

const slots = 2

/** One honest node among peers that send anything. */
class Victim {
  readonly time = new VirtualTime()
  readonly settled = new Map<string, number>()
  readonly submitted = new Set<string>()
  readonly withdrawn = new Set<string>()
  readonly here: string[] = []
  readonly guests = new Set<string>()
  frames = 0
  readonly participant = new Participant(
    {
      clock: this.time,
      random: seededRandom(1),
      terms: () => terms,
      send: (_to, body) => {
        this.frames += 1
        toBinary(ControlFrameSchema, create(ControlFrameSchema, { body }))
        return this.frames % 17 !== 0
      },
      handle: (event) => this.#handle(event),
    },
    { slots, lendSlots: slots },
  )

  #handle(event: MarketEvent): void {
    if (event.kind === 'here') this.here.push(event.id)
    if (event.kind === 'here' || event.kind === 'away') {
      this.settled.set(event.id, (this.settled.get(event.id) ?? 0) + 1)
    }
    if (event.kind === 'run') {
      const { lender } = this.participant
      assert.ok(lender.guests <= slots && lender.guests + this.here.length <= 2 * slots)
      assert.ok(!this.guests.has(event.guest))
      this.guests.add(event.guest)
    }
    if (event.kind === 'kill') this.time.after(3, () => this.finish(event.guest))
  }

  finish(guest: string | undefined): void {
    if (guest === undefined || !this.guests.delete(guest)) return
    this.participant.tellLender({ kind: 'finished', guest, result: workResult() })
  }

  release(): void {
    const id = this.here.shift()
    if (id !== undefined) this.participant.tell({ kind: 'released', id })
  }

  act(what: Act): void {
    const { participant, time } = this
    switch (what.kind) {
      case 'frame':
        participant.receive(what.peer, what.body)
        break
      case 'peer':
        if (what.up) participant.connect(what.peer)
        else participant.disconnect(what.peer)
        break
      case 'pass':
        time.run(() => false, time.now() + what.ms)
        break
      case 'submit': {
        // The first two have the ids that the frames guess.
        const id = idOf(this.submitted.size + 1)
        this.submitted.add(id)
        participant.tell({ kind: 'submit', id, task: makeTask({ mayGoAway: what.away }) })
        break
      }
      case 'release':
        this.release()
        break
      case 'withdraw': {
        const id = [...this.submitted].find((other) => !this.settled.has(other) && !this.withdrawn.has(other))
        if (id === undefined) return
        this.withdrawn.add(id)
        participant.tell({ kind: 'withdraw', id })
        break
      }
      case 'finish':
        this.finish(this.guests.values().next().value)
        break
    }
  }

  /** The peers go away; what is here ends. */
  wind(): void {
    for (const name of ['ana', 'bob', 'eve']) this.participant.disconnect(name)
    for (let round = 0; round < this.submitted.size + 1; round++) {
      while (this.here.length > 0) this.release()
    }
    this.time.run(() => false, this.time.now() + 60_000)
  }
}

describe('a node among peers that send anything', () => {
  it('never throws, settles each of its units once and keeps nothing for them', () => {
    fc.assert(
      fc.property(fc.array(act, { minLength: 20, maxLength: 150 }), (acts) => {
        const victim = new Victim()
        victim.participant.tell({ kind: 'building', build, active: true })
        for (const what of acts) victim.act(what)
        victim.wind()
        for (const id of victim.submitted) {
          assert.equal(victim.settled.get(id) ?? 0, victim.withdrawn.has(id) ? 0 : 1, `unit ${id}`)
        }
        const { builder, lender } = victim.participant
        assert.deepEqual([builder.waiting, builder.here, builder.away, builder.reservations], [0, 0, 0, 0])
        assert.deepEqual([lender.guests, lender.bids, lender.queued, lender.audience], [0, 0, 0, 0])
      }),
      { numRuns: 500, seed: 20 },
    )
  })

  it('takes whatever bytes the codec lets through', () => {
    let accepted = 0
    const mutated = fc.tuple(anyBody, fc.nat(), fc.nat({ max: 255 })).map(([body, at, byte]) => {
      const encoded = toBinary(ControlFrameSchema, create(ControlFrameSchema, { body }))
      encoded[at % Math.max(1, encoded.length)] = byte
      return encoded
    })
    fc.assert(
      fc.property(
        fc.array(fc.oneof(mutated, fc.uint8Array({ maxLength: 80 })), { minLength: 40, maxLength: 60 }),
        (frames) => {
          const victim = new Victim()
          for (const away of [false, false, true, true]) victim.act({ kind: 'submit', away })
          for (const encoded of frames) {
            let body: ReturnType<typeof fromBinary<typeof ControlFrameSchema>>['body']
            try {
              body = fromBinary(ControlFrameSchema, encoded).body
            } catch (error) {
              assert.ok(error instanceof Error)
              continue
            }
            if (!isMarketBody(body)) continue
            accepted += 1
            victim.participant.receive('eve', body)
            victim.act({ kind: 'pass', ms: 10 })
          }
        },
      ),
      { numRuns: 200, seed: 21 },
    )
    assert.ok(accepted > 1000, `only ${accepted} frames got through`)
  })
})
