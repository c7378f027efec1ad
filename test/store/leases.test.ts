import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { seededRandom } from '../../src/base/clock.ts'
import { codeOf } from '../../src/base/errors.ts'
import type { BlockStore } from '../../src/store/blocks.ts'
import { place } from '../../src/store/checkout.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { assertSame, openStore, tempDir } from './support.ts'

const KiB = 1024

test('what a piece of work asked for stays until the work has ended, and no longer', async (t) => {
  const store = await openStore(t)
  const [asked, other] = [await store.put(randomBytes(100)), await store.put(randomBytes(100))]
  await store.leasing(async () => {
    assert.equal(await store.has(asked), true)
    await store.shrink(0)
    assert.equal(await store.has(asked), true)
    assert.equal(store.stats().held, 1)
  })
  assert.equal(await store.has(other), false)
  assert.equal(store.stats().held, 0)
  await store.shrink(0)
  assert.equal(await store.has(asked), false)
})

const waysToAsk: Record<string, (store: BlockStore, bytes: Uint8Array) => Promise<unknown>> = {
  has: (store, bytes) => store.has(cidOf(bytes)),
  get: (store, bytes) => store.get(cidOf(bytes)),
  path: (store, bytes) => store.path(cidOf(bytes)),
  put: (store, bytes) => store.put(bytes),
  putVerified: (store, bytes) => store.putVerified(cidOf(bytes), bytes),
}
for (const [way, ask] of Object.entries(waysToAsk)) {
  test(`${way}() takes the lease before it looks: what comes only afterwards is leased too`, async (t) => {
    const store = await openStore(t)
    const bytes = randomBytes(5000)
    await store.leasing(async () => {
      await ask(store, bytes)
      // Somebody else puts it.
      const theirs = store.put(bytes)
      await theirs
      await store.shrink(0)
      assertSame(await store.get(cidOf(bytes)), bytes)
    })
  })
}

test('work at the same time does not lease for each other, and work that fails lets go', async (t) => {
  const store = await openStore(t)
  const [one, two] = [await store.put(randomBytes(100)), await store.put(randomBytes(100))]
  const gate = Promise.withResolvers<void>()
  const first = store.leasing(async () => {
    await store.has(one)
    await gate.promise
    throw new Error('as planned')
  })
  await store.leasing(async () => void (await store.has(two)))
  await store.shrink(0)
  assert.deepEqual([await store.has(one), await store.has(two)], [true, false])
  gate.resolve()
  await assert.rejects(first, /as planned/)
  await store.shrink(0)
  assert.equal(await store.has(one), false)
})

test('what goes on in the background when the work has ended leases nothing', async (t) => {
  const store = await openStore(t)
  const cid = await store.put(randomBytes(100))
  const gate = Promise.withResolvers<void>()
  let background: Promise<boolean> | undefined
  await store.leasing(async () => {
    background = gate.promise.then(() => store.has(cid))
  })
  gate.resolve()
  assert.equal(await background, true)
  assert.equal(store.stats().held, 0)
})

test('eight builders beside a collector that never rests: nobody misses a block that he leased', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir: join(dir, 'store'), maxBytes: 700 * KiB })
  const blocks = Array.from({ length: 120 }, (_, number) => Buffer.alloc((1 + (number % 15)) * KiB, number))
  const figures = { placed: 0, missed: 0, refused: 0 }
  let building = 8

  const unit = async (outDir: string, random: () => number): Promise<void> => {
    const outputs = Array.from({ length: 3 }, () => blocks[Math.floor(random() * blocks.length)] ?? Buffer.alloc(0))
    const held: boolean[] = []
    for (const bytes of outputs) held.push(await store.has(cidOf(bytes)))
    if (held.includes(false)) {
      figures.missed++
      for (const bytes of outputs) await store.put(bytes)
    }
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    for (const [at, bytes] of outputs.entries()) {
      const name = `out-${at}`
      await place([{ name, cid: cidOf(bytes) }], { outDir, blocks: store })
      figures.placed++
    }
  }
  const builder = async (worker: number): Promise<void> => {
    const outDir = join(dir, `target-${worker}`)
    mkdirSync(outDir)
    const random = seededRandom(worker)
    try {
      for (let n = 0; n < 150; n++) {
        try {
          await store.leasing(() => unit(outDir, random))
        } catch (error) {
          // All that is there is leased by the others: a build goes on without the store then.
          if (codeOf(error) !== 'ERR_DISK_FULL') throw error
          figures.refused++
        }
      }
    } finally {
      building--
    }
  }
  const collector = async (): Promise<void> => {
    while (building > 0) {
      await store.shrink(0)
      await nextTurn()
    }
  }
  await Promise.all([collector(), ...Array.from({ length: 8 }, (_, worker) => builder(worker))])
  assert.equal(store.stats().held, 0)
  assert.ok(store.stats().evicted > 500, `${store.stats().evicted} evicted`)
  assert.ok(figures.placed > 2000 && figures.missed > 100, JSON.stringify(figures))
  assert.ok(store.stats().bytes <= 700 * KiB)
  assert.equal((await store.verify()).bad, 0)
})
