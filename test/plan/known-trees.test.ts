import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeTree } from '../../src/plan/action.ts'
import { KnownTrees } from '../../src/plan/known-trees.ts'
import { cidOf } from '../../src/wire/cid.ts'

const treeOf = (...names: string[]) =>
  encodeTree({ v: 1, files: names.map((path) => ({ path, cid: cidOf(Buffer.from(path)), size: 1 })) })

/** What is asked for, and which of it had to be loaded. */
function looking(known: KnownTrees) {
  const loaded: string[] = []
  const look = async (name: string, { cid, bytes } = treeOf(...name)): Promise<string> => {
    const tree = await known.of(cid, async () => {
      loaded.push(name)
      return bytes
    })
    return tree.files.map(({ path }) => path).join('')
  }
  return { loaded, look }
}

test('what a name stands for is looked at once, also when it is nothing or two ask at a time', async () => {
  const { loaded, look } = looking(new KnownTrees())
  for (const name of ['ab', 'c', '', 'ab', '', 'c']) assert.equal(await look(name), name)
  assert.deepEqual(loaded, ['ab', 'c', ''])
  assert.deepEqual(await Promise.all([look('x'), look('x')]), ['x', 'x'])
  assert.equal(await look('x'), 'x')
  assert.deepEqual(loaded.slice(3), ['x', 'x'])
})

test('those that were used longest ago are forgotten, by how many files they hold, and one that is too large at once', async () => {
  const { loaded, look } = looking(new KnownTrees(6))
  for (const name of ['ab', 'cd', 'ab', 'ef', 'ab', 'cd']) await look(name)
  assert.deepEqual(loaded, ['ab', 'cd', 'ef', 'cd'])
  await look('uvwxyz')
  await look('uvwxyz')
  assert.deepEqual(loaded.slice(4), ['uvwxyz', 'uvwxyz'])
})

test('what is no tree is not remembered', async () => {
  const known = new KnownTrees()
  const { cid, bytes } = treeOf('a')
  await assert.rejects(
    known.of(cid, async () => Buffer.from('x')),
    { code: 'ERR_DECODE' },
  )
  const tree = await known.of(cid, async () => bytes)
  assert.equal(tree.files.length, 1)
})
