import assert from 'node:assert/strict'
import { copyFile, link, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { Given } from '../../src/daemon/given.ts'
import { purgeBy } from '../../src/daemon/purge-by.ts'
import { undoRun } from '../../src/daemon/undo-run.ts'
import { encodeResult, encodeTrace, type Result } from '../../src/plan/action.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { createTraceStore } from '../../src/store/traces.ts'
import { cidOf, dagCborCodec, hexOf } from '../../src/wire/cid.ts'
import { afterwards, someBytes, temporaryDirectory } from '../mesh/fixture.ts'

async function setUp(t: TestContext) {
  const dir = await temporaryDirectory(t)
  const { datastore, close } = await openIndexDb({ dir: join(dir, 'index'), log: silentLogger })
  afterwards(t, close)
  const traces = createTraceStore({ datastore, log: silentLogger })
  const gone: string[] = []
  const open = (init: { maxKeys?: number } = {}): Promise<Given> =>
    Given.open({ datastore, traces, log: silentLogger, onGone: (key) => gone.push(key) }, init)
  /** A result that has been kept and put into directories of cargo's. */
  const make = async (name: string, ...dirs: string[]) => {
    const key = cidOf(someBytes(32), dagCborCodec)
    const output = someBytes(1000)
    const outputs = [{ name, kind: 'link' as const, cid: cidOf(output), size: 1000, executable: false }]
    const result: Result = { v: 2, action: key, outputs, stderr: new Uint8Array(), depInfo: '', wallMs: 1 }
    const { cid } = encodeResult(result)
    await traces.add(hexOf(key), encodeTrace({ v: 2, action: key, reads: [], env: [], result: cid }).bytes)
    const places = dirs.map((place) => join(dir, place))
    for (const place of places) {
      await mkdir(place, { recursive: true })
      await writeFile(join(place, name), output)
    }
    return places.map((path) => ({ key, result, roots: [{ name: 'out' as const, path }] }))
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
  await given.delivered(first, first.result, 'p')
  await given.delivered(second, second.result, undefined)
  await given.delivered(other, other.result, 'q')
  await given.delivered(own, own.result, undefined)
  await given.delivered(lent, lent.result, 'p')
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

test('what people run is gone too, and what only has its name is not', async (t) => {
  const { dir, open, make } = await setUp(t)
  const given = await open()
  const [program] = await make('app-1', 'debug/deps')
  assert.ok(program)
  await given.delivered(program, program.result, 'p')
  await link(join(dir, 'debug/deps/app-1'), join(dir, 'debug/app'))
  await writeFile(join(dir, 'debug/app-1'), 'another')
  assert.deepEqual(await given.purge('p'), { results: 1, files: 1 })
  assert.deepEqual((await readdir(join(dir, 'debug'))).sort(), ['app-1', 'deps'])
  // cargo links examples, and what it runs of build scripts, to names beside them.
  const [example] = await make('show-1', 'debug/examples')
  assert.ok(example)
  await given.delivered(example, example.result, 'p')
  await link(join(dir, 'debug/examples/show-1'), join(dir, 'debug/examples/show'))
  await writeFile(join(dir, 'debug/examples/show-2'), 'another')
  assert.deepEqual(await given.purge('p'), { results: 1, files: 1 })
  assert.deepEqual(await readdir(join(dir, 'debug/examples')), ['show-2'])
})

test('what people run is gone wherever cargo puts it, also where that cannot be a link', async (t) => {
  const { dir, open, make } = await setUp(t)
  const given = await open()
  const [program] = await make('app-1', 'elsewhere/debug/deps')
  const [example] = await make('show-1', 'elsewhere/debug/examples')
  assert.ok(program && example)
  const seen = [join(dir, 'elsewhere/debug'), join(dir, 'target/debug')]
  for (const unit of [program, example]) await given.delivered(unit, unit.result, 'p', seen)
  await mkdir(join(dir, 'target/debug/examples'), { recursive: true })
  await writeFile(join(dir, 'target/debug/.cargo-lock'), '')
  await link(join(dir, 'elsewhere/debug/deps/app-1'), join(dir, 'target/debug/app'))
  await copyFile(join(dir, 'elsewhere/debug/examples/show-1'), join(dir, 'target/debug/examples/show'))
  // As long, and something else.
  await writeFile(join(dir, 'target/debug/other'), someBytes(1000))
  assert.deepEqual(await (await open()).purge('p'), { results: 2, files: 2 })
  assert.deepEqual((await readdir(join(dir, 'target/debug'), { recursive: true })).sort(), [
    '.cargo-lock',
    'examples',
    'other',
  ])
})

test('of more than can be noted the last ones are, and of those what is kept here longest', async (t) => {
  const { traces, open, make } = await setUp(t)
  const given = await open({ maxKeys: 2 })
  for (const name of ['evicted', 'kept', 'last']) {
    const [unit] = await make(`lib${name}.rlib`, name)
    assert.ok(unit)
    await given.delivered(unit, unit.result, 'p')
    if (name === 'evicted') await traces.remove(hexOf(unit.key), undefined)
  }
  assert.deepEqual(await (await open()).purge('p'), { results: 2, files: 2 })
})

test('a build script that was given goes with its launcher', async (t) => {
  const { dir, open, make } = await setUp(t)
  const given = await open()
  const name = 'build_script_build-0123456789abcdef'
  const [script] = await make(name, 'a')
  assert.ok(script)
  await given.delivered(script, script.result, 'p')
  await rename(join(dir, 'a', name), join(dir, 'a/build-script.real'))
  await writeFile(join(dir, 'a', name), 'a launcher')
  assert.deepEqual(await given.purge('p'), { results: 1, files: 1 })
  assert.deepEqual(await readdir(join(dir, 'a')), [])
})

test('what was compiled here later is not taken for what was given', async (t) => {
  const { dir, traces, open, make } = await setUp(t)
  const given = await open()
  const [theirs] = await make('libone.rlib', 'a')
  assert.ok(theirs)
  await given.delivered(theirs, theirs.result, 'p')
  const own: Result = { ...theirs.result, wallMs: 2 }
  const { cid } = encodeResult(own)
  await traces.add(
    hexOf(theirs.key),
    encodeTrace({ v: 2, action: theirs.key, reads: [['absent', 'x', null]], env: [], result: cid }).bytes,
  )
  await given.delivered(theirs, own, undefined)
  assert.deepEqual(await given.purge('p'), { results: 1, files: 1 })
  assert.equal((await traces.traces(hexOf(theirs.key))).length, 1)
  assert.deepEqual(await readdir(join(dir, 'a')), [])
})

test('what is found to be wrong is dropped also when nobody wrote down who gave it', async (t) => {
  const { traces, gone, open, make } = await setUp(t)
  const given = await open()
  const [one] = await make('libone.rlib', 'a')
  assert.ok(one)
  assert.equal((await given.drop(hexOf(one.key), encodeResult(one.result).cid)).results, 1)
  assert.deepEqual([await traces.traces(hexOf(one.key)), gone], [[], [hexOf(one.key)]])
})

test('of several who said the same of a script all is dropped with any of them, and cargo runs it again', async (t) => {
  const { dir, traces, make } = await setUp(t)
  const { datastore, close } = await openIndexDb({ dir: join(dir, 'ledger'), log: silentLogger })
  afterwards(t, close)
  const open = (): Promise<Given> =>
    Given.open({ datastore, traces, log: silentLogger, onGone: () => undefined, prefix: '/given-runs/', undo: undoRun })
  const [made] = await make('x', 'other')
  assert.ok(made)
  const [key, result] = [hexOf(made.key), encodeResult(made.result).cid]
  const outDir = async (where: string, said: string): Promise<string> => {
    const out = join(dir, where, 'out')
    for (const path of [join(out, 'deep'), dirname(join(dir, where, said))]) await mkdir(path, { recursive: true })
    for (const name of ['x', 'deep/y']) await writeFile(join(out, name), 'fins')
    await writeFile(join(dir, where, said), 'cargo::rustc-cfg=fish')
    return out
  }
  const cargos = [
    [await outDir('target/debug/build/fish-1', 'output'), 'target/debug/build/fish-1/output'],
    [await outDir('target/debug/build/fish/2', 'run/stdout'), 'target/debug/build/fish/2/run/stdout'],
  ] as const
  await writeFile(join(dir, 'target/debug/.cargo-lock'), '')
  const somebodys = await outDir('documents', 'output')
  const given = await open()
  for (const by of ['p', 'q'])
    for (const out of [...cargos.map(([path]) => path), somebodys])
      await given.note({ key, result, outputs: [], dir: out }, by, true)

  assert.deepEqual(await (await open()).purge('q'), { results: 1, files: 4 })
  for (const [out, said] of cargos) {
    assert.deepEqual(await readdir(out), [])
    await assert.rejects(readFile(join(dir, said)), { code: 'ENOENT' })
  }
  // Another one's directory by now.
  assert.deepEqual((await readdir(somebodys)).sort(), ['deep', 'x'])
  assert.equal((await traces.traces(key)).length, 0)
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
    givenRuns: { purge: async (peer: string) => ({ results: peer === peerId ? 1 : 0, files: 5 }) },
    placed: {
      makers: () => new Map([[peerId, ['k', 'l']]]),
      release: async (peer: string, key: string) => void released.push(`${peer}/${key}`),
    },
  }
  assert.deepEqual(await purgeBy('ada', needs), { schema: 1, peerId, results: 4, files: 7, placed: 2 })
  assert.deepEqual(released, [`${peerId}/k`, `${peerId}/l`])
  assert.equal((await purgeBy(peerId, needs)).results, 4)
  assert.equal((await purgeBy('two', needs)).peerId, 'two')
  // One that is not known any more.
  const forgotten = '12D3KooWSHj3RRbBjD15g6wekV8y3mm57Pobmps2g2WJm6F67Lay'
  assert.equal((await purgeBy(forgotten, needs)).peerId, forgotten)
  for (const name of ['ben', 'cleo']) {
    await assert.rejects(purgeBy(name, needs), { code: 'ERR_USAGE' })
  }
})
