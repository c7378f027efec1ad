import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { Key } from 'interface-datastore'
import { silentLogger } from '../../src/base/log.ts'
import { createSubjectStore, type SeenAction } from '../../src/store/subjects.ts'
import { encodeCbor } from '../../src/wire/cbor.ts'
import { openIndex, recordingLog, tempDir, withCode } from './support.ts'

const subject = (n: number): string => n.toString(16).padStart(64, '0')
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const seen = (text: string, variant = 'v', outDir: Uint8Array | null = null): SeenAction => ({
  variant,
  action: bytes(text),
  outDir,
  besides: null,
})
const texts = (list: readonly SeenAction[]): string[] => list.map(({ action }) => new TextDecoder().decode(action))

test('actions of a subject come back newest first, each once, at most eight', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createSubjectStore({ datastore, log: silentLogger })
  assert.deepEqual(await store.seen(subject(1)), [])
  assert.deepEqual(await store.add(subject(1), seen('a')), [])
  assert.deepEqual(await store.add(subject(1), seen('a')), [seen('a')])
  for (const text of 'bcdefgh') await store.add(subject(1), seen(text))
  assert.deepEqual(texts(await store.add(subject(1), seen('i'))), [...'hgfedcba'])
  assert.deepEqual(texts(await store.seen(subject(1))), [...'ihgfedcb'])
  await store.add(subject(1), seen('c'))
  assert.deepEqual(texts(await store.seen(subject(1))), [...'cihgfedb'])
  assert.deepEqual(await store.seen(subject(2)), [])
})

test('one variant that changes all the time does not push out the others', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createSubjectStore({ datastore, log: silentLogger })
  await store.add(subject(1), seen('release', 'r'))
  await store.add(subject(1), seen('test', 't'))
  for (const text of 'abcdefgh') await store.add(subject(1), seen(text, 'dev'))
  assert.deepEqual(texts(await store.seen(subject(1))), [...'hgfedc', 'test', 'release'])
  for (const variant of 'stuvwxyz') await store.add(subject(1), seen(variant, variant))
  assert.deepEqual(texts(await store.seen(subject(1))), [...'zyxwvuts'])
})

test('what is kept is there after a restart, with its OUT_DIR if that is small', async (t) => {
  const dir = await tempDir(t)
  const first = await openIndex(t, dir)
  const store = createSubjectStore({ datastore: first.datastore, log: silentLogger })
  await store.add(subject(1), seen('large', 'v', randomBytes((1 << 15) + 1)))
  await store.add(subject(1), seen('small', 'v', bytes('tree')))
  await first.close()
  const second = await openIndex(t, dir)
  const again = await createSubjectStore({ datastore: second.datastore, log: silentLogger }).seen(subject(1))
  assert.deepEqual(texts(again), ['small', 'large'])
  assert.deepEqual(
    again.map(({ outDir }) => outDir && new TextDecoder().decode(outDir)),
    ['tree', null],
  )
})

test('an action that is too large is not kept, eight large ones are', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createSubjectStore({ datastore, log: silentLogger })
  await store.add(subject(1), { ...seen(''), action: randomBytes((1 << 18) + 1) })
  assert.deepEqual(await store.seen(subject(1)), [])
  for (let n = 0; n < 9; n++) {
    const large = { action: randomBytes(1 << 18), outDir: randomBytes(1 << 15), besides: randomBytes(1 << 16) }
    await store.add(subject(1), { ...seen(''), ...large })
  }
  assert.equal((await store.seen(subject(1))).length, 8)
})

test('what is besides an action is replaced with it, and left out when it is too large', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createSubjectStore({ datastore, log: silentLogger })
  const besides = async (): Promise<(string | null)[]> =>
    (await store.seen(subject(1))).map((each) => each.besides && new TextDecoder().decode(each.besides))
  for (const text of ['one', 'two', 'two']) await store.add(subject(1), { ...seen('a'), besides: bytes(text) })
  assert.deepEqual(await besides(), ['two'])
  await store.add(subject(1), { ...seen('a'), besides: randomBytes((1 << 16) + 1) })
  assert.deepEqual(await besides(), [null])
})

test('bytes that are none of its entries count as nothing, and the next add replaces them', async (t) => {
  const { datastore } = await openIndex(t)
  const { log, lines } = recordingLog()
  const store = createSubjectStore({ datastore, log })
  await store.add(subject(1), seen('good'))
  const whole = await datastore.get(new Key(`/subjects/${subject(1)}`))
  const bad = [whole.subarray(0, -1), new Uint8Array(), randomBytes(40), encodeCbor([{ variant: 1 }]).bytes]
  for (const value of bad) {
    await datastore.put(new Key(`/subjects/${subject(1)}`), value)
    assert.deepEqual(await store.seen(subject(1)), [])
  }
  assert.equal(lines.length, bad.length)
  await store.add(subject(1), seen('good'))
  assert.deepEqual(texts(await store.seen(subject(1))), ['good'])
})

test('there are never many more subjects than wanted, and the newest is among them', async (t) => {
  const { datastore } = await openIndex(t)
  await datastore.put(new Key('/traces/other'), bytes('of another'))
  const store = createSubjectStore({ datastore, log: silentLogger }, { maxSubjects: 64 })
  for (let n = 0; n < 300; n++) {
    const hex = randomBytes(32).toString('hex')
    await store.add(hex, seen(`${n}`))
    assert.deepEqual(texts(await store.seen(hex)), [`${n}`])
  }
  let left = 0
  for await (const _ of datastore.queryKeys({ prefix: '/subjects/' })) left++
  assert.ok(left > 16 && left <= 64 + 8, `${left}`)
  assert.ok(await datastore.has(new Key('/traces/other')))
})

test('adds to one subject at once all arrive', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createSubjectStore({ datastore, log: silentLogger })
  await Promise.all(['a', 'b', 'c', 'd'].map((text) => store.add(subject(1), seen(text))))
  assert.deepEqual(texts(await store.seen(subject(1))).toSorted(), ['a', 'b', 'c', 'd'])
})

test('a datastore that fails knows nothing and says so when something is to be kept', async (t) => {
  const index = await openIndex(t)
  const store = createSubjectStore({ datastore: index.datastore, log: silentLogger })
  await store.add(subject(1), seen('a'))
  await index.close()
  assert.deepEqual(await store.seen(subject(1)), [])
  await assert.rejects(store.add(subject(1), seen('b')), withCode('ERR_STORE'))
})
