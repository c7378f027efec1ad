import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { InputCache } from '../../src/execute/input-cache.ts'
import { removeTree } from '../../src/execute/remove-tree.ts'
import { stageInputs } from '../../src/execute/stage.ts'
import { type Action, encodeTree, type Inputs, type RootName } from '../../src/plan/action.ts'
import { KnownTrees } from '../../src/plan/known-trees.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { cidOf, dagCborCodec } from '../../src/wire/cid.ts'

const scratch = mkdtempSync(join(tmpdir(), 'shoal-stage-'))
const blocks = createBlockStore({
  dir: join(scratch, 'store'),
  log: silentLogger,
  maxBytes: 1024 ** 3,
  minFreeBytes: 0,
})
const cache = new InputCache(join(scratch, 'cache'), blocks, 3 << 20)
before(async () => {
  await blocks.start()
  await cache.start()
})
after(async () => {
  await blocks.stop()
  rmSync(scratch, { recursive: true, force: true })
})

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(scratch, 'in-'))
})

const action: Action = {
  v: 2,
  salt: '',
  toolchain: '0'.repeat(64),
  driver: null,
  target: 't',
  crate: 'c',
  argv: ['-L', 'dependency=\0deps\0'],
  env: [],
  cwd: '\0registry\0/index/c-1.0',
  remaps: [],
  deps: [],
  build: null,
  outputs: [],
}
const file = async (root: RootName, path: string, content: string | Uint8Array) => {
  const bytes = Buffer.from(content)
  return { root, path, cid: await blocks.put(bytes), size: bytes.length }
}
const tree = async (files: Record<string, string>) => {
  const listed = await Promise.all(
    Object.entries(files).map(async ([path, content]) => await file('deps', path, content)),
  )
  const encoded = encodeTree({ v: 1, files: listed.map(({ path, cid, size }) => ({ path, cid, size })) })
  return await blocks.put(encoded.bytes, dagCborCodec)
}
const stage = (inputs: Partial<Inputs>, change: Partial<Action> = {}, limits = { maxBytes: 1 << 30, maxFiles: 100 }) =>
  stageInputs({
    action: { ...action, ...change },
    inputs: { v: 1, trees: [], files: [], ...inputs },
    blocks,
    listings: new KnownTrees(),
    cache,
    dir,
    ...limits,
    signal: new AbortController().signal,
  })

test('inputs lie under their roots, read-only, and every mentioned root exists', async () => {
  const large = await file('deps', 'liblarge-1.rmeta', Buffer.alloc(200 << 10, 7))
  const small = await file('deps', 'libsmall-1.rmeta', 'small')
  const source = await tree({ 'src/lib.rs': 'lib', 'src/deep/er/mod.rs': 'mod', 'Cargo.toml': '' })
  const build = await tree({ 'gen.rs': 'gen' })
  const { roots } = await stage(
    {
      trees: [
        { root: 'registry', path: 'index/c-1.0', tree: source },
        { root: 'build', path: '', tree: build },
      ],
      files: [large, small],
    },
    {
      deps: [
        ['liblarge-1.rmeta', large.cid],
        ['libsmall-1.rmeta', small.cid],
      ],
      build,
      env: [['X', 'in \0git\0']],
    },
  )
  assert.deepEqual(roots, ['registry', 'git', 'deps', 'build'])
  assert.deepEqual(readdirSync(dir).sort(), ['build', 'deps', 'git', 'registry'])
  assert.equal(readFileSync(join(dir, 'registry/index/c-1.0/src/deep/er/mod.rs'), 'utf8'), 'mod')
  assert.equal(readFileSync(join(dir, 'build/gen.rs'), 'utf8'), 'gen')
  assert.equal(readFileSync(join(dir, 'deps/liblarge-1.rmeta')).length, 200 << 10)
  for (const path of ['deps/liblarge-1.rmeta', 'deps/libsmall-1.rmeta', 'registry/index/c-1.0/src/lib.rs']) {
    assert.equal(statSync(join(dir, path)).mode & 0o777, 0o444, path)
  }
})

test('a large dependency of two compiles is one file, and never the file of the store', async () => {
  const bytes = Buffer.alloc(300 << 10, 9)
  const dependency = await file('deps', 'libd-1.rmeta', bytes)
  const deps: Action['deps'] = [['libd-1.rmeta', dependency.cid]]
  await stage({ files: [dependency] }, { deps })
  const first = statSync(join(dir, 'deps/libd-1.rmeta'))
  dir = mkdtempSync(join(scratch, 'in-'))
  await stage({ files: [dependency] }, { deps })
  const second = statSync(join(dir, 'deps/libd-1.rmeta'))
  assert.equal(first.ino, second.ino)
  const stored = await blocks.path(dependency.cid)
  assert.ok(stored !== undefined && statSync(stored).nlink === 1)
})

test('a cached dependency that somebody changed is made anew', async () => {
  const bytes = Buffer.alloc(300 << 10, 11)
  const dependency = await file('deps', 'libd-1.rmeta', bytes)
  const deps: Action['deps'] = [['libd-1.rmeta', dependency.cid]]
  await stage({ files: [dependency] }, { deps })
  const kept = join(dir, 'deps/libd-1.rmeta')
  chmodSync(kept, 0o644)
  writeFileSync(kept, Buffer.alloc(300 << 10, 12))
  dir = mkdtempSync(join(scratch, 'in-'))
  await stage({ files: [dependency] }, { deps })
  assert.ok(readFileSync(join(dir, 'deps/libd-1.rmeta')).equals(bytes))
})

test('the cache keeps within its size', async () => {
  for (let n = 0; n < 8; n++) {
    dir = mkdtempSync(join(scratch, 'in-'))
    const dependency = await file('deps', 'libd-1.rmeta', Buffer.alloc(1 << 20, n + 20))
    await stage({ files: [dependency] }, { deps: [['libd-1.rmeta', dependency.cid]] })
    assert.equal(readFileSync(join(dir, 'deps/libd-1.rmeta'))[0], n + 20)
  }
  assert.ok(readdirSync(join(scratch, 'cache')).length <= 3)
})

test('inputs that are not those of the action are refused', async () => {
  const dependency = await file('deps', 'liba-1.rmeta', 'a')
  const other = await file('deps', 'liba-1.rmeta', 'b')
  const empty = await tree({})
  const refused = { code: 'ERR_ADMISSION' }
  const deps: Action['deps'] = [['liba-1.rmeta', dependency.cid]]
  await assert.rejects(stage({ files: [other] }, { deps }), refused)
  await assert.rejects(stage({ files: [] }, { deps }), refused)
  await assert.rejects(stage({ files: [dependency] }), refused)
  await assert.rejects(stage({ trees: [{ root: 'build', path: '', tree: empty }] }), refused)
  await assert.rejects(stage({}, { build: empty }), refused)
  await assert.rejects(stage({ trees: [{ root: 'build', path: 'x', tree: empty }] }, { build: empty }), refused)
  await assert.rejects(stage({ trees: [{ root: 'deps', path: '', tree: empty }] }), refused)
  for (const root of ['out', 'toolchain', 'target', 'nowhere'] as const) {
    await assert.rejects(stage({ files: [await file(root, 'x', '')] }), refused)
  }
})

test('inputs that contradict each other are refused', async () => {
  const refused = { code: 'ERR_ADMISSION' }
  const both = [await file('workspace', 'a', ''), await file('workspace', 'a/b', '')]
  await assert.rejects(stage({ files: both }), refused)
  const twice = [await file('workspace', 'x', '1'), await file('workspace', 'x', '2')]
  await assert.rejects(stage({ files: twice }), refused)
  dir = mkdtempSync(join(scratch, 'in-'))
  await assert.rejects(stage({ files: [await file('workspace', 'n'.repeat(300), '')] }), refused)
})

test('missing blocks, wrong sizes and too much are told apart', async () => {
  const absent = { root: 'workspace' as const, path: 'x', cid: cidOf(Buffer.from('nowhere')), size: 7 }
  await assert.rejects(stage({ files: [absent] }), { code: 'ERR_INPUT_MISSING' })
  await assert.rejects(stage({ trees: [{ root: 'workspace', path: '', tree: absent.cid }] }), {
    code: 'ERR_INPUT_MISSING',
  })
  const wrong = { ...(await file('workspace', 'y', 'abc')), size: 2 }
  await assert.rejects(stage({ files: [wrong] }), { code: 'ERR_INPUT_MISSING' })
  const files = [await file('workspace', 'a', 'aaaa'), await file('workspace', 'b', 'bbbb')]
  await assert.rejects(stage({ files }, {}, { maxBytes: 7, maxFiles: 10 }), { code: 'ERR_LIMIT' })
  await assert.rejects(stage({ files }, {}, { maxBytes: 10, maxFiles: 1 }), { code: 'ERR_LIMIT' })
  await assert.rejects(
    stage(
      { trees: [{ root: 'workspace', path: '', tree: await tree({ a: '', b: '' }) }] },
      {},
      { maxBytes: 10, maxFiles: 1 },
    ),
    { code: 'ERR_LIMIT' },
  )
})

test('removeTree() removes links without following them, and what cannot be listed', async () => {
  const outside = join(scratch, 'outside')
  mkdirSync(outside, { recursive: true })
  writeFileSync(join(outside, 'kept'), 'x')
  const victim = join(scratch, 'victim')
  mkdirSync(join(victim, 'a/b/c'), { recursive: true })
  symlinkSync(outside, join(victim, 'a/link'))
  symlinkSync(outside, join(victim, 'a/b/link'))
  writeFileSync(join(victim, 'a/b/c/file'), 'x')
  mkdirSync(join(victim, '0'))
  chmodSync(join(victim, 'a/b'), 0)
  await removeTree(victim)
  assert.ok(!existsSync(victim))
  assert.deepEqual(readdirSync(outside), ['kept'])
  symlinkSync(outside, victim)
  await removeTree(victim)
  await removeTree(victim)
  assert.deepEqual(readdirSync(outside), ['kept'])
})
