import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CID } from 'multiformats/cid'
import { Supply } from '../../src/daemon/supply.ts'
import { encodeInputs, encodeTree } from '../../src/plan/action.ts'
import type { DigestedTree } from '../../src/plan/trees.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
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
  return { ...lendable, tree, dir: `/${name}`, lendable, lendableTree: tree, withheld: false }
}

test('the files of a package are lent again when its listing is gone, or when so many others were lent since', async () => {
  const kept = new Set<string>()
  let lent = 0
  const unexpected = (): never => assert.fail('not expected')
  const supply = new Supply({
    blocks: {
      get: unexpected,
      open: unexpected,
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
