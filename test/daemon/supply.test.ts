import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import type { CID } from 'multiformats/cid'
import { silentLogger } from '../../src/base/log.ts'
import { Supply } from '../../src/daemon/supply.ts'
import { encodeInputs, encodeTree } from '../../src/plan/action.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { type DigestedTree, Trees } from '../../src/plan/trees.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { planned } from '../recall/support.ts'

function packageOf(name: string, files: number): DigestedTree {
  const tree = {
    v: 1 as const,
    files: Array.from({ length: files }, (_, at) => ({
      path: `${at}`,
      cid: cidOf(Buffer.from(`${name} ${at}`)),
      size: 1,
    })),
  }
  const lendable = encodeTree(tree)
  return { ...lendable, tree, dir: `/${name}`, lendable, lendableTree: tree, withheld: false, links: [] }
}

test('the files of a package are lent again when its listing is gone, or when so many others were lent since', async () => {
  const kept = new Set<string>()
  let lent = 0
  const unexpected = (): never => assert.fail('not expected')
  const supply = new Supply({
    blocks: {
      get: unexpected,
      open: unexpected,
      path: unexpected,
      has: async (cid) => kept.has(hexOf(cid)),
      put: async (bytes): Promise<CID> => {
        const cid = cidOf(bytes)
        kept.add(hexOf(cid))
        return cid
      },
      putVerified: unexpected,
      putLarge: unexpected,
      lend: () => {
        lent += 1
      },
    },
    mesh: { fetchBlock: unexpected, useBlock: unexpected, fetchFile: unexpected },
  })
  const inputs = encodeInputs({ v: 1, trees: [], files: [] })
  const unit = { ...planned, build: undefined, dependencies: [] }
  const offers = async (tree: DigestedTree): Promise<number> => {
    lent = 0
    await supply.offerInputs(unit, { own: tree, packages: [tree], inputs })
    return lent
  }
  const small = packageOf('small', 3)
  assert.deepEqual([await offers(small), await offers(small)], [3, 0])
  // Walked again it may be another one.
  assert.equal(await offers(packageOf('small', 3)), 3)
  kept.delete(hexOf(small.lendable.cid))
  assert.deepEqual([await offers(small), await offers(small)], [3, 0])
  assert.equal(await offers(packageOf('large', 16_384)), 16_384)
  assert.equal(await offers(small), 3)
})

test('what a unit is made from can be had when its sources are others by then', async (t) => {
  const dir = await temporaryDirectory(t)
  const contents: Record<string, string> = { 'ws/src/lib.rs': 'first', 'registry/p/src/lib.rs': 'of a registry' }
  for (const [path, text] of Object.entries(contents)) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), text)
  }
  const trees = new Trees(new StatDigests())
  const packages = [await trees.tree(join(dir, 'ws'), false), await trees.tree(join(dir, 'registry/p'), true)]
  const [own] = packages
  assert.ok(own !== undefined)
  const store = createBlockStore({ dir: join(dir, 'store'), log: silentLogger, maxBytes: 1e9, minFreeBytes: 0 })
  await store.start()
  const unexpected = (): never => assert.fail('not expected')
  const supply = new Supply({
    blocks: store,
    mesh: { fetchBlock: unexpected, useBlock: unexpected, fetchFile: unexpected },
  })
  const unit = {
    ...planned,
    build: undefined,
    dependencies: [],
    roots: [{ name: 'registry' as const, path: join(dir, 'registry') }],
  }
  await supply.keepInputs(unit, { own, packages, inputs: encodeInputs({ v: 1, trees: [], files: [] }) })
  for (const path of Object.keys(contents)) await writeFile(join(dir, path), 'other')
  const kept = Object.values(contents).map((text) => store.get(cidOf(Buffer.from(text))))
  assert.deepEqual(
    (await Promise.all(kept)).map((bytes) => bytes && Buffer.from(bytes).toString()),
    ['first', undefined],
  )
  await store.stop()
})
