import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { type Claim, workKey } from '../../src/mesh/claims.ts'
import { type ControlBody, type ControlMessage, controlProtocol } from '../../src/mesh/control.ts'
import { encodeFrame, FrameReader } from '../../src/mesh/frames.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { ControlFrameSchema } from '../../src/wire/generated/control_pb.ts'
import {
  HoldingsAnswerSchema,
  HoldingsDoneSchema,
  HoldingsQuerySchema,
  HoldingsWaitSchema,
} from '../../src/wire/generated/holdings_pb.ts'
import { connect, dial, makeHost, makeMesh, orderedDirectories, peerEvent, someBytes } from './fixture.ts'
import { createMembership } from './hiring.ts'

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
/** Long enough for any machine: nothing here may depend on it. */
const budgetMs = 60_000
const expectedMs = 60_000

interface Node {
  mesh: Mesh
  /** Action keys in hex. */
  held: Set<string>
}

async function nodes(t: TestContext, count: number): Promise<Node[]> {
  const membership = createMembership({ name: 'test' })
  const made = await Promise.all(
    Array.from({ length: count }, async () => {
      const held = new Set<string>()
      const lookup = async (keys: Uint8Array[]) =>
        keys.filter((key) => held.has(hexOf(key))).map((key) => ({ key, traces: [key] }))
      return { ...(await makeMesh(t, { ...membership }, {}, { lookup })), held }
    }),
  )
  await connect(...made)
  return made
}

/** What a build does with one unit: ask, wait while somebody else is at it, else compile. */
async function build(
  node: Node,
  key: Uint8Array,
  compile: () => Promise<void>,
  onWaiting: (claim: Claim) => void = () => undefined,
): Promise<'compiled' | 'recalled'> {
  const work = workKey(key, key)
  const claim = node.mesh.claim(work, expectedMs)
  try {
    for (;;) {
      const found = await node.mesh.ask([key], { budgetMs, works: [work] })
      if (found.length > 0) {
        node.held.add(hexOf(key))
        return 'recalled'
      }
      if (claim.pending.length === 0) break
      onWaiting(claim)
      await claim.wait()
    }
    await compile()
    node.held.add(hexOf(key))
    return 'compiled'
  } finally {
    claim.done(node.held.has(hexOf(key)))
  }
}

test('what a peer is compiling is waited for, and then it is there', async (t) => {
  const [a, b] = await nodes(t, 2)
  assert.ok(a && b)
  const key = someBytes(32)
  const begun = Promise.withResolvers<void>()
  const end = Promise.withResolvers<void>()
  const first = build(b, key, () => {
    begun.resolve()
    return end.promise
  })
  await begun.promise
  const second = build(
    a,
    key,
    () => assert.fail('compiled twice'),
    ({ pending }) => {
      assert.deepEqual(
        pending.map(({ peerId }) => peerId),
        [b.mesh.peerId],
      )
      assert.ok(pending.every((peer) => peer.expectedMs > 0 && peer.expectedMs <= expectedMs))
      end.resolve()
    },
  )
  assert.deepEqual(await Promise.all([first, second]), ['compiled', 'recalled'])
})

test('of nodes that start at the same moment one compiles', async (t) => {
  const all = await nodes(t, 3)
  for (let turn = 0; turn < 20; turn += 1) {
    const key = someBytes(32)
    const compile = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
    const ends = await Promise.all(all.map((node) => build(node, key, compile)))
    assert.deepEqual(ends.toSorted(), ['compiled', 'recalled', 'recalled'], `turn ${turn}`)
  }
})

test('when the one that compiles gives up, one of the others does it', async (t) => {
  const [a, b, c] = await nodes(t, 3)
  assert.ok(a && b && c)
  for (let turn = 0; turn < 10; turn += 1) {
    const key = someBytes(32)
    const begun = Promise.withResolvers<void>()
    const end = Promise.withResolvers<void>()
    const first = build(b, key, () => {
      begun.resolve()
      return end.promise
    })
    await begun.promise
    let waiting = 0
    const others: Promise<string>[] = [a, c].map((node) =>
      build(
        node,
        key,
        async () => undefined,
        () => {
          waiting += 1
          if (waiting === 2) end.reject(new Error('called off'))
        },
      ),
    )
    await assert.rejects(first, { message: 'called off' })
    assert.deepEqual((await Promise.all(others)).toSorted(), ['compiled', 'recalled'], `turn ${turn}`)
  }
})

test('a peer that goes away is waited for no longer', async (t) => {
  const [a, b] = await nodes(t, 2)
  assert.ok(a && b)
  const [key, work] = [someBytes(32), someBytes(32)]
  b.mesh.claim(work, expectedMs).commit()
  const claim = a.mesh.claim(work, expectedMs)
  await a.mesh.ask([key], { budgetMs, works: [work] })
  const waiting = claim.wait()
  const down = peerEvent(a.mesh, b.mesh.peerId, false)
  await b.mesh.stop()
  assert.equal(await waiting, 'gone')
  await down
  await a.mesh.ask([key], { budgetMs, works: [work] })
  assert.deepEqual(claim.pending, [])
  claim.done(true)
  await a.mesh.stop()
  claim.done(true)
  assert.throws(() => a.mesh.claim(work, 1), { code: 'ERR_PEER_LOST' })
})

test('a member that does not know works is neither waited for nor confused', async (t) => {
  const [lower, higher] = await orderedDirectories(t)
  const { mesh, membership } = await makeMesh(t, createMembership({ name: 'test' }), { stateDir: lower })
  await mesh.start()
  const old = await makeHost(t, membership, higher)
  const opened = Promise.withResolvers<Stream>()
  await old.handle(controlProtocol, (stream) => opened.resolve(stream))
  await dial(old, mesh)
  const stream = await opened.promise
  const heard: (ControlBody['case'] | undefined)[] = []
  const answered = Promise.withResolvers<ControlBody>()
  const heardAll = Promise.withResolvers<void>()
  const say = (body: ControlMessage): boolean =>
    stream.send(encodeFrame(toBinary(ControlFrameSchema, create(ControlFrameSchema, { body }))))
  const reader = new FrameReader({ smallBytes: 1 << 16, of: () => 1 << 16 }, (frame) => {
    const { body } = fromBinary(ControlFrameSchema, frame)
    if (body.case === 'holdingsQuery') say({ case: 'holdingsAnswer', value: { id: body.value.id } })
    if (body.case === 'holdingsAnswer') answered.resolve(body)
    if (body.case === 'pong' && body.value.nonce === 99n) heardAll.resolve()
    heard.push(body.case)
  })
  stream.addEventListener('message', (event: StreamMessageEvent) => reader.push(event.data))
  const up = peerEvent(mesh, old.peerId.toString(), true)
  say({ case: 'hello', value: { versionMin: 1, versionMax: 1, name: 'old' } })
  await up
  const [key, work] = [someBytes(32), someBytes(32)]
  const claim = mesh.claim(work, expectedMs)
  await mesh.ask([key], { budgetMs, works: [work] })
  assert.deepEqual(claim.pending, [])
  say({ case: 'holdingsQuery', value: { id: 7n, keys: [key] } })
  const answer = await answered.promise
  assert.ok(answer.case === 'holdingsAnswer')
  assert.deepEqual([answer.value.id, answer.value.holdings, answer.value.pending], [7n, [], []])
  claim.done(true)
  say({ case: 'ping', value: { nonce: 99n } })
  await heardAll.promise
  assert.deepEqual(
    heard.filter((kind) => kind !== 'ping' && kind !== 'pong'),
    ['hello', 'holdingsQuery', 'holdingsAnswer'],
  )
})

test('the messages are on the wire what protocols/holdings.proto says', () => {
  const [key, work] = [new Uint8Array(32).fill(0xaa), new Uint8Array(32).fill(0xbb)]
  const [aa, bb] = ['aa'.repeat(32), 'bb'.repeat(32)]
  const query = create(HoldingsQuerySchema, { id: 5n, keys: [key, key], works: [work, new Uint8Array()] })
  assert.equal(hexOf(toBinary(HoldingsQuerySchema, query)), `08051220${aa}1220${aa}1a20${bb}1a00`)
  const plain = create(HoldingsQuerySchema, { id: 5n, keys: [key] })
  assert.equal(hexOf(toBinary(HoldingsQuerySchema, plain)), `08051220${aa}`)
  const answer = create(HoldingsAnswerSchema, { id: 5n, pending: [{ work, expectedMs: 300 }] })
  assert.equal(hexOf(toBinary(HoldingsAnswerSchema, answer)), `08051a250a20${bb}10ac02`)
  assert.equal(hexOf(toBinary(HoldingsWaitSchema, create(HoldingsWaitSchema, { works: [work] }))), `0a20${bb}`)
  const done = create(HoldingsDoneSchema, { works: [work], held: true })
  assert.equal(hexOf(toBinary(HoldingsDoneSchema, done)), `0a20${bb}1001`)
  const frame = (body: ControlMessage): string =>
    hexOf(toBinary(ControlFrameSchema, create(ControlFrameSchema, { body })))
  assert.equal(frame({ case: 'holdingsWait', value: { works: [work] } }), `32220a20${bb}`)
  assert.equal(frame({ case: 'holdingsDone', value: { works: [work] } }), `3a220a20${bb}`)
})
