import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { lstatSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import type { CID } from 'multiformats/cid'
import { cidFromDigest, cidOf, hexOf } from '../../src/wire/cid.ts'
import { ManualClock, openStore, tempDir, withCode } from './support.ts'

const KiB = 1024

test('the store stays under its cap and keeps what was used last', async (t) => {
  const evicted: string[] = []
  const store = await openStore(t, { maxBytes: 1000 * KiB, onEvicted: (hexes) => void evicted.push(...hexes) })
  const cids: CID[] = []
  for (let n = 0; n < 40; n++) {
    cids.push(await store.put(randomBytes(50 * KiB)))
    assert.ok(store.stats().bytes <= 1000 * KiB)
    // The first block is used again and again.
    assert.ok(cids[0] && (await store.path(cids[0])))
  }
  await store.stop()
  assert.ok(cids[0] && (await store.has(cids[0])))
  assert.ok(cids[39] && (await store.has(cids[39])))
  assert.ok(cids[1] && !(await store.has(cids[1])))
  const kept = new Set(store.keys())
  assert.deepEqual(
    evicted.toSorted(),
    cids
      .map(hexOf)
      .filter((hex) => !kept.has(hex))
      .toSorted(),
  )
  assert.equal(store.stats().evicted, evicted.length)
})

test('get() counts as use', async (t) => {
  const store = await openStore(t, { maxBytes: 100 * KiB })
  const first = await store.put(randomBytes(30 * KiB))
  const second = await store.put(randomBytes(30 * KiB))
  await store.get(first)
  await store.put(randomBytes(50 * KiB))
  assert.equal(await store.has(first), true)
  assert.equal(await store.has(second), false)
})

test('a held block is never evicted; room that only held blocks take is refused', async (t) => {
  const store = await openStore(t, { maxBytes: 100 * KiB })
  const held = randomBytes(60 * KiB)
  const releases = [store.hold(cidOf(held)), store.hold(cidOf(held))]
  const cid = await store.put(held)
  for (let n = 0; n < 10; n++) await store.put(randomBytes(30 * KiB))
  assert.ok(await store.get(cid))
  await assert.rejects(store.put(randomBytes(50 * KiB)), withCode('ERR_DISK_FULL'))
  assert.equal(store.stats().refusing, false, 'the disk is fine')
  releases[0]?.()
  releases[0]?.()
  await assert.rejects(store.put(randomBytes(50 * KiB)), withCode('ERR_DISK_FULL'))
  assert.ok(await store.get(cid), 'releasing one hold twice does not release the other')
  releases[1]?.()
  await store.put(randomBytes(50 * KiB))
  assert.equal(await store.get(cid), undefined)
})

test('many puts at once stay under the cap', async (t) => {
  const store = await openStore(t, { maxBytes: 2000 * KiB })
  await Promise.all(Array.from({ length: 200 }, () => store.put(randomBytes(40 * KiB))))
  assert.ok(store.stats().bytes <= 2000 * KiB)
  assert.deepEqual((await store.verify()).bad, 0)
  assert.ok(store.stats().blocks > 30)
})

test('any sequence of puts, reads, holds and releases stays under the cap and loses no held block', async (t) => {
  const dir = await tempDir(t)
  const step = fc.record({ call: fc.constantFrom('put', 'put', 'put', 'get', 'hold', 'release'), n: fc.nat(19) })
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      const store = await openStore(t, { dir: join(dir, String(run++)), maxBytes: 60 * KiB })
      const holds = new Map<number, () => void>()
      const present = new Set<number>()
      const block = (n: number): Buffer => Buffer.alloc((1 + (n % 7)) * 2 * KiB, `block ${n}`)
      for (const { call, n } of steps) {
        const cid = cidOf(block(n))
        if (call === 'put') {
          await store.put(block(n)).then(
            () => present.add(n),
            (error: unknown) => assert.ok(withCode('ERR_DISK_FULL')(error)),
          )
        } else if (call === 'get') await store.get(cid)
        else if (call === 'hold' && !holds.has(n) && (await store.has(cid))) holds.set(n, store.hold(cid))
        else if (call === 'release') {
          holds.get(n)?.()
          holds.delete(n)
        }
        assert.ok(store.stats().bytes <= 60 * KiB)
        for (const heldBlock of holds.keys()) assert.ok(await store.get(cidOf(block(heldBlock))), `block ${heldBlock}`)
      }
      await store.stop()
    }),
    { numRuns: 40 },
  )
})

test('a block that is held while others are being removed stays', async (t) => {
  const store = await openStore(t)
  for (let n = 0; n < 300; n++) await store.put(randomBytes(100))
  const last = store.keys().at(-1) ?? ''
  const shrunk = store.shrink(0)
  while (store.stats().blocks === 300) await nextTurn()
  const release = store.hold(cidFromDigest(Buffer.from(last, 'hex')))
  await shrunk
  assert.deepEqual(store.keys(), [last])
  release()
})

test('after a restart the time of a file says how lately it was used', async (t) => {
  const dir = await tempDir(t)
  const first = await openStore(t, { dir })
  const cids = await Promise.all(Array.from({ length: 12 }, () => first.put(randomBytes(100))))
  const now = Math.floor(Date.now() / 1000)
  for (const [n, cid] of cids.entries()) utimesSync((await first.path(cid)) ?? '', now - n, now - n)
  await first.stop()
  const second = await openStore(t, { dir })
  assert.deepEqual(second.keys(), cids.map(hexOf).toReversed())
})

test('use keeps a file young: its time moves once a day', async (t) => {
  const clock = new ManualClock()
  const store = await openStore(t, { clock })
  const cid = await store.put(randomBytes(100))
  const path = (await store.path(cid)) ?? ''
  const before = lstatSync(path).mtimeMs
  await store.get(cid)
  assert.equal(lstatSync(path).mtimeMs, before)
  clock.ms += 25 * 3600_000
  await store.get(cid)
  assert.ok(lstatSync(path).mtimeMs > before + 24 * 3600_000)
  assert.equal(await store.path(cid), path)
})

test('putFile() makes room as put() does', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir: join(dir, 'store'), maxBytes: 4000 * KiB })
  const file = join(dir, 'source')
  for (let n = 0; n < 6; n++) {
    writeFileSync(file, randomBytes(1500 * KiB))
    const { cid } = await store.putFile(file, { maxBytes: 1 << 30 })
    assert.ok(await store.path(cid))
    assert.ok(store.stats().bytes <= 4000 * KiB)
  }
})
