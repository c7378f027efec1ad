import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { CID } from 'multiformats/cid'
import { silentLogger } from '../../src/base/log.ts'
import { Inventory } from '../../src/daemon/inventory.ts'
import { Placed } from '../../src/daemon/placed.ts'
import { Placement } from '../../src/daemon/placement.ts'
import type { ControlMessage } from '../../src/mesh/control.ts'
import { byDistance } from '../../src/mesh/nearest.ts'
import { encodeResult, encodeTrace, type ReadSet } from '../../src/plan/action.ts'
import { type BlockStore, createBlockStore } from '../../src/store/blocks.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { createTraceStore } from '../../src/store/traces.ts'
import { cidFromDigest, cidOf, dagCborCodec, digestOf, hexOf } from '../../src/wire/cid.ts'
import { type Keep, KeepSchema, type Kept, type Room } from '../../src/wire/generated/placement_pb.ts'
import { ManualClock, someBytes } from '../mesh/fixture.ts'

/** Stands for a claim: nobody looks into it here. */
const word = new Uint8Array([1])
const nothingRead: ReadSet = { reads: [], env: [] }

interface Made {
  key: CID
  trace: Uint8Array
  result: Uint8Array
  resultCid: CID
  output: Uint8Array
}

function made(bytes: number, wallMs = 60_000, reads: ReadSet = nothingRead): Made {
  const key = cidOf(someBytes(32), dagCborCodec)
  const output = someBytes(bytes)
  const outputs = [{ name: 'liba.rlib', kind: 'link' as const, cid: cidOf(output), size: bytes, executable: false }]
  const result = encodeResult({ v: 2, action: key, outputs, stderr: new Uint8Array(), depInfo: '', wallMs })
  const trace = encodeTrace({ v: 2, action: key, ...reads, result: result.cid }).bytes
  return { key, trace, result: result.bytes, resultCid: result.cid, output }
}

function keepOf({ key, trace, result, resultCid, output }: Made): Keep {
  const blocks = [
    { cid: resultCid.bytes, size: BigInt(result.length) },
    { cid: cidOf(output).bytes, size: BigInt(output.length) },
  ]
  return create(KeepSchema, { key: digestOf(key), trace, blocks })
}

/** A node as far as placing goes; frames to others arrive at once. */
class Member {
  readonly peerId: string
  readonly dir: string
  readonly blocks: BlockStore
  readonly placed: Placed
  readonly placement: Placement
  readonly inventory: Inventory
  readonly traces: ReturnType<typeof createTraceStore>

  private constructor(
    parts: Pick<Member, 'peerId' | 'dir' | 'blocks' | 'placed' | 'placement' | 'inventory' | 'traces'>,
  ) {
    this.peerId = parts.peerId
    this.dir = parts.dir
    this.blocks = parts.blocks
    this.placed = parts.placed
    this.placement = parts.placement
    this.inventory = parts.inventory
    this.traces = parts.traces
  }

  static async open(t: TestContext, group: Group, maxBytes: number): Promise<Member> {
    const dir = await mkdtemp(join(tmpdir(), 'shoal-placing-'))
    const peerId = peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()
    const log = silentLogger
    const blocks: BlockStore = createBlockStore({
      dir: join(dir, 'blocks'),
      log,
      maxBytes: 64 << 20,
      minFreeBytes: 0,
      onEvicted: (hexes) => void Promise.all([inventory.evicted(hexes), placed.evicted(hexes)]),
    })
    await blocks.start()
    const { datastore, close } = await openIndexDb({ dir: join(dir, 'index'), log })
    const traces = createTraceStore({ datastore, log })
    const inventory = new Inventory({
      traces,
      blocks,
      log,
      claimsAbout: async () => [word],
      isPrivate: () => false,
    })
    const placed = await Placed.open(
      {
        datastore,
        blocks,
        log,
        fetch: (cid, size, from) => group.fetch(blocks, cid, size, from),
        onLost: (key, peer) => group.deliver(peerId, peer, kept(key, false)),
      },
      { maxBytes },
    )
    const placement = await Placement.open({
      clock: group.clock,
      log,
      datastore,
      isQuiet: () => group.isQuiet,
      othersBuild: () => group.othersBuild,
      held: async (key) => {
        const held = await inventory.held(key)
        return held && { ...held, claims: [word] }
      },
      send: (peer, body) => group.deliver(peerId, peer, body),
    })
    inventory.listen({
      onHeld: (key, item) => placement.add(key, item),
      onGone: (key) => placement.gone(key),
    })
    t.after(async () => {
      placement.stop()
      placed.stop()
      inventory.stop()
      await blocks.stop()
      await close()
      await rm(dir, { recursive: true, force: true })
    })
    return new Member({ peerId, dir, blocks, placed, placement, inventory, traces })
  }

  async make(result: Made): Promise<void> {
    await this.blocks.put(result.output)
    await this.blocks.put(result.result, dagCborCodec)
    await this.traces.add(hexOf(result.key), result.trace)
    await this.inventory.learn(hexOf(result.key))
  }
}

const kept = (key: string, held: boolean): ControlMessage & { case: 'kept' } => ({
  case: 'kept',
  value: { key: Buffer.from(key, 'hex'), held },
})

class Group {
  readonly clock = new ManualClock()
  readonly members = new Map<string, Member>()
  readonly off = new Set<string>()
  isQuiet = true
  othersBuild = false
  fetched = 0
  #underWay = 0

  static async of(t: TestContext, budgets: number[]): Promise<[Group, ...Member[]]> {
    const group = new Group()
    for (const budget of budgets) {
      const member = await Member.open(t, group, budget)
      group.members.set(member.peerId, member)
    }
    for (const member of group.members.values()) for (const other of group.members.keys()) group.#meet(member, other)
    return [group, ...group.members.values()]
  }

  /** Both hear of each other, and `other` says what it would keep. */
  #meet(member: Member, other: string, mains = true): void {
    if (member.peerId === other) return
    member.placement.onPeer(other, true)
    this.room(other, member, mains)
  }

  room(from: string, to: Member, mains: boolean): void {
    const bytes = this.members.get(from)?.placed.roomFor(to.peerId) ?? 0
    to.placement.onRoom(from, { bytes: BigInt(bytes), mains } as Room)
  }

  switchOff(member: Member): void {
    this.off.add(member.peerId)
    for (const other of this.members.values()) if (other !== member) other.placement.onPeer(member.peerId, false)
  }

  deliver(from: string, to: string, body: ControlMessage): boolean {
    const member = this.members.get(to)
    if (member === undefined || this.off.has(to) || this.off.has(from)) return false
    if (body.case === 'keep') {
      const message = create(KeepSchema, body.value)
      this.#underWay += 1
      void member.placed.keep(from, message).then((held) => {
        this.#underWay -= 1
        this.deliver(to, from, kept(Buffer.from(message.key).toString('hex'), held))
      })
    }
    if (body.case === 'kept') member.placement.onKept(from, body.value as Kept)
    if (body.case === 'release') {
      for (const key of body.value.keys ?? []) void member.placed.release(from, Buffer.from(key).toString('hex'))
    }
    return true
  }

  async fetch(into: BlockStore, cid: CID, size: number, from: readonly string[]): Promise<number> {
    if (await into.has(cid)) return 0
    const [peer = ''] = from
    const bytes = this.off.has(peer) ? undefined : await this.members.get(peer)?.blocks.get(cid)
    if (bytes?.length !== size) throw new Error('not to be had')
    await into.put(bytes, cid.code)
    this.fetched += bytes.length
    return bytes.length
  }

  /** Lets time pass, and what is under way end, until something holds. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (let tries = 0; tries < 100_000; tries++) {
      if (holds()) return
      // Disks take real time: meanwhile nobody is to run out of patience.
      if (this.#underWay === 0) this.clock.advance(100)
      await new Promise((resolve) => setImmediate(resolve))
    }
    throw new Error(`never: ${what}`)
  }
}

const keepers = (group: Group, key: CID): string[] =>
  [...group.members.values()].filter(({ placed }) => placed.has(hexOf(key))).map(({ peerId }) => peerId)

test('a result goes to the two members nearest to its key, and is a claim of its maker there', async (t) => {
  const [group, ada, ...others] = await Group.of(t, [1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20])
  assert.ok(ada)
  const results = Array.from({ length: 12 }, () => made(2000))
  for (const result of results) await ada.make(result)
  await group.until('all are placed', () => results.every(({ key }) => keepers(group, key).length === 2))
  for (const { key, trace } of results) {
    const nearest = byDistance(
      cidFromDigest(digestOf(key)),
      others.map(({ peerId }) => peerId),
    ).slice(0, 2)
    assert.deepEqual(new Set(keepers(group, key)), new Set(nearest))
    for (const peer of nearest) {
      const member = group.members.get(peer)
      assert.deepEqual(await member?.placed.claims(hexOf(key)), [{ peer: ada.peerId, traces: [trace], claims: [word] }])
      // Not one of its own: those are believed without a second look.
      assert.deepEqual(await member?.traces.traces(hexOf(key)), [])
    }
  }
})

test('nothing is placed while a build is at work, nor what is made faster than it is fetched', async (t) => {
  const [group, ada] = await Group.of(t, [1 << 20, 1 << 20, 1 << 20])
  assert.ok(ada)
  group.isQuiet = false
  const [dear, cheap] = [made(2000), made(200_000, 1)]
  await ada.make(dear)
  await ada.make(cheap)
  for (let second = 0; second < 60; second++) group.clock.advance(1000)
  assert.equal(group.fetched, 0)
  group.isQuiet = true
  await group.until('it is placed', () => keepers(group, dear.key).length === 2)
  await group.until('nothing waits', () => ada.placement.stats.waiting === 0)
  assert.deepEqual(keepers(group, cheap.key), [])
})

test('nothing is placed while others build, for ten minutes at most', async (t) => {
  const [group, ada] = await Group.of(t, [1 << 20, 1 << 20, 1 << 20])
  assert.ok(ada)
  group.othersBuild = true
  const [first, second] = [made(2000), made(2000)]
  await ada.make(first)
  for (let passed = 0; passed < 60; passed++) group.clock.advance(1000)
  assert.equal(group.fetched, 0)
  group.othersBuild = false
  await group.until('the first is placed', () => keepers(group, first.key).length === 2)
  group.othersBuild = true
  const before = group.fetched
  await ada.make(second)
  for (let passed = 0; passed < 599; passed++) group.clock.advance(1000)
  assert.equal(group.fetched, before)
  await group.until('the second is placed', () => keepers(group, second.key).length === 2)
})

test('no member keeps more than its budget, and none on battery anything', async (t) => {
  const [group, ada, small, none, battery, large] = await Group.of(t, [0, 20_000, 0, 1 << 20, 1 << 20])
  assert.ok(ada && small && none && battery && large)
  group.room(battery.peerId, ada, false)
  const results = Array.from({ length: 20 }, () => made(3000))
  for (const result of results) await ada.make(result)
  await group.until('all are placed', () => large.placed.stats.results === 20 && ada.placement.stats.waiting === 0)
  assert.ok(small.placed.stats.results >= 2 && small.placed.stats.bytes <= 20_000, JSON.stringify(small.placed.stats))
  assert.equal(none.placed.stats.results, 0)
  assert.equal(battery.placed.stats.results, 0)
})

test('one member cannot fill the room that others need', async (t) => {
  const [group, ada, ben, cleo] = await Group.of(t, [0, 0, 40_000])
  assert.ok(ada && ben && cleo)
  for (let count = 0; count < 20; count++) await ada.make(made(3000))
  await group.until('all were tried', () => ada.placement.stats.waiting === 0 && cleo.placed.stats.results > 0)
  assert.ok(cleo.placed.stats.bytes <= 20_000, JSON.stringify(cleo.placed.stats))
  assert.ok(cleo.placed.roomFor(ada.peerId) < 4000)
  const theirs = made(3000)
  await ben.make(theirs)
  await group.until('it is placed', () => cleo.placed.has(hexOf(theirs.key)))
  // What has gone makes room for its own maker again.
  for (const [peer, keys] of cleo.placed.makers()) for (const key of keys) await cleo.placed.release(peer, key)
  assert.equal(cleo.placed.roomFor(ada.peerId), 20_000)
})

test('what a member that is gone for good kept goes to the next one, and what another lost as well', async (t) => {
  const [group, ada, ben, cleo, dan] = await Group.of(t, [1 << 20, 1 << 20, 1 << 20, 1 << 20])
  assert.ok(ada && ben && cleo && dan)
  const result = made(2000)
  await ada.make(result)
  await group.until('it is placed', () => keepers(group, result.key).length === 2)
  const [first = '', second = ''] = keepers(group, result.key)
  const gone = group.members.get(first)
  assert.ok(gone)
  group.switchOff(gone)
  group.clock.advance(3_500_000)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(keepers(group, result.key).length, 2)
  await group.until('the third has it', () => keepers(group, result.key).length === 3)
  const losing = group.members.get(second)
  await losing?.blocks.shrink(0)
  await group.until('it has it again', () => losing?.placed.has(hexOf(result.key)) === false)
  await group.until('it has it again', () => losing?.placed.has(hexOf(result.key)) === true)
})

test('a member that came for good gets what it is nearest to, and the farthest lets go', async (t) => {
  const [group, ada, ben, cleo, dan] = await Group.of(t, [0, 1 << 20, 1 << 20, 1 << 20])
  assert.ok(ada && ben && cleo && dan)
  ada.placement.onPeer(dan.peerId, false)
  const results = Array.from({ length: 12 }, () => made(500))
  for (const result of results) await ada.make(result)
  await group.until('all are placed', () => results.every(({ key }) => keepers(group, key).length === 2))
  ada.placement.onPeer(dan.peerId, true)
  group.room(dan.peerId, ada, true)
  const peers = [ben, cleo, dan].map(({ peerId }) => peerId)
  const isInPlace = ({ key }: Made): boolean => {
    const nearest = byDistance(cidFromDigest(digestOf(key)), peers).slice(0, 2)
    const now = keepers(group, key)
    return now.length === 2 && nearest.every((peer) => now.includes(peer))
  }
  assert.ok(!results.every(isInPlace))
  group.clock.advance(600_000)
  await group.until('all is where it belongs', () => results.every(isInPlace))
})

test('what has been evicted is not said to be here, and not placed', async (t) => {
  const [group, ada, ben] = await Group.of(t, [0, 1 << 20])
  assert.ok(ada && ben)
  group.isQuiet = false
  const [result, other] = [made(2000), made(2000)]
  const gone: string[] = []
  ada.inventory.listen({ onGone: (key) => gone.push(key) })
  await ada.make(result)
  await ada.make(other)
  assert.ok(ada.inventory.has(hexOf(result.key)) && ada.inventory.has(hexOf(other.key)))
  await ada.blocks.shrink(0)
  await group.until('nothing is there', () => ada.inventory.size === 0)
  assert.deepEqual(new Set(gone), new Set([hexOf(result.key), hexOf(other.key)]))
  assert.equal(ada.placement.stats.waiting, 0)
  // Back again, as by another compile.
  await ada.make(result)
  assert.equal(ada.inventory.size, 1)
})

test('what is no result, or another one than was said, is not kept', async (t) => {
  const [group, ada, ben] = await Group.of(t, [1 << 20, 1 << 20])
  assert.ok(group && ada && ben)
  const [good, other] = [made(1000), made(1000)]
  await ada.make(good)
  await ada.make(other)
  const keep = (change: Partial<Keep>): Promise<boolean> =>
    ben.placed.keep(ada.peerId, { ...keepOf(good), ...change } as Keep)
  assert.equal(await keep({ key: digestOf(other.key) }), false)
  assert.equal(await keep({ trace: someBytes(100) }), false)
  assert.equal(await keep({ blocks: keepOf(other).blocks }), false)
  assert.equal(await keep({ blocks: keepOf(good).blocks.slice(0, 1) }), false)
  assert.equal(await keep({ blocks: [...keepOf(good).blocks, ...keepOf(other).blocks] }), false)
  const [result, output] = keepOf(good).blocks
  assert.ok(result && output)
  assert.equal(await keep({ blocks: [result, { ...output, size: 999n }] }), false)
  assert.equal(await keep({ blocks: [result, { ...output, size: 2n ** 60n }] }), false)
  // Bound to a place: it can hold nowhere else.
  const bound = made(1000, 60_000, { reads: [['bound', '', cidOf(someBytes(8))]], env: [] })
  assert.equal(await ben.placed.keep(ada.peerId, keepOf(bound)), false)
  // A file without an end must not be looked at because a member says so.
  const device = made(1000, 60_000, { reads: [['file', '/dev/zero', cidOf(someBytes(8))]], env: [] })
  assert.equal(await ben.placed.keep(ada.peerId, keepOf(device)), false)
  assert.deepEqual(ben.placed.stats, { results: 0, bytes: 0, maxBytes: 1 << 20 })
  assert.equal(ben.placed.room, 1 << 20)
  assert.equal(await keep({}), true)
  assert.equal(await keep({}), true)
  assert.equal(ben.placed.stats.results, 1)
  await ben.placed.release(good.key.toString(), hexOf(good.key))
  assert.equal(ben.placed.stats.results, 1)
  await ben.placed.release(ada.peerId, hexOf(good.key))
  assert.deepEqual(ben.placed.stats, { results: 0, bytes: 0, maxBytes: 1 << 20 })
})
