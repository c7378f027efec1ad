import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeResult, limits, type ReadSet } from '../../src/plan/action.ts'
import { rootsDigest } from '../../src/recall/evidence.ts'
import { cidOf, dagCborCodec, hexOf } from '../../src/wire/cid.ts'
import {
  bytesOf,
  type Fixture,
  held,
  keyHex,
  node,
  options,
  place,
  placeWith,
  policies,
  reads,
  traceOf,
  used,
  word,
  work,
} from './recall-node.ts'
import { content, metadata, planned, result } from './support.ts'

/** A node that has compiled the unit. */
async function remembering(set = reads): Promise<Fixture> {
  const fixture = node()
  await fixture.recall.remember(result, set, [word(result, set)])
  fixture.blocks.set(hexOf(cidOf(metadata)), metadata)
  return fixture
}

test('what was remembered is recalled where everything that was read is the same', async () => {
  const { recall } = await remembering()
  const recalled = await recall.own(planned, place, policies)
  assert.ok('result' in recalled)
  assert.deepEqual(recalled.holders, [])
  assert.deepEqual(encodeResult(recalled.result).bytes, encodeResult(result).bytes)
  assert.deepEqual(bytesOf(traceOf(recalled.result, recalled.reads)), bytesOf(traceOf(result)))
})

test('what was never compiled differs in nothing', async () => {
  assert.deepEqual(await node().recall.own(planned, place, policies), { difference: undefined })
})

test('what differs is told', async () => {
  const { recall } = await remembering()
  for (const [other, kind, name] of [
    [placeWith(content('another')), 'file', '\0workspace\0/schema.json'],
    [placeWith(undefined), 'file', '\0workspace\0/schema.json'],
    [placeWith(content('schema'), { env: new Map([['COLOUR', 'blue']]) }), 'variable', 'COLOUR'],
    [placeWith(content('schema'), { env: new Map() }), 'variable', 'COLOUR'],
    [placeWith(content('schema'), { roots: [] }), 'absent', '\0workspace\0/none'],
  ] as const) {
    const missed = await recall.own(planned, other, policies)
    assert.ok('difference' in missed)
    assert.deepEqual([missed.difference?.kind, missed.difference?.name], [kind, name])
  }
})

test('of several traces that do not hold the one that came nearest tells what differs', async () => {
  const schema = (text: string): ReadSet['reads'][number] => ['file', '\0workspace\0/schema.json', content(text)]
  const sets: { name: string; set: ReadSet }[] = [
    { name: 'COLOUR', set: { reads: [schema('schema')], env: [['COLOUR', 'blue']] } },
    // Another kind of the same name, and another name of the same kind, hold before the one that does not.
    {
      name: '\0workspace\0/schema.json',
      set: { reads: [['absent', '\0workspace\0/a', null], schema('other')], env: [['COLOUR', 'red']] },
    },
    {
      name: '\0workspace\0/z',
      set: {
        reads: [schema('schema'), ['absent', '\0workspace\0/y', null], ['file', '\0workspace\0/z', content('z')]],
        env: [['COLOUR', 'red']],
      },
    },
  ]
  for (const [at, { name }] of sets.entries()) {
    const some = sets.slice(0, at + 1)
    for (const order of [some, some.toReversed()]) {
      const { recall, traces } = node()
      traces.set(
        keyHex,
        order.map(({ set }) => bytesOf(traceOf(result, set))),
      )
      const missed = await recall.own(planned, place, policies)
      assert.ok('difference' in missed)
      assert.equal(missed.difference?.name, name)
    }
  }
})

test('of several traces the one that holds here counts, and of equally near ones the one used last tells', async () => {
  const fixture = await remembering()
  const other = { ...result, wallMs: 2 }
  await fixture.recall.remember(other, { ...reads, env: [['COLOUR', 'blue']] }, [])
  const recalled = async (colour: string) =>
    await fixture.recall.own(planned, placeWith(content('schema'), { env: new Map([['COLOUR', colour]]) }), policies)
  const [blue, red] = [await recalled('blue'), await recalled('red')]
  assert.ok(red && blue && 'result' in red && 'result' in blue)
  assert.deepEqual([red.result.wallMs, blue.result.wallMs], [1, 2])
  const missed = await fixture.recall.own(planned, placeWith(content('schema'), { env: new Map() }), policies)
  assert.ok('difference' in missed)
  assert.equal(missed.difference?.recorded, 'red')
})

test('a result that is incomplete here is not recalled, and not said to differ', async () => {
  const { recall, blocks } = node()
  await recall.remember(result, reads, [word(result)])
  assert.deepEqual(await recall.own(planned, place, policies), { difference: undefined })
  blocks.set(hexOf(cidOf(metadata)), metadata)
  assert.ok('result' in (await recall.own(planned, place, policies)))
  blocks.delete(hexOf(encodeResult(result).cid))
  assert.deepEqual(await recall.own(planned, place, policies), { difference: undefined })
})

test('a result that is damaged, of another action or with other outputs is a miss', async () => {
  const { recall, blocks, traces } = node()
  blocks.set(hexOf(cidOf(metadata)), metadata)
  for (const bad of [
    { ...result, action: cidOf(Buffer.from('other'), dagCborCodec) },
    { ...result, outputs: [] },
    { ...result, outputs: result.outputs.map((output) => ({ ...output, name: 'libevil.rmeta' })) },
  ]) {
    blocks.set(hexOf(encodeResult(bad).cid), encodeResult(bad).bytes)
    traces.set(keyHex, [bytesOf(traceOf(bad))])
    assert.deepEqual(await recall.own(planned, place, policies), { difference: undefined })
  }
  blocks.set(hexOf(encodeResult(result).cid), Buffer.from('damaged'))
  traces.set(keyHex, [bytesOf(traceOf(result))])
  assert.deepEqual(await recall.own(planned, place, policies), { difference: undefined })
})

test('a trace that cannot be read, or of another action, is removed', async () => {
  const { recall, traces } = await remembering()
  const good = traces.get(keyHex) ?? []
  const other = bytesOf({ ...traceOf(result), action: content('other') })
  traces.set(keyHex, [Buffer.from('not a trace'), other, ...good])
  assert.ok('result' in (await recall.own(planned, place, policies)))
  assert.deepEqual(traces.get(keyHex), good)
})

test('what was made from too much to be named is not kept', async () => {
  const { recall, blocks, traces } = node()
  const many = (count: number): ReadSet => ({
    reads: Array.from({ length: count }, (_, at) => ['file', `/${at}`.padEnd(100), content('x')]),
    env: [],
  })
  const fits = Math.floor(limits.trace / bytesOf(traceOf(result, many(100))).length) * 90
  await recall.remember(result, many(fits), [])
  assert.equal(traces.size, 1)
  traces.clear()
  blocks.clear()
  await assert.rejects(recall.remember(result, many(fits * 2), []), { code: 'ERR_LIMIT' })
  assert.deepEqual([traces.size, blocks.size], [0, 0])
})

test('what is bound to this place is recalled here, and nobody is told of it', async () => {
  const bound: ReadSet = { ...reads, reads: [['bound', '', rootsDigest(place)], ...reads.reads] }
  const { recall } = await remembering(bound)
  assert.ok('result' in (await recall.own(planned, place, policies)))
  const elsewhere = placeWith(content('schema'), { roots: [{ name: 'workspace', path: '/ws' }] })
  const missed = await recall.own(planned, elsewhere, policies)
  assert.ok('difference' in missed)
  assert.equal(missed.difference?.kind, 'bound')
  assert.deepEqual(await recall.holdings([Buffer.from(keyHex, 'hex')]), [])
})

test('members are told only of what is complete here', async () => {
  const { recall, blocks, traces } = node()
  await recall.remember(result, reads, [word(result)])
  const digest = Buffer.from(keyHex, 'hex')
  assert.deepEqual(await recall.holdings([digest]), [])
  blocks.set(hexOf(cidOf(metadata)), metadata)
  const other = bytesOf({ ...traceOf(result), action: content('other') })
  traces.set(keyHex, [other, Buffer.from('not a trace'), ...(traces.get(keyHex) ?? [])])
  assert.deepEqual(await recall.holdings([Buffer.alloc(32), digest]), [
    { key: digest, traces: [bytesOf(traceOf(result))], claims: [word(result).bytes] },
  ])
})

test('what a peer holds is recalled from whoever holds it', async () => {
  const trace = bytesOf(traceOf(result))
  const { recall, fetched } = node([
    { peer: 'ann', traces: [trace], claims: [word(result).bytes] },
    { peer: 'bob', traces: [Buffer.from('garbage'), trace], claims: [Buffer.from('garbage')] },
  ])
  const recalled = used(await recall.mesh(planned, place, options))
  assert.deepEqual(recalled.holders, ['ann', 'bob'])
  assert.deepEqual(bytesOf(traceOf(recalled.result, recalled.reads)), bytesOf(traceOf(result)))
  assert.equal(recalled.result.depInfo, result.depInfo)
  assert.deepEqual(fetched, [
    { cid: encodeResult(result).cid.toString(), from: ['ann', 'bob'], maxBytes: limits.result },
  ])
})

test('a trace of a peer that does not hold here, of another action, or bound to its place is not followed', async () => {
  for (const trace of [
    traceOf(result, { ...reads, env: [['COLOUR', 'blue']] }),
    traceOf(result, { ...reads, reads: [['file', '\0workspace\0/schema.json', content('another')]] }),
    { ...traceOf(result), action: content('other') },
    traceOf(result, { ...reads, reads: [['bound', '', rootsDigest(place)]] }),
  ]) {
    const { recall, fetched } = node([{ peer: 'ann', traces: [bytesOf(trace)], claims: [word(result, trace).bytes] }])
    assert.equal(await recall.mesh(planned, place, options), undefined)
    assert.deepEqual(fetched, [])
  }
})

test('a result that cannot be fetched or answers something else is passed over for the next', async () => {
  const other = { ...result, wallMs: 2 }
  const wrong = { ...result, depInfo: 'libx-1.rmeta: other.json\n' }
  const holdings = [held('gone', result), held('liar', wrong), held('good', other)]
  const { recall } = node(holdings, async (_cid, { from }) => {
    if (from[0] === 'gone') throw Object.assign(new Error('gone'), { code: 'ERR_PEER_LOST' })
    return encodeResult(from[0] === 'liar' ? wrong : other).bytes
  })
  const recalled = used(await recall.mesh(planned, place, options))
  assert.deepEqual([recalled.holders, recalled.result.wallMs], [['good'], 2])
})

test('an aborted recall ends at once', async () => {
  const stop = new AbortController()
  const { recall, fetched } = node([held('ann', result)], async () => {
    stop.abort(new Error('no longer wanted'))
    throw new Error('cut')
  })
  await assert.rejects(recall.mesh(planned, place, { ...options, signal: stop.signal }), /no longer wanted/)
  assert.equal(fetched.length, 1)
})

test('peers are waited for half as long as a compile would take, within bounds', async () => {
  const { recall, asked } = node()
  for (const expectedMs of [0, 100, 600, 10_000]) await recall.mesh(planned, place, { ...options, expectedMs })
  assert.deepEqual(
    asked.map(({ budgetMs }) => budgetMs),
    [125, 125, 300, 1000],
  )
  assert.deepEqual(new Set(asked.map(({ work }) => work)), new Set([work]), 'and told what is at work here')
})

test('a trace of a peer that says nothing of a source, or names what has no end, is not believed', async () => {
  const sets: ReadSet[] = [
    { reads: [], env: [] },
    { ...reads, reads: reads.reads.slice(0, 1) },
    { ...reads, reads: [...reads.reads, ['absent', '/proc/kcore', null]] },
    { ...reads, reads: [...reads.reads, ['absent', '/x/../dev/zero', null]] },
    { ...reads, reads: [['tree', '/', content('everything')]] },
    { ...reads, reads: [...reads.reads, ['bound', '', rootsDigest(place)]] },
  ]
  for (const set of sets) {
    const { recall } = node([held('p', result, set)])
    assert.equal(await recall.mesh(planned, place, options), undefined, JSON.stringify(set))
  }
  const { recall } = node([held('p', result)])
  assert.deepEqual(used(await recall.mesh(planned, place, options)).holders, ['p'])
})

test('a trace of a peer leads into the home of whoever builds only where this node was led before', async () => {
  const set: ReadSet = { ...reads, reads: [...reads.reads, ['absent', '/home/max/.config/x', null]] }
  const env = new Map([
    ['COLOUR', 'red'],
    ['HOME', '/home/max'],
  ])
  const seen: string[] = []
  const { view } = place
  const see: typeof view.see = (kind, path) => {
    seen.push(path)
    return view.see(kind, path)
  }
  const home = placeWith(content('schema'), { env, view: { ...view, see } })
  const { recall } = node([held('p', result, set)])
  assert.equal(await recall.mesh(planned, home, options), undefined)
  assert.deepEqual(seen, [], 'it is not even looked at')
  const other = { ...set, reads: [...set.reads, ['absent', '/etc/x', null]] } satisfies ReadSet
  await recall.remember(result, other, [word(result, other)])
  assert.deepEqual(used(await recall.mesh(planned, home, options)).holders, ['p'])
})
