import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { spotCheck } from '../../src/daemon/spot-check.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { ManualClock, someBytes, temporaryDirectory } from '../mesh/fixture.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('a corrupt block is found by a look at a few blocks when the node is at rest, and only then', async (t) => {
  const dir = join(await temporaryDirectory(t), 'blocks')
  const bad = Promise.withResolvers<string>()
  const init = { dir, log: silentLogger, maxBytes: 1 << 20, minFreeBytes: 0 }
  const blocks = createBlockStore({ ...init, onBad: (cid) => bad.resolve(cid.toString()) })
  await blocks.start()
  t.after(() => blocks.stop())
  const cid = await blocks.put(someBytes(200_000))
  const path = await blocks.path(cid)
  assert.ok(path)
  await writeFile(path, someBytes(200_000))
  const clock = new ManualClock()
  let isQuiet = false
  let looked = 0
  const watched = {
    keys: () => blocks.keys(),
    verify: async (options: { only: readonly string[] }) => {
      looked += 1
      return await blocks.verify(options)
    },
  }
  const stop = spotCheck({
    blocks: watched,
    clock,
    random: () => 0.5,
    log: silentLogger,
    isQuiet: () => isQuiet,
  })
  for (let at = 0; at < 100; at++) {
    clock.advance(1000)
    await turn()
  }
  assert.equal(looked, 0)
  isQuiet = true
  clock.advance(1000)
  assert.equal(await bad.promise, cid.toString())
  assert.equal(await blocks.has(cid), false)
  await stop()
  const before = looked
  clock.advance(100_000)
  await turn()
  assert.equal(looked, before)
})

test('it looks at a few blocks and no more', async () => {
  const clock = new ManualClock()
  const looked: string[] = []
  const verify = async ({ only }: { only: readonly string[] }): Promise<{ bad: number }> => {
    looked.push(...only)
    return { bad: 0 }
  }
  const keys = Array.from({ length: 100 }, (_, index) => `k${index}`)
  let at = 0
  const random = (): number => (at++ % 100) / 100
  spotCheck({ blocks: { keys: () => keys, verify }, clock, random, log: silentLogger, isQuiet: () => true })
  clock.advance(29_999)
  assert.equal(looked.length, 0)
  for (let second = 0; second < 60; second++) {
    clock.advance(1000)
    await turn()
  }
  assert.equal(new Set(looked).size, 16)
})
