import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CID } from 'multiformats/cid'
import { silentLogger } from '../../src/base/log.ts'
import { type Action, encodeResult, encodeTrace, type Result, type Trace } from '../../src/plan/action.ts'
import type { PlannedAction } from '../../src/plan/plan.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import type { DigestedTree } from '../../src/plan/trees.ts'
import { readsOf } from '../../src/recall/evidence.ts'
import { Recall } from '../../src/recall/recall.ts'
import { encodeCbor } from '../../src/wire/cbor.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'

const action: Action = {
  v: 1,
  salt: 'mesh',
  toolchain: 'a'.repeat(64),
  target: 'x86_64-unknown-linux-gnu',
  crate: 'x',
  argv: [],
  env: [['CARGO_PKG_NAME', 'x']],
  cwd: '\0workspace\0',
  remaps: [],
  deps: [],
  build: null,
  outputs: [
    ['x-1.d', 'dep-info'],
    ['libx-1.rmeta', 'metadata'],
  ],
}
const key = encodeCbor(action).cid
const treeBytes = encodeCbor({ v: 1, files: [{ path: 'src/lib.rs', cid: cidOf(Buffer.from('fn')), size: 2 }] })
const tree: DigestedTree = {
  ...treeBytes,
  tree: { v: 1, files: [{ path: 'src/lib.rs', cid: cidOf(Buffer.from('fn')), size: 2 }] },
  dir: '/ws/x',
  lendable: treeBytes,
  lendableTree: { v: 1, files: [] },
  withheld: false,
}
const planned: PlannedAction = {
  crate: 'x',
  kind: 'lib',
  args: parseRustcArgs([]),
  dependencies: [],
  shareable: true,
  action,
  key,
  actionBytes: new Uint8Array(),
  tree,
  usesMacros: false,
  lent: [tree],
  build: undefined,
  inputs: encodeCbor(null),
  roots: [{ name: 'workspace', path: '/ws' }],
  notAway: undefined,
  host: action.target,
}
const metadata = Buffer.from('metadata')
const result: Result = {
  v: 1,
  action: key,
  outputs: [{ name: 'libx-1.rmeta', kind: 'metadata', cid: cidOf(metadata), size: metadata.length }],
  stderr: new Uint8Array(),
  depInfo: 'libx-1.rmeta: x/src/lib.rs\n# env-dep:COLOUR=red\n# env-dep:SIZE=9\n# env-dep:ABSENT\n',
  wallMs: 1,
}
const trees = [{ dir: '\0workspace\0/x', files: [{ path: 'src/lib.rs' }] }]

function recall(): { recall: Recall; blocks: Map<string, Uint8Array>; traces: Map<string, Uint8Array[]> } {
  const blocks = new Map<string, Uint8Array>()
  const traces = new Map<string, Uint8Array[]>()
  const put = async (bytes: Uint8Array, codec: number): Promise<CID> => {
    blocks.set(hexOf(cidOf(bytes)), bytes)
    return cidOf(bytes, codec)
  }
  return {
    blocks,
    traces,
    recall: new Recall({
      blocks: { get: async (cid) => blocks.get(hexOf(cid)), has: async (cid) => blocks.has(hexOf(cid)), put },
      traces: {
        traces: async (hex) => traces.get(hex) ?? [],
        add: async (hex, trace) => void traces.set(hex, [trace, ...(traces.get(hex) ?? [])]),
        remove: async (hex, trace) =>
          void traces.set(
            hex,
            (traces.get(hex) ?? []).filter((other) => other !== trace),
          ),
      },
      ask: async () => [],
      fetch: async () => new Uint8Array(),
      log: silentLogger,
    }),
  }
}

const env = new Map([
  ['COLOUR', 'red'],
  ['SIZE', '9'],
])

test('what was remembered is recalled where everything that was read is the same', async () => {
  const { recall: one, blocks } = recall()
  assert.equal(await one.remember(result, action, tree.cid, trees), undefined)
  assert.equal(await one.own(planned, env), undefined, 'its output is not here yet')
  blocks.set(hexOf(cidOf(metadata)), metadata)
  assert.equal((await one.own(planned, env))?.result.depInfo, result.depInfo)
})

test('another value, a variable too many or too few, another tree: not recalled', async () => {
  const { recall: one, blocks } = recall()
  await one.remember(result, action, tree.cid, trees)
  blocks.set(hexOf(cidOf(metadata)), metadata)
  for (const change of [
    new Map([...env, ['COLOUR', 'blue']]),
    new Map([['COLOUR', 'red']]),
    new Map([...env, ['ABSENT', '']]),
    new Map([...env, ['SIZE', '10']]),
  ]) {
    assert.equal(await one.own(planned, change), undefined)
  }
  const other = { ...planned, tree: { ...tree, cid: cidOf(Buffer.from('another tree'), 0x71) } }
  assert.equal(await one.own(other, env), undefined)
  assert.ok(await one.own(planned, env))
})

test('a trace or result that is damaged, of another action or with other outputs is a miss', async () => {
  const { recall: one, blocks, traces } = recall()
  blocks.set(hexOf(cidOf(metadata)), metadata)
  const wrong: Result[] = [
    { ...result, action: cidOf(Buffer.from('other'), 0x71) },
    { ...result, outputs: [] },
    { ...result, outputs: result.outputs.map((output) => ({ ...output, name: 'libevil.rmeta' })) },
  ]
  for (const bad of wrong) {
    const { bytes, cid } = encodeResult(bad)
    blocks.set(hexOf(cid), bytes)
    const trace: Trace = { v: 1, action: key, tree: tree.cid, env: [], result: cid }
    traces.set(hexOf(key), [encodeTrace(trace).bytes])
    assert.equal(await one.own(planned, env), undefined)
  }
  traces.set(hexOf(key), [Buffer.from('not a trace')])
  assert.equal(await one.own(planned, env), undefined)
  assert.deepEqual(traces.get(hexOf(key)), [], 'what cannot be read is removed')
})

test('a file outside the package makes a result unshareable', async () => {
  assert.equal(readsOf('x: x/src/lib.rs /etc/hostname\n', action, trees), 'source-outside-package')
  assert.equal(readsOf('x: x/src/../../other/lib.rs\n', action, trees), 'source-outside-package')
  assert.equal(readsOf('no rule', action, trees), 'source-outside-package')
  assert.deepEqual(readsOf('x: x/src/../src/lib.rs\n# env-dep:CARGO_PKG_NAME=x\n', action, trees), [])
  const { recall: one, traces } = recall()
  assert.equal(
    await one.remember({ ...result, depInfo: 'x: /etc/hostname\n' }, action, tree.cid, trees),
    'source-outside-package',
  )
  assert.equal(traces.size, 0)
})

test('a directory read as text makes a result path-bound, OUT_DIR excepted; a secret keeps it here', () => {
  const read = (line: string): unknown => readsOf(`x: x/src/lib.rs\n# env-dep:${line}\n`, action, trees)
  assert.equal(read('CARGO_MANIFEST_DIR=\0workspace\0/x'), 'path-bound')
  assert.deepEqual(read('OUT_DIR=\0build\0'), [['OUT_DIR', '\0build\0']])
  assert.equal(read('MY_API_TOKEN=hunter2'), 'secret-in-environment')
  assert.deepEqual(read('MY_API_TOKEN'), [['MY_API_TOKEN', null]])
})

test('members are told only of what is complete here', async () => {
  const { recall: one, blocks } = recall()
  await one.remember(result, action, tree.cid, trees)
  const digest = Buffer.from(hexOf(key), 'hex')
  assert.deepEqual(await one.holdings([digest]), [])
  blocks.set(hexOf(cidOf(metadata)), metadata)
  assert.equal((await one.holdings([digest, Buffer.alloc(32)])).length, 1)
})
