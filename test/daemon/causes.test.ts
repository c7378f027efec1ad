import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { CID } from 'multiformats/cid'
import { silentLogger } from '../../src/base/log.ts'
import { Causes } from '../../src/daemon/causes.ts'
import { type Action, encodeAction } from '../../src/plan/action.ts'
import type { PlannedAction } from '../../src/plan/plan.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { Trees } from '../../src/plan/trees.ts'
import type { Cause } from '../../src/recall/cause.ts'
import type { Difference } from '../../src/recall/evidence.ts'
import { createSubjectStore } from '../../src/store/subjects.ts'
import { planned as base, content } from '../recall/support.ts'
import { openIndex, openStore, tempDir } from '../store/support.ts'

/** Causes over real stores. */
async function bench(t: TestContext) {
  const index = await openIndex(t)
  const blocks = await openStore(t)
  const trees = new Trees(new StatDigests())
  const subjects = createSubjectStore({ datastore: index.datastore, log: silentLogger })
  const causes = new Causes({ subjects, blocks, trees, inputsOf: () => undefined, log: silentLogger })
  /** The names of what differs. */
  const names = async (
    planned: PlannedAction,
    made = true,
    difference?: Difference,
    env?: Record<string, string>,
  ): Promise<string[]> => {
    const ended = { env: new Map(Object.entries(env ?? {})), readsEnvironment: env !== undefined }
    if (made) causes.made(planned)
    return (await causes.of(planned, { difference, ...ended })).map(({ what, name }: Cause) => `${what} ${name}`)
  }
  return { names, blocks, trees, index, causes }
}

function unit(change: Partial<Action>, metadata = 'aaaa'): PlannedAction {
  const argv = ['--crate-name', 'x', '-C', `metadata=${metadata}`, ...(change.argv ?? []), 'src/lib.rs']
  const action = { ...base.action, ...change, argv }
  const { bytes, cid } = encodeAction(action)
  return { ...base, action, actionBytes: bytes, key: cid, args: parseRustcArgs(argv) }
}

const dep = (text: string): [string, CID][] => [['libleaf-0123456789abcdef.rmeta', content(text)]]

test('a unit is compared with what it was when it was made', async (t) => {
  const { names } = await bench(t)
  assert.deepEqual(await names(unit({ deps: dep('one') })), ['first-time x'])
  assert.deepEqual(await names(unit({ deps: dep('two') })), ['dependency leaf'])
  assert.deepEqual(await names(unit({ deps: dep('two'), argv: ['--cfg', 'more'] })), ['cfg more'])
})

test('one that failed to compile is nothing to compare with', async (t) => {
  const { names } = await bench(t)
  assert.deepEqual(await names(unit({ deps: dep('broken') }), false), ['first-time x'])
  assert.deepEqual(await names(unit({ deps: dep('one') })), ['first-time x'])
})

test('the very same again says that its result was not kept', async (t) => {
  const { names } = await bench(t)
  await names(unit({ deps: dep('one') }))
  await names(unit({ deps: dep('two') }))
  assert.deepEqual(await names(unit({ deps: dep('one') })), ['result x'])
})

test('what cargo calls the same comes nearest, even when more of it differs', async (t) => {
  const { names } = await bench(t)
  await names(unit({ deps: dep('old'), env: [['COLOUR', 'red']] }, 'bbbb'))
  await names(unit({ deps: dep('new'), argv: ['-C', 'opt-level=3'] }, 'cccc'))
  const newer = unit({ deps: dep('new'), env: [['COLOUR', 'blue']] }, 'bbbb')
  assert.deepEqual(await names(newer), ['variable COLOUR', 'dependency leaf'])
})

test('the files of OUT_DIR are named when both are known', async (t) => {
  const { names, trees } = await bench(t)
  const dir = await tempDir(t)
  const generated = async (text: string): Promise<PlannedAction> => {
    await writeFile(join(dir, 'made.rs'), text)
    const build = await trees.outDir(dir)
    return { ...unit({ build: build.cid }), build }
  }
  await names(await generated('one'))
  assert.deepEqual(await names(await generated('two')), ['out-dir <build>/made.rs'])
})

test('the files of a package are named when the directory that was recorded is in the store', async (t) => {
  const { names, trees, blocks } = await bench(t)
  const dir = await tempDir(t)
  await mkdir(join(dir, 'src'))
  await writeFile(join(dir, 'src/lib.rs'), 'one')
  const before = await trees.tree(dir, true)
  await writeFile(join(dir, 'src/lib.rs'), 'two!')
  const here = await trees.tree(dir, true)
  const planned: PlannedAction = { ...unit({}), source: { root: 'workspace', path: 'x', dir } }
  const name = '\0workspace\0/x'
  const difference: Difference = { kind: 'tree', name, recorded: `${before.cid}`, here: `${here.cid}` }
  assert.deepEqual(await names(planned, true, difference), ['tree <workspace>/x'])
  await blocks.put(before.bytes, before.cid.code)
  assert.deepEqual(await names(planned, true, difference), ['file <workspace>/x/src/lib.rs'])
  // Changed once more since it was looked at.
  await writeFile(join(dir, 'src/lib.rs'), 'three')
  assert.deepEqual(await names(planned, true, difference), ['tree <workspace>/x'])
})

test('of two versions of a package the same one comes nearest', async (t) => {
  const { names } = await bench(t)
  const named = base.action.env.filter(([name]) => name !== 'CARGO_PKG_VERSION')
  const version = (text: string, metadata: string, ...argv: string[]): PlannedAction =>
    unit({ env: [...named, ['CARGO_PKG_VERSION', text]], argv }, metadata)
  await names(version('1.0.0', 'aaaa'))
  assert.deepEqual(await names(version('2.0.0', 'bbbb')), ['version x'])
  assert.deepEqual(await names(version('1.0.0', 'cccc', '--cfg', 'a', '--cfg', 'b')), ['cfg a', 'cfg b'])
})

test('the variables are named in which the environment as a whole differs from the nearest', async (t) => {
  const { names } = await bench(t)
  const planned = unit({})
  const whole: Difference = { kind: 'environ', name: '', recorded: 'one', here: 'another' }
  assert.deepEqual(await names(planned, true, whole), ['environment the environment as a whole'])
  await names(planned, true, undefined, { PATH: '/bin' })
  assert.deepEqual(await names(planned, true, whole, { PATH: '/bin', A: '1', B: '2' }), [
    'environment A',
    'environment B',
  ])
  assert.deepEqual(await names(planned, true, whole, { PATH: '/bin', C: '1' }), ['environment C'])
  // Nothing was kept of this action in any of them.
  const other = unit({ deps: dep('other') })
  assert.deepEqual(await names(other, true, whole, { C: '2' }), ['environment the environment as a whole'])
})

test('there are at most eight causes, and none when nothing can be read', async (t) => {
  const { names, causes, index } = await bench(t)
  await names(unit({}))
  const env = Array.from({ length: 20 }, (_, n): [string, string] => [`V${n}`, 'x'])
  assert.equal((await names(unit({ env: [...base.action.env, ...env] }))).length, 8)
  await index.close()
  const last = unit({ deps: dep('one') })
  causes.made(last)
  assert.deepEqual(await causes.of(last, { difference: undefined, env: new Map(), readsEnvironment: false }), [])
})
