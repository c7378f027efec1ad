import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Key } from 'interface-datastore'
import { silentLogger } from '../../src/base/log.ts'
import { type ClosureMember, createClosureStore } from '../../src/store/closures.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { openIndex, tempDir, withCode } from './support.ts'

const member = (name: string): ClosureMember => ({ name, cid: cidOf(Buffer.from(name)) })
const metadata = 'ab'.repeat(32)

test('a closure comes back sorted, from memory and after a restart', async (t) => {
  const dir = await tempDir(t)
  const first = await openIndex(t, dir)
  const store = createClosureStore({ datastore: first.datastore, log: silentLogger })
  assert.equal(await store.get(metadata), undefined)
  assert.equal(await store.members(metadata), undefined)
  await store.put(metadata, ['libz-1.rmeta', 'liba-2.rmeta', 'libmac ro-3.so'].map(member))
  const names = ['liba-2.rmeta', 'libmac ro-3.so', 'libz-1.rmeta']
  assert.deepEqual(await store.get(metadata), names)
  await first.close()
  const second = await openIndex(t, dir)
  const again = createClosureStore({ datastore: second.datastore, log: silentLogger })
  assert.deepEqual(await again.get(metadata), names)
  const members = await again.members(metadata)
  assert.deepEqual(
    members?.map(({ name }) => name),
    names,
  )
  for (const { name, cid } of members ?? []) assert.ok(cid.equals(member(name).cid))
})

test('reaching nothing is not the same as not being known', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createClosureStore({ datastore, log: silentLogger })
  await store.put(metadata, [])
  const again = createClosureStore({ datastore, log: silentLogger })
  assert.deepEqual(await again.get(metadata), [])
  assert.deepEqual(await again.members(metadata), [])
})

test('names that are no file names and closures beyond all reason are refused', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createClosureStore({ datastore, log: silentLogger })
  for (const name of ['', '.', '..', 'a/b', 'a\nb', 'a\0b', 'a\\b']) {
    await assert.rejects(store.put(metadata, [member(name)]), withCode('ERR_LIMIT'), JSON.stringify(name))
  }
  const many = Array.from({ length: 16_385 }, (_, n) => member(`lib${n}.rmeta`))
  await assert.rejects(store.put(metadata, many), withCode('ERR_LIMIT'))
  assert.equal(await store.get(metadata), undefined)
  await store.put(metadata, many.slice(1))
  assert.equal((await store.get(metadata))?.length, 16_384)
})

test('a garbage entry counts as unknown', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createClosureStore({ datastore, log: silentLogger })
  for (const text of ['\n', 'zz libfoo.rmeta', `${'0'.repeat(64)} ../evil`, `${'0'.repeat(64)}`]) {
    await datastore.put(new Key(`/closures/${metadata}`), Buffer.from(text))
    assert.equal(await store.get(metadata), undefined, text)
    assert.equal(await store.members(metadata), undefined, text)
  }
})

test('more closures than fit in memory are all known', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createClosureStore({ datastore, log: silentLogger })
  const names = Array.from({ length: 9_000 }, (_, n) => `lib${String(n).padStart(5, '0')}.rmeta`)
  for (let n = 0; n < 15; n++) await store.put(String(n).padStart(64, '0'), names.map(member))
  for (let n = 0; n < 15; n++) assert.deepEqual(await store.get(String(n).padStart(64, '0')), names)
})
