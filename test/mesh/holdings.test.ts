import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Claims } from '../../src/mesh/claims.ts'
import type { ControlMessage } from '../../src/mesh/control.ts'
import { type Holding, Holdings, type HoldingsLookup, type HoldingsNeeds } from '../../src/mesh/holdings.ts'
import { connect, LogBook, ManualClock, makeMesh, peerEvent, someBytes, type TestMesh } from './fixture.ts'
import { createMembership } from './hiring.ts'

const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex')

/** Looks up in a fixed set of holdings. */
function holding(...holdings: Holding[]): HoldingsLookup {
  return async (keys) => holdings.filter((held) => keys.some((key) => hex(key) === hex(held.key)))
}

async function threeMembers(
  t: TestContext,
  b: HoldingsLookup,
  c: HoldingsLookup,
): Promise<[TestMesh, TestMesh, TestMesh]> {
  const membership = createMembership({ name: 'test' })
  const nodes: [TestMesh, TestMesh, TestMesh] = [
    await makeMesh(t, { ...membership }),
    await makeMesh(t, { ...membership }, {}, { lookup: b }),
    await makeMesh(t, { ...membership }, {}, { lookup: c }),
  ]
  await connect(...nodes)
  return nodes
}

test('ask() collects what connected members hold', async (t) => {
  const [one, two, three] = [someBytes(32), someBytes(32), someBytes(32)]
  const traces = [someBytes(300), someBytes(5)]
  const [a, b, c] = await threeMembers(
    t,
    holding({ key: one, traces }),
    holding({ key: one, traces: traces.slice(1) }, { key: two, traces }),
  )
  const answers = await a.mesh.ask([one, two, three], { budgetMs: 10_000 })
  const sorted = answers.toSorted((x, y) => `${x.peerId}${hex(x.key)}`.localeCompare(`${y.peerId}${hex(y.key)}`))
  const expected = [
    { peerId: b.mesh.peerId, key: one, traces, claims: [] },
    { peerId: c.mesh.peerId, key: one, traces: traces.slice(1), claims: [] },
    { peerId: c.mesh.peerId, key: two, traces, claims: [] },
  ].toSorted((x, y) => `${x.peerId}${hex(x.key)}`.localeCompare(`${y.peerId}${hex(y.key)}`))
  assert.deepEqual(sorted, expected)
})

test('ask() takes more keys than fit into one query', async (t) => {
  const keys = Array.from({ length: 200 }, () => someBytes(32))
  const [a] = await threeMembers(t, holding(...keys.map((key) => ({ key, traces: [key] }))), holding())
  const answers = await a.mesh.ask(keys, { budgetMs: 10_000 })
  assert.deepEqual(new Set(answers.map(({ key }) => hex(key))), new Set(keys.map(hex)))
})

test('ask() does not wait longer than its budget, nor for a member that goes away', async (t) => {
  const key = someBytes(32)
  const [a, b, c] = await threeMembers(t, holding({ key, traces: [key] }), () => new Promise(() => undefined))
  const late = await a.mesh.ask([key], { budgetMs: 200 })
  assert.deepEqual(late, [{ peerId: b.mesh.peerId, key, traces: [key], claims: [] }])
  const asking = a.mesh.ask([key], { budgetMs: 3_600_000 })
  const down = peerEvent(a.mesh, c.mesh.peerId, false)
  await c.mesh.stop()
  await down
  assert.equal((await asking).length, 1)
  assert.deepEqual(await a.mesh.ask([]), [])
  await assert.rejects(a.mesh.ask([key], { signal: AbortSignal.abort(new Error('enough')) }), { message: 'enough' })
})

test('an answer that would be too large keeps the first trace of every key', async (t) => {
  const keys = Array.from({ length: 64 }, () => someBytes(32))
  const traces = Array.from({ length: 8 }, () => someBytes(10_000))
  const [a] = await threeMembers(t, holding(...keys.map((key) => ({ key, traces }))), holding())
  const answers = await a.mesh.ask(keys, { budgetMs: 10_000 })
  assert.equal(answers.length, 64)
  for (const answer of answers) assert.deepEqual(answer.traces[0], traces[0])
  const bytes = answers.flatMap((answer) => answer.traces).reduce((sum, trace) => sum + trace.length, 0)
  assert.ok(bytes > 1_000_000 && bytes <= 1024 * 1024, `${bytes} bytes`)
})

function alone(lookup: HoldingsLookup, summaries?: HoldingsNeeds['summaries']) {
  const sent: ControlMessage[] = []
  const log = new LogBook()
  const send = (_peer: string, body: ControlMessage): boolean => {
    sent.push(body)
    return true
  }
  const clock = new ManualClock()
  const claims = new Claims({ clock, self: 'm', sendWait: () => true, sendDone: () => undefined })
  const holdings = new Holdings({
    clock,
    log,
    lookup,
    claims,
    peers: () => ['p', 'q'],
    send,
    ...(summaries && { summaries }),
  })
  return { holdings, claims, sent, log, clock }
}

const message = <T extends object>(body: T) => body as T & { $typeName: never }

test('answers of others than the asked, for other keys or a second time are dropped', async () => {
  const { holdings, sent } = alone(async () => [])
  const [key, other] = [someBytes(32), someBytes(32)]
  const asking = holdings.ask([key], { budgetMs: 60_000 })
  assert.deepEqual(
    sent.map((body) => body.case),
    ['holdingsQuery', 'holdingsQuery'],
  )
  const answer = (peer: string, id: bigint, held: Holding[]): void => {
    holdings.onAnswer(
      peer,
      message({ id, holdings: held.map((one) => message({ claims: [], ...one })), pending: [] }) as never,
    )
  }
  answer('stranger', 1n, [{ key, traces: [] }])
  answer('p', 9n, [{ key, traces: [] }])
  answer('p', 1n, [
    { key: other, traces: [] },
    { key, traces: Array.from({ length: 9 }, () => key) },
    { key, traces: [key] },
  ])
  answer('p', 1n, [{ key, traces: [other] }])
  answer('q', 1n, [])
  assert.deepEqual(await asking, [{ peerId: 'p', key, traces: [key], claims: [] }])
  assert.equal(holdings.dropped, 5)
})

test('malformed queries are not looked up, and a failing look-up is not an answer', async () => {
  let lookups = 0
  const { holdings, sent, log } = alone(() => {
    lookups += 1
    return Promise.reject(new Error('broken'))
  })
  const query = (keys: Uint8Array[], works: Uint8Array[] = []): void =>
    holdings.onQuery('p', message({ id: 1n, keys, works }) as never)
  query([someBytes(31)])
  query(Array.from({ length: 65 }, () => someBytes(32)))
  query([someBytes(32)], [someBytes(32), someBytes(32)])
  query([someBytes(32)], [someBytes(31)])
  assert.equal(lookups, 0)
  assert.equal(holdings.dropped, 4)
  query([someBytes(32)], [new Uint8Array()])
  assert.equal(lookups, 1)
  await log.code('ERR_INTERNAL')
  assert.deepEqual(sent, [])
})

test('four queries of a peer are looked up at a time, sixty more wait, the rest is dropped', async () => {
  const gate = Promise.withResolvers<void>()
  let lookups = 0
  const { holdings, sent } = alone(async () => {
    lookups += 1
    await gate.promise
    return []
  })
  for (let id = 1n; id <= 70n; id += 1n)
    holdings.onQuery('p', message({ id, keys: [someBytes(32)], works: [] }) as never)
  assert.equal(lookups, 4)
  assert.equal(holdings.dropped, 6)
  holdings.onQuery('q', message({ id: 1n, keys: [someBytes(32)], works: [] }) as never)
  assert.equal(lookups, 5)
  gate.resolve()
  while (sent.length < 65) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(lookups, 65)
})

test('works that are not claimed, or not asked about, play no part', async () => {
  const { holdings, claims, sent } = alone(async () => [])
  const [key, other, mine, unclaimed] = [someBytes(32), someBytes(32), someBytes(32), someBytes(32)]
  const claim = claims.claim(mine, 1000)
  const plain = holdings.ask([key], { budgetMs: 60_000, works: [unclaimed] })
  const asking = holdings.ask([key, other], { budgetMs: 60_000, works: [undefined, mine] })
  const queries = sent.map((body) => (body.case === 'holdingsQuery' ? body.value.works : undefined))
  const none = new Uint8Array()
  assert.deepEqual(queries, [[], [], [none, mine], [none, mine]])
  for (const peer of ['p', 'q']) {
    const pending = [unclaimed, mine].map((work) => ({ work, expectedMs: 700 }))
    holdings.onAnswer(peer, message({ id: 2n, holdings: [], pending }) as never)
    holdings.onAnswer(peer, message({ id: 1n, holdings: [], pending: [] }) as never)
  }
  await Promise.all([plain, asking])
  assert.equal(holdings.dropped, 2)
  const expected = ['p', 'q'].map((peerId) => ({ peerId, expectedMs: 700 }))
  assert.deepEqual(claim.pending, expected)
  claims.claim(unclaimed, 1)
  holdings.onWait('p', message({ works: [someBytes(31)] }) as never)
  holdings.onDone('p', message({ works: Array.from({ length: 65 }, () => mine), held: true }) as never)
  assert.equal(holdings.dropped, 4)
})

test('with a claimed work the answers of all are waited for, once something is found for 20 ms', async () => {
  const { holdings, claims, clock } = alone(async () => [])
  const [key, mine] = [someBytes(32), someBytes(32)]
  const claim = claims.claim(mine, 1000)
  const asking = holdings.ask([key], { budgetMs: 60_000, enough: 1, works: [mine] })
  holdings.onAnswer(
    'p',
    message({ id: 1n, holdings: [message({ key, traces: [key], claims: [] })], pending: [] }) as never,
  )
  await new Promise((resolve) => setImmediate(resolve))
  holdings.onAnswer('q', message({ id: 1n, holdings: [], pending: [{ work: mine, expectedMs: 5 }] }) as never)
  assert.equal((await asking).length, 1)
  assert.deepEqual(claim.pending, [{ peerId: 'q', expectedMs: 5 }])

  const found = message({ key, traces: [key], claims: [] })
  const again = holdings.ask([key], { budgetMs: 60_000, enough: 1, works: [mine] })
  holdings.onAnswer('p', message({ id: 2n, holdings: [found], pending: [] }) as never)
  clock.advance(20)
  assert.equal((await again).length, 1)
  // It is not waited for again before it has answered.
  const third = holdings.ask([key], { budgetMs: 60_000, enough: 1, works: [mine] })
  holdings.onAnswer('p', message({ id: 3n, holdings: [found], pending: [] }) as never)
  assert.equal((await third).length, 1)
})

test('a member is waited for if its last answer would have come in time', async () => {
  const { holdings, clock } = alone(async () => [])
  const answers = (peer: string, id: bigint): void =>
    holdings.onAnswer(peer, message({ id, holdings: [], pending: [] }) as never)
  let id = 0n
  /** @returns whether `q` was waited for, which answers in the end, after so long */
  const asks = async (budgetMs: number, afterMs: number): Promise<boolean> => {
    id += 1n
    let isOver = false
    const asking = holdings.ask([someBytes(32)], { budgetMs }).then(() => {
      isOver = true
    })
    answers('p', id)
    await new Promise((resolve) => setImmediate(resolve))
    const isWaitedFor = !isOver
    clock.advance(afterMs)
    answers('q', id)
    await asking
    return isWaitedFor
  }
  assert.equal(await asks(50, 200), true)
  assert.equal(await asks(50, 200), false, 'it takes too long for what this is worth')
  assert.equal(await asks(300, 200), true, 'this is worth more')
  assert.equal(await asks(50, 20), false)
  assert.equal(await asks(50, 20), true, 'it has become faster')
})

test('a slow member that is only guessed to be at the same is not waited for', async () => {
  const known = { mayHold: false, mayWork: false }
  const summaries = { mayHold: () => known.mayHold, mayWork: () => known.mayWork, isFresh: true }
  const { holdings, claims, clock, sent } = alone(async () => [], summaries)
  let id = 0n
  /** @returns whether anybody was waited for; all answer in the end, after so long */
  const asks = async (afterMs: number): Promise<boolean> => {
    id += 1n
    let isOver = false
    const work = someBytes(32)
    claims.claim(work, 1000)
    const asking = holdings.ask([someBytes(32)], { budgetMs: 300, works: [work] }).then(() => {
      isOver = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    const isWaitedFor = !isOver
    clock.advance(afterMs)
    for (const peer of ['p', 'q']) {
      holdings.onAnswer(peer, message({ id, holdings: [], pending: [] }) as never)
    }
    await asking
    return isWaitedFor
  }
  assert.equal(await asks(60), true, 'nothing is known of how fast they are')
  assert.equal(await asks(60), false)
  assert.equal(sent.length, 4, 'they were asked all the same')
  known.mayWork = true
  assert.equal(await asks(60), true, 'they are at something')
  Object.assign(known, { mayWork: false, mayHold: true })
  assert.equal(await asks(60), true, 'they may have it')
  known.mayHold = false
  assert.equal(await asks(10), false)
  assert.equal(await asks(10), true, 'they have become faster')
})
