import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { Claims } from '../../src/mesh/claims.ts'
import type { ControlMessage } from '../../src/mesh/control.ts'
import { Holdings } from '../../src/mesh/holdings.ts'
import { Summaries } from '../../src/mesh/summaries.ts'
import { ControlFrameSchema } from '../../src/wire/generated/control_pb.ts'
import { connect, LogBook, ManualClock, makeMesh, someBytes } from './fixture.ts'
import { createMembership } from './hiring.ts'

const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex')

/** Members whose frames reach each other at once, through the wire's own form. */
class Office {
  readonly clock = new ManualClock()
  readonly members = new Map<string, { summaries: Summaries; holdings: Holdings; claims: Claims }>()
  /** Members that take frames and never answer. */
  readonly hung = new Set<string>()
  readonly refusing = new Set<string>()
  readonly frames: { from: string; to: string; kind: string }[] = []

  add(name: string, held: Uint8Array[] = []): Summaries {
    const log = new LogBook()
    const { clock } = this
    const peers = (): string[] => [...this.members.keys()].filter((other) => other !== name)
    const send = (to: string, body: ControlMessage): boolean => this.#send(name, to, body)
    const summaries = new Summaries({ clock, peers, send, onMore: () => undefined })
    const claims = new Claims({
      clock,
      self: name,
      sendWait: () => true,
      sendDone: () => undefined,
      onWorking: (working) => summaries.setWorking(working),
    })
    const lookup = async (keys: Uint8Array[]) =>
      keys.filter((key) => held.some((one) => hex(one) === hex(key))).map((key) => ({ key, traces: [key] }))
    const holdings = new Holdings({ clock, log, lookup, claims, summaries, peers, send })
    this.members.set(name, { summaries, holdings, claims })
    for (const key of held) summaries.add(key)
    return summaries
  }

  get(name: string) {
    const member = this.members.get(name)
    assert.ok(member)
    return member
  }

  /** Questions that `from` sent since the last call, by whom it asked. */
  questions(from: string): string[] {
    const asked = this.frames.filter((frame) => frame.from === from && frame.kind === 'holdingsQuery')
    this.frames.length = 0
    return asked.map(({ to }) => to).sort()
  }

  #send(from: string, to: string, body: ControlMessage): boolean {
    if (this.refusing.has(to)) return false
    this.frames.push({ from, to, kind: body.case })
    const frame = fromBinary(ControlFrameSchema, toBinary(ControlFrameSchema, create(ControlFrameSchema, { body })))
    const member = this.members.get(to)
    if (member === undefined || this.hung.has(to)) return true
    if (frame.body.case === 'holdingsSummary') member.summaries.onSummary(from, frame.body.value)
    if (frame.body.case === 'holdingsQuery') member.holdings.onQuery(from, frame.body.value)
    if (frame.body.case === 'holdingsAnswer') member.holdings.onAnswer(from, frame.body.value)
    return true
  }
}

function office(...keys: Uint8Array[][]): Office {
  const made = new Office()
  for (const [at, held] of keys.entries()) made.add(`m${at}`, held)
  for (const { summaries } of made.members.values()) summaries.known()
  made.clock.advance(1000)
  made.frames.length = 0
  return made
}

test('a key is asked of those that have it, and one that nobody has of nobody', async () => {
  const [one, two] = [someBytes(32), someBytes(32)]
  const all = office([], [one], [two], [one])
  const { holdings } = all.get('m0')
  assert.equal((await holdings.ask([one], { budgetMs: 1000 })).length, 2)
  assert.deepEqual(all.questions('m0'), ['m1', 'm3'])
  assert.deepEqual(await holdings.ask([someBytes(32)], { budgetMs: 1000 }), [])
  assert.deepEqual(all.questions('m0'), [])
  assert.equal((await holdings.ask([one, two, someBytes(32)], { budgetMs: 1000 })).length, 3)
})

test('a member is asked about everything until it has said what it has, and again when it says that it cannot tell', async () => {
  const all = office([], [])
  all.add('late')
  const { summaries, holdings } = all.get('m0')
  const asking = holdings.ask([someBytes(32)], { budgetMs: 10 })
  assert.deepEqual(all.questions('m0'), ['late'])
  await asking
  all.get('late').summaries.known()
  assert.equal(summaries.mayHold('late', someBytes(32)), false)
  const nothing = { known: false, fresh: false, complete: false, working: false }
  summaries.onSummary('late', { ...nothing, added: new Uint8Array(), removed: new Uint8Array() } as never)
  assert.equal(summaries.mayHold('late', someBytes(32)), true)
})

test('what a member gets is known to others a moment later, what it loses as well', () => {
  const key = someBytes(32)
  const all = office([], [])
  const { summaries } = all.get('m1')
  summaries.add(key)
  all.clock.advance(50)
  assert.equal(all.get('m0').summaries.mayHold('m1', key), true)
  // Two results of one prefix: only the last one takes it away.
  const twin = key.slice()
  twin[31] = (key[31] ?? 0) ^ 1
  summaries.add(twin)
  summaries.remove(key)
  all.clock.advance(50)
  assert.equal(all.get('m0').summaries.mayHold('m1', twin), true)
  summaries.remove(twin)
  all.clock.advance(50)
  assert.equal(all.get('m0').summaries.mayHold('m1', twin), false)
})

test('a member that could not be told of a change is told everything later', () => {
  const key = someBytes(32)
  const all = office([], [])
  all.refusing.add('m0')
  all.get('m1').summaries.add(key)
  all.clock.advance(100)
  assert.equal(all.get('m0').summaries.mayHold('m1', key), false)
  all.refusing.clear()
  all.clock.advance(1000)
  assert.equal(all.get('m0').summaries.mayHold('m1', key), true)
})

test('ten thousand results take four bytes each and a few frames, a change a few bytes', () => {
  const many = Array.from({ length: 10_000 }, () => someBytes(32))
  const all = office(many, [])
  const { summaries } = all.get('m0')
  assert.ok(summaries.sentBytes >= 39_900 && summaries.sentBytes <= 40_000, `${summaries.sentBytes}`)
  for (const key of many) assert.ok(all.get('m1').summaries.mayHold('m0', key))
  const before = summaries.sentBytes
  summaries.add(someBytes(32))
  all.clock.advance(50)
  assert.equal(summaries.sentBytes - before, 4)
})

test('a claimed work is asked about where somebody is at works, and everywhere when this node has only begun', async () => {
  const all = office([], [], [])
  const { claims, holdings } = all.get('m0')
  const ask = async (): Promise<string[]> => {
    const work = someBytes(32)
    const claim = claims.claim(work, 1000)
    await holdings.ask([someBytes(32)], { budgetMs: 1000, works: [work] })
    claim.done(false)
    return all.questions('m0')
  }
  assert.deepEqual(await ask(), ['m1', 'm2'])
  const keep = claims.claim(someBytes(32), 1000)
  all.clock.advance(1000)
  assert.deepEqual(await ask(), [])
  const theirs = all.get('m2').claims.claim(someBytes(32), 1000)
  assert.deepEqual(await ask(), ['m2'])
  theirs.done(true)
  all.clock.advance(1000)
  assert.deepEqual(await ask(), [])
  keep.done(false)
})

test('a member that hangs is waited for once, until it answers again', async () => {
  const key = someBytes(32)
  const all = office([], [key], [key])
  all.hung.add('m2')
  const { holdings } = all.get('m0')
  const first = holdings.ask([key], { budgetMs: 300 })
  await new Promise((resolve) => setImmediate(resolve))
  all.clock.advance(299)
  assert.equal(await Promise.race([first, Promise.resolve('waiting')]), 'waiting')
  all.clock.advance(1)
  assert.equal((await first).length, 1)
  // No time passes.
  assert.equal((await holdings.ask([key], { budgetMs: 300 })).length, 1)
  all.hung.delete('m2')
  await holdings.ask([key], { budgetMs: 300 })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await holdings.ask([key], { budgetMs: 300 })).length, 2)
})

test('real members tell each other what they have', { timeout: 30_000 }, async (t) => {
  const membership = createMembership({ name: 'test' })
  const [held, lacking] = [someBytes(32), someBytes(32)]
  let looked = 0
  const [a, b] = [
    await makeMesh(t, { ...membership }),
    await makeMesh(
      t,
      { ...membership },
      {},
      {
        lookup: async (keys) => {
          looked += keys.length
          return keys.map((key) => ({ key, traces: [key] }))
        },
      },
    ),
  ]
  await connect(a, b)
  const told = new Promise<string>((resolve) => a.mesh.onHoldings(resolve))
  b.mesh.holds(held, true)
  b.mesh.holdsNothingElse()
  assert.equal(await told, b.mesh.peerId)
  assert.equal((await a.mesh.ask([lacking], { budgetMs: 10_000 })).length, 0)
  assert.equal(looked, 0)
  assert.equal((await a.mesh.ask([held], { budgetMs: 10_000 })).length, 1)
})
