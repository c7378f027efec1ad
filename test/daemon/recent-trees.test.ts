import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecentTrees } from '../../src/daemon/recent-trees.ts'
import type { DigestedTree } from '../../src/plan/trees.ts'

test('a package from a registry is walked once in half a minute, and others each time', async () => {
  let now = 0
  let fails = false
  const walks: string[] = []
  const trees = new RecentTrees(
    {
      tree: async (dir) => {
        walks.push(dir)
        if (fails) throw new Error('gone')
        return { dir } as DigestedTree
      },
    },
    { now: () => now },
  )
  const walked = async (dir: string, publicSource: boolean): Promise<number> => {
    walks.length = 0
    await Promise.all([trees.tree(dir, publicSource), trees.tree(dir, publicSource)])
    return walks.length
  }
  assert.equal(await walked('a', true), 1)
  assert.equal(await walked('b', false), 2)
  now = 29_999
  assert.equal(await walked('a', true), 0)
  assert.equal(await walked('c', true), 1)
  now = 30_000
  assert.equal(await walked('a', true), 1)
  assert.equal(await walked('c', true), 0)
  fails = true
  now = 90_000
  await assert.rejects(walked('a', true), /gone/)
  fails = false
  assert.equal(await walked('a', true), 1)
})
