import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import type { CID } from 'multiformats/cid'
import { silentLogger } from '../../src/base/log.ts'
import { InputCache } from '../../src/execute/input-cache.ts'
import { stageInputs } from '../../src/execute/stage.ts'
import { TreeCache } from '../../src/execute/tree-cache.ts'
import { type Action, encodeTree, type Inputs, type Tree } from '../../src/plan/action.ts'
import { KnownTrees } from '../../src/plan/known-trees.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { cidOf, dagCborCodec } from '../../src/wire/cid.ts'

const scratch = mkdtempSync(join(tmpdir(), 'shoal-trees-'))
const blocks = createBlockStore({
  dir: join(scratch, 'store'),
  log: silentLogger,
  maxBytes: 1024 ** 3,
  minFreeBytes: 0,
})
const cache = new InputCache(join(scratch, 'cache'), blocks, 3 << 20)
const maxBytes = 64 << 10
let trees = new TreeCache(join(scratch, 'none'), blocks)
let dir = ''
before(async () => {
  await blocks.start()
  await cache.start()
})
after(async () => {
  await blocks.stop()
  rmSync(scratch, { recursive: true, force: true })
})
beforeEach(async () => {
  dir = mkdtempSync(join(scratch, 'in-'))
  trees = new TreeCache(mkdtempSync(join(scratch, 'trees-')), blocks, maxBytes)
  await trees.start()
})

async function tree(files: Record<string, string>): Promise<Inputs['trees'][number]['tree']> {
  const listed: Tree['files'] = []
  for (const [path, content] of Object.entries(files)) {
    listed.push({ path, cid: await blocks.put(Buffer.from(content)), size: Buffer.byteLength(content) })
  }
  return await blocks.put(encodeTree({ v: 1, files: listed }).bytes, dagCborCodec)
}

const action: Action = {
  ...{ v: 2, salt: '', toolchain: '0'.repeat(64), driver: null, target: 't', crate: 'c', argv: [], env: [] },
  ...{ cwd: '\0workspace\0', remaps: [], deps: [], build: null, outputs: [] },
}
const stage = (inputs: Partial<Inputs>, change: Partial<Action> = {}) =>
  stageInputs({
    action: { ...action, ...change },
    inputs: { v: 1, trees: [], files: [], ...inputs },
    ...{
      blocks,
      listings: new KnownTrees(),
      cache,
      trees,
      dir,
      maxBytes: 1 << 30,
      maxFiles: 100,
      signal: new AbortController().signal,
    },
  })

test('a package of two compiles is one directory, which others can read and nobody can write to', async () => {
  const source = await tree({ 'src/deep/mod.rs': 'mod', 'src/lib.rs': 'lib' })
  const inputs = { trees: [{ root: 'registry' as const, path: 'index/c-1.0', tree: source }] }
  const first = await stage(inputs)
  const second = await stage(inputs)
  assert.deepEqual(first.mounts, second.mounts)
  const [mount] = first.mounts
  assert.ok(mount !== undefined)
  assert.deepEqual([mount.root, mount.path], ['registry', 'index/c-1.0'])
  assert.deepEqual(readdirSync(mount.from, { recursive: true }).sort(), [
    'src',
    'src/deep',
    'src/deep/mod.rs',
    'src/lib.rs',
  ])
  assert.equal(readFileSync(join(mount.from, 'src/deep/mod.rs'), 'utf8'), 'mod')
  assert.equal(statSync(join(mount.from, 'src/lib.rs')).mode & 0o777, 0o444)
  for (const path of ['.', 'src', 'src/deep']) assert.equal(statSync(join(mount.from, path)).mode & 0o005, 0o005, path)
  assert.deepEqual(first.roots, ['workspace'])
  assert.deepEqual(readdirSync(dir), ['workspace'])
})

test('a package that is a root as a whole needs no directory that it is mounted over', async () => {
  const source = await tree({ 'src/lib.rs': 'lib' })
  const { roots, mounts } = await stage({ trees: [{ root: 'workspace', path: '', tree: source }] })
  assert.deepEqual([roots, mounts.map(({ root, path }) => [root, path])], [[], [['workspace', '']]])
  assert.deepEqual(readdirSync(dir), [])
})

test('a package that somebody changed meanwhile is made anew', async () => {
  const source = await tree({ 'lib.rs': 'right', 'mod.rs': 'mod' })
  const inputs = { trees: [{ root: 'registry' as const, path: 'c', tree: source }] }
  const changes: ((from: string) => void)[] = [
    (from) => {
      chmodSync(join(from, 'lib.rs'), 0o644)
      writeFileSync(join(from, 'lib.rs'), 'wrong')
      chmodSync(join(from, 'lib.rs'), 0o444)
    },
    (from) => writeFileSync(join(from, 'added.rs'), ''),
    (from) => rmSync(join(from, 'mod.rs')),
  ]
  for (const change of changes) {
    const { mounts, release } = await stage(inputs)
    change(mounts[0]?.from ?? '')
    release()
    const again = await stage(inputs)
    assert.notEqual(again.mounts[0]?.from, mounts[0]?.from)
    assert.deepEqual(readdirSync(again.mounts[0]?.from ?? ''), ['lib.rs', 'mod.rs'])
    assert.equal(readFileSync(join(again.mounts[0]?.from ?? '', 'lib.rs'), 'utf8'), 'right')
    again.release()
  }
})

test('what something else lies in is laid out, not mounted', async () => {
  const [outer, inner] = [await tree({ 'a.rs': 'a' }), await tree({ 'b.rs': 'b' })]
  const nested = await stage({
    trees: [
      { root: 'workspace', path: 'one', tree: outer },
      { root: 'workspace', path: 'one/two', tree: inner },
      { root: 'workspace', path: 'one-more', tree: inner },
    ],
  })
  assert.deepEqual(
    nested.mounts.map(({ path }) => path),
    ['one-more'],
  )
  assert.equal(readFileSync(join(dir, 'workspace/one/two/b.rs'), 'utf8'), 'b')
  assert.deepEqual(readdirSync(join(dir, 'workspace')).sort(), ['one', 'one-more'])
  assert.deepEqual(readdirSync(join(dir, 'workspace/one-more')), [])
  dir = mkdtempSync(join(scratch, 'in-'))
  const within = await stage({ trees: [{ root: 'workspace', path: '', tree: outer }] }, { cwd: '\0workspace\0/sub' })
  assert.deepEqual(within.mounts, [])
  dir = mkdtempSync(join(scratch, 'in-'))
  const file = { root: 'workspace' as const, path: 'p/c.rs', cid: await blocks.put(Buffer.from('c')), size: 1 }
  const beside = await stage({ trees: [{ root: 'workspace', path: 'p', tree: outer }], files: [file] })
  assert.deepEqual(beside.mounts, [])
  assert.deepEqual(readdirSync(join(dir, 'workspace/p')).sort(), ['a.rs', 'c.rs'])
})

test('what is not used any more goes when there is too much, and what is used stays', async () => {
  const take = async (n: number) =>
    await stage({ trees: [{ root: 'registry', path: 'c', tree: await tree({ 'lib.rs': `${n}`.repeat(30_000) }) }] })
  const used = await take(0)
  const places: string[] = []
  for (let n = 1; n <= 4; n++) {
    const { mounts, release } = await take(n)
    places.push(mounts[0]?.from ?? '')
    release()
  }
  await trees.idle()
  assert.ok(existsSync(used.mounts[0]?.from ?? ''))
  assert.deepEqual(places.map(existsSync), [false, false, false, true])
  used.release()
})

test('of a tree with something missing, nothing stays', async () => {
  const absent = { path: 'x', cid: cidOf(Buffer.from('nowhere')), size: 7 }
  const there = { path: 'a', cid: await blocks.put(Buffer.from('a')), size: 1 }
  const source = await blocks.put(encodeTree({ v: 1, files: [there, absent] }).bytes, dagCborCodec)
  const inputs = { trees: [{ root: 'registry' as const, path: 'c', tree: source }] }
  for (let tries = 0; tries < 2; tries++) await assert.rejects(stage(inputs), { code: 'ERR_INPUT_MISSING' })
  await trees.idle()
  await blocks.put(Buffer.from('nowhere'))
  assert.equal((await stage(inputs)).mounts.length, 1)
})

test('a tree is taken from its pack, and each of its files is looked at', async () => {
  const contents = { 'a.rs': 'a', 'b/c.rs': 'cc', 'd.rs': '', 'e.rs': 'eee' }
  const listed = Object.entries(contents).map(([path, content]) => ({
    ...{ path, cid: cidOf(Buffer.from(`packed ${content}`)), size: 7 + content.length },
  }))
  const bytes = Buffer.from(
    Object.values(contents)
      .map((content) => `packed ${content}`)
      .join(''),
  )
  const source = await blocks.put(encodeTree({ v: 1, files: listed }).bytes, dagCborCodec)
  const at = (pack: { cid: CID; size: number }, path = 'c'): Partial<Inputs> => ({
    trees: [{ root: 'registry', path, tree: source, pack }],
  })
  const wrong = Buffer.from(bytes)
  wrong[bytes.length - 1] = 0
  const refused = { code: 'ERR_INPUT_MISSING' }
  await assert.rejects(stage(at({ cid: await blocks.put(wrong), size: wrong.length })), refused)
  await assert.rejects(stage(at({ cid: cidOf(bytes), size: bytes.length })), refused)
  const short = bytes.subarray(1)
  await assert.rejects(stage(at({ cid: await blocks.put(short), size: short.length })), refused)

  const pack = { cid: await blocks.put(bytes), size: bytes.length }
  const { mounts } = await stage(at(pack))
  assert.equal(readFileSync(join(mounts[0]?.from ?? '', 'b/c.rs'), 'utf8'), 'packed cc')
  assert.equal(statSync(join(mounts[0]?.from ?? '', 'd.rs')).mode & 0o777, 0o444)
  // Where nothing can be mounted, it is laid out from the pack as well.
  const within = await stage(at(pack, ''), { cwd: '\0registry\0/b' })
  assert.deepEqual(within.mounts, [])
  assert.equal(readFileSync(join(dir, 'registry/b/c.rs'), 'utf8'), 'packed cc')
})
