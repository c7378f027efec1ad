import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { assertSame, flipBit, namesIn, openStore, tamper, tempDir } from './support.ts'

test('a pinned block outlasts collections and restarts, until it is unpinned', async (t) => {
  const dir = await tempDir(t)
  const first = await openStore(t, { dir })
  const bytes = randomBytes(1000)
  const cid = await first.put(bytes)
  assert.equal(await first.pin(cid), true)
  assert.equal(await first.pin(cid), true)
  await first.shrink(0)
  assert.deepEqual([first.stats().pinned, first.stats().held], [1, 1])
  await first.stop()

  const second = await openStore(t, { dir })
  assert.equal(second.stats().pinned, 1)
  await second.shrink(0)
  assertSame(await second.get(cid), bytes)
  await second.unpin(cid)
  await second.unpin(cid)
  assert.deepEqual(await namesIn(join(dir, 'pins')), [])
  await second.shrink(0)
  assert.equal(await second.has(cid), false)
})

test('what is not here, or is corrupt, cannot be pinned', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir })
  assert.equal(await store.pin(cidOf(Buffer.from('absent'))), false)
  const cid = await store.put(randomBytes(1000))
  tamper((await store.path(cid)) ?? '', flipBit)
  assert.equal(await store.pin(cid), false)
  assert.deepEqual([store.stats().pinned, store.stats().held], [0, 0])
  assert.deepEqual(await namesIn(join(dir, 'pins')), [])
})

test('remove() and purge() take pinned blocks too; purge() leaves what somebody uses', async (t) => {
  const store = await openStore(t)
  const cids = await Promise.all(Array.from({ length: 4 }, () => store.put(randomBytes(100))))
  for (const cid of cids) await store.pin(cid)
  const [first, second] = cids
  assert.ok(first && second)
  await store.remove(first)
  assert.equal(store.stats().pinned, 3)
  const release = store.hold(second)
  assert.deepEqual(await store.purge(), { blocks: 2, bytes: 200 })
  assert.deepEqual(store.keys(), [hexOf(second)])
  assert.equal(store.stats().pinned, 0)
  release()
  await store.purge()
  assert.equal(store.stats().blocks, 0)
})

test('names in the directory of pins that are none change nothing, and drafts are removed', async (t) => {
  const dir = await tempDir(t)
  const first = await openStore(t, { dir })
  const cid = await first.put(randomBytes(10))
  await first.pin(cid)
  await first.stop()
  const draft = `${hexOf(cid)}.01234567-89ab-cdef-0123-456789abcdef.tmp`
  for (const name of [draft, 'notes', 'ab']) writeFileSync(join(dir, 'pins', name), '')
  const second = await openStore(t, { dir })
  assert.equal(second.stats().pinned, 1)
  assert.deepEqual(await namesIn(join(dir, 'pins')), [hexOf(cid), 'ab', 'notes'].toSorted())
})
