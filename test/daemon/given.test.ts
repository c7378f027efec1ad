import assert from 'node:assert/strict'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import type { UnitEnd, UnitOutcome } from '../../src/daemon/compile-needs.ts'
import { Given } from '../../src/daemon/given.ts'
import { purgeBy } from '../../src/daemon/purge-by.ts'
import { encodeResult, encodeTrace } from '../../src/plan/action.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { createTraceStore } from '../../src/store/traces.ts'
import { cidOf, dagCborCodec, hexOf } from '../../src/wire/cid.ts'
import { afterwards, Blocks, someBytes, temporaryDirectory } from '../mesh/fixture.ts'

const end = (outcome: UnitOutcome, where: string): UnitEnd => ({
  crate: 'a',
  kind: 'lib',
  outcome,
  where,
  reason: '',
  bytesIn: 0,
})

async function setUp(t: TestContext) {
  const dir = await temporaryDirectory(t)
  const { datastore, close } = await openIndexDb({ dir: join(dir, 'index'), log: silentLogger })
  afterwards(t, close)
  const blocks = new Blocks()
  const traces = createTraceStore({ datastore, log: silentLogger })
  const gone: string[] = []
  const open = (): Promise<Given> =>
    Given.open({ datastore, blocks, traces, log: silentLogger, onGone: (key) => gone.push(key) })
  /** A result that has been kept and put into directories of cargo's. */
  const make = async (name: string, ...dirs: string[]) => {
    const key = cidOf(someBytes(32), dagCborCodec)
    const output = someBytes(1000)
    const outputs = [{ name, kind: 'link' as const, cid: cidOf(output), size: 1000, executable: false }]
    const result = encodeResult({ v: 2, action: key, outputs, stderr: new Uint8Array(), depInfo: '', wallMs: 1 })
    blocks.put(result.bytes, result.cid)
    await traces.add(hexOf(key), encodeTrace({ v: 2, action: key, reads: [], env: [], result: result.cid }).bytes)
    const places = dirs.map((place) => join(dir, place))
    for (const place of places) {
      await mkdir(place, { recursive: true })
      await writeFile(join(place, name), output)
    }
    return places.map((path) => ({ key, roots: [{ name: 'out' as const, path }] }))
  }
  return { dir, traces, gone, open, make }
}

test('what a member gave is dropped wherever it was put, and nothing else, also after a restart', async (t) => {
  const { dir, traces, gone, open, make } = await setUp(t)
  const given = await open()
  const [first, second] = await make('libone.rlib', 'a', 'b')
  const [other] = await make('libtwo.rlib', 'a')
  const [own] = await make('libthree.rlib', 'a')
  const [lent] = await make('libfour.rlib', 'a')
  assert.ok(first && second && other && own && lent)
  await given.delivered(first, end('recalled-mesh', 'p'))
  await given.delivered(second, end('recalled-here', 'here'))
  await given.delivered(other, end('recalled-mesh', 'q'))
  await given.delivered(own, end('compiled-here', 'here'))
  await given.delivered(own, end('recalled-here', 'here'))
  await given.delivered(lent, end('compiled-mesh', 'p'))
  // It was compiled anew meanwhile.
  await writeFile(join(dir, 'a/libfour.rlib'), 'another')

  const again = await open()
  assert.deepEqual(await again.purge('nobody'), { results: 0, files: 0 })
  assert.deepEqual(await again.purge('p'), { results: 2, files: 2 })
  assert.deepEqual((await readdir(join(dir, 'a'))).sort(), ['libfour.rlib', 'libthree.rlib', 'libtwo.rlib'])
  assert.deepEqual(await readdir(join(dir, 'b')), [])
  for (const [{ key }, left] of [
    [first, 0],
    [lent, 0],
    [other, 1],
    [own, 1],
  ] as const) {
    assert.equal((await traces.traces(hexOf(key))).length, left)
  }
  assert.deepEqual(new Set(gone), new Set([hexOf(first.key), hexOf(lent.key)]))
  assert.deepEqual(await (await open()).purge('p'), { results: 0, files: 0 })
})

test('a member is named by its name, or by its peerId when that is not enough', async () => {
  const peerId = '12D3KooWBhMbLvQGgJ6Mzbhs7sTEfjdpgZ2KfZ8nRfYUQ4VKSVCE'
  const peers = [
    { name: 'ada', peerId },
    { name: 'ben', peerId: 'one' },
    { name: 'ben', peerId: 'two' },
  ].map((peer) => ({ ...peer, connected: true, suspect: false, unknownFrames: 0, addresses: [] }))
  const released: string[] = []
  const needs = {
    mesh: { peers: () => peers },
    given: { purge: async (peer: string) => ({ results: peer === peerId ? 3 : 0, files: 2 }) },
    placed: {
      makers: () => new Map([[peerId, ['k', 'l']]]),
      release: async (peer: string, key: string) => void released.push(`${peer}/${key}`),
    },
  }
  assert.deepEqual(await purgeBy('ada', needs), { schema: 1, peerId, results: 3, files: 2, placed: 2 })
  assert.deepEqual(released, [`${peerId}/k`, `${peerId}/l`])
  assert.equal((await purgeBy(peerId, needs)).results, 3)
  assert.equal((await purgeBy('two', needs)).peerId, 'two')
  // One that is not known any more.
  const forgotten = '12D3KooWSHj3RRbBjD15g6wekV8y3mm57Pobmps2g2WJm6F67Lay'
  assert.equal((await purgeBy(forgotten, needs)).peerId, forgotten)
  for (const name of ['ben', 'cleo']) {
    await assert.rejects(purgeBy(name, needs), { code: 'ERR_USAGE' })
  }
})
