import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError } from '../../src/base/errors.ts'
import { gather } from '../../src/daemon/lend.ts'
import { Packs } from '../../src/daemon/packs.ts'
import { encodeInputs, encodeTree } from '../../src/plan/action.ts'
import { KnownTrees } from '../../src/plan/known-trees.ts'
import { unpack } from '../../src/plan/pack.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { Trees } from '../../src/plan/trees.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'

class Memory {
  readonly held = new Map<string, Uint8Array>()
  puts = 0

  async put(bytes: Uint8Array): Promise<CID> {
    this.puts += 1
    const cid = cidOf(bytes)
    this.held.set(hexOf(cid), bytes)
    return cid
  }

  async has(cid: CID): Promise<boolean> {
    return this.held.has(hexOf(cid))
  }
}

const contents = { 'Cargo.toml': '[package]', 'src/lib.rs': 'pub fn a() {}', 'src/z.rs': '' }

async function write(dir: string, files: Record<string, string>): Promise<void> {
  await mkdir(join(dir, 'src'), { recursive: true })
  for (const [path, content] of Object.entries(files)) await writeFile(join(dir, path), content)
}

test('a package is packed once, again when its block is gone, and not when it has changed meanwhile', async (t) => {
  const dir = await temporaryDirectory(t)
  await write(dir, contents)
  const trees = new Trees(new StatDigests())
  const tree = await trees.tree(dir, true)
  const blocks = new Memory()
  const packs = new Packs(blocks)
  const [pack, again] = await Promise.all([packs.of(tree), packs.of(tree)])
  assert.deepEqual(pack, again)
  assert.equal(blocks.puts, 1)
  const bytes = blocks.held.get(hexOf(pack?.cid ?? assert.fail())) ?? assert.fail()
  assert.deepEqual(unpack(tree.tree, bytes)?.map(String), Object.values(contents))
  assert.equal(unpack(tree.tree, bytes.subarray(1)), undefined)

  blocks.held.clear()
  assert.deepEqual(await packs.of(tree), pack)
  assert.equal(blocks.puts, 2)

  blocks.held.clear()
  await write(dir, { 'src/lib.rs': 'longer than before' })
  assert.equal(await packs.of(tree), undefined)
  await rm(join(dir, 'src/lib.rs'))
  assert.equal(await packs.of(tree), undefined)
  await write(dir, contents)
  assert.deepEqual(await packs.of(await trees.tree(dir, true)), pack)
})

test('a lender asks for a pack, and for its files when nobody has it', async (t) => {
  const dir = await temporaryDirectory(t)
  await write(dir, contents)
  const tree = await new Trees(new StatDigests()).tree(dir, true)
  const pack = (await new Packs(new Memory()).of(tree)) ?? assert.fail()
  const asked = async (size: number, code: 'ERR_BLOCK_MISSING' | 'ERR_PEER_LOST' | undefined): Promise<string[]> => {
    const inputs = encodeInputs({
      v: 1,
      trees: [{ root: 'registry', path: 'p', tree: tree.cid, pack: { cid: pack.cid, size } }],
      files: [],
    })
    const wanted: string[] = []
    await gather(inputs.cid, ['ana'], new AbortController().signal, {
      trees: new KnownTrees(),
      bytes: async (cid) => (cid.equals(inputs.cid) ? inputs.bytes : tree.bytes),
      ensure: async (cid) => {
        wanted.push(hexOf(cid))
        if (code !== undefined && cid.equals(pack.cid)) throw new ShoalError(code, 'gone')
        return 0
      },
    })
    return wanted
  }
  const files = tree.tree.files.map(({ cid }) => hexOf(cid))
  assert.deepEqual(await asked(pack.size, undefined), [hexOf(pack.cid)])
  assert.deepEqual(await asked(pack.size, 'ERR_BLOCK_MISSING'), [hexOf(pack.cid), ...files])
  assert.deepEqual(await asked(pack.size + 1, undefined), files)
  await assert.rejects(asked(pack.size, 'ERR_PEER_LOST'), { code: 'ERR_PEER_LOST' })
})

test('what packages hold is asked for at once, however long each answer takes, and told in the order of the inputs', async () => {
  const listings = ['a', 'b', 'c'].map((name) =>
    encodeTree({ v: 1, files: [{ path: name, cid: cidOf(Buffer.from(name)), size: 1 }] }),
  )
  const inputs = encodeInputs({
    v: 1,
    trees: listings.map(({ cid }, at) => ({ root: 'registry' as const, path: `p${at}`, tree: cid })),
    files: [],
  })
  const asked: string[] = []
  const all = Promise.withResolvers<void>()
  const laid = await gather(inputs.cid, ['ana'], new AbortController().signal, {
    trees: new KnownTrees(),
    bytes: async (cid) => {
      if (cid.equals(inputs.cid)) return inputs.bytes
      asked.push(hexOf(cid))
      if (asked.length === listings.length) all.resolve()
      await all.promise
      return listings.find((listing) => listing.cid.equals(cid))?.bytes ?? assert.fail()
    },
    ensure: async () => 0,
  })
  assert.deepEqual(
    laid.trees.map(({ files }) => files.map(({ path }) => path)),
    [['a'], ['b'], ['c']],
  )
})

test('of long listings one is asked for after the other, and no more of them than a guest may read', async () => {
  const file = { cid: cidOf(Buffer.from('x')), size: 1 }
  const listingOf = (count: number, name: string) =>
    encodeTree({
      v: 1,
      files: Array.from({ length: count }, (_, at) => ({ path: `${name}${`${at}`.padStart(6, '0')}`, ...file })),
    })
  const short = ['a', 'b', 'c'].map((name) => listingOf(1, name))
  const long = ['d', 'e', 'f', 'g'].map((name) => listingOf(30_000, name))
  const listings = [...long, ...short]
  const inputs = encodeInputs({
    v: 1,
    trees: listings.map(({ cid }, at) => ({ root: 'registry' as const, path: `p${at}`, tree: cid })),
    files: [],
  })
  let [coming, most, came] = [0, 0, 0]
  const gathered = gather(inputs.cid, ['ana'], new AbortController().signal, {
    trees: new KnownTrees(),
    bytes: async (cid, { maxBytes }) => {
      if (cid.equals(inputs.cid)) return inputs.bytes
      const { bytes } = listings.find((listing) => listing.cid.equals(cid)) ?? assert.fail()
      if (bytes.length > maxBytes) throw new ShoalError('ERR_BLOCK_TOO_LARGE', 'as the peer says')
      if (bytes.length < 1 << 20) return bytes
      coming += 1
      came += 1
      most = Math.max(most, coming)
      await delay(5)
      coming -= 1
      return bytes
    },
    ensure: async () => 0,
  })
  await assert.rejects(gathered, { code: 'ERR_LIMIT' })
  assert.deepEqual([most, came], [1, 3])
})

test('of more than a guest may read nothing is decoded, and no file fetched', async () => {
  const cid = cidOf(Buffer.from('x'))
  const gathered = async (
    count: number,
    size: number,
    times: number,
  ): Promise<{ asked: number; code: string | undefined }> => {
    const held = Array.from({ length: count }, (_, n) => ({ path: `f${n}`, cid, size }))
    const tree = encodeTree({ v: 1, files: held })
    const trees = Array.from({ length: times }, (_, n) => ({
      root: 'workspace' as const,
      path: `p${n}`,
      tree: tree.cid,
    }))
    const inputs = encodeInputs({ v: 1, trees, files: [] })
    let asked = 0
    const needs = {
      trees: new KnownTrees(),
      bytes: async (wanted: CID) => (wanted.equals(inputs.cid) ? inputs.bytes : tree.bytes),
      ensure: async () => {
        asked += 1
        return 0
      },
    }
    const done = gather(inputs.cid, ['ana'], new AbortController().signal, needs)
    return { code: await done.then(() => undefined, codeOf), asked }
  }
  assert.deepEqual(await gathered(2, 1, 3), { code: undefined, asked: 6 })
  // One small block is enough to name them.
  assert.deepEqual(await gathered(1000, 1, 1024), { code: 'ERR_LIMIT', asked: 0 })
  assert.deepEqual(await gathered(2, 2 ** 31, 3), { code: 'ERR_LIMIT', asked: 0 })
})
