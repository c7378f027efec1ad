import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { Key } from 'interface-datastore'
import { silentLogger } from '../../src/base/log.ts'
import { createTraceStore } from '../../src/store/traces.ts'
import { assertSame, openIndex, recordingLog, tempDir, withCode } from './support.ts'

const key = (n: number): string => n.toString(16).padStart(64, '0')
const trace = (text: string): Uint8Array => new TextEncoder().encode(text)
const texts = (traces: readonly Uint8Array[]): string[] => traces.map((bytes) => new TextDecoder().decode(bytes))

test('traces come back newest first, each once, at most eight', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createTraceStore({ datastore, log: silentLogger })
  assert.deepEqual(await store.traces(key(1)), [])
  for (let n = 0; n < 10; n++) await store.add(key(1), trace(`t${n}`))
  assert.deepEqual(texts(await store.traces(key(1))), ['t9', 't8', 't7', 't6', 't5', 't4', 't3', 't2'])
  await store.add(key(1), trace('t5'))
  assert.deepEqual(texts(await store.traces(key(1))), ['t5', 't9', 't8', 't7', 't6', 't4', 't3', 't2'])
  assert.deepEqual(await store.traces(key(2)), [])
})

test('the traces of one key are bounded in bytes; the oldest go', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createTraceStore({ datastore, log: silentLogger })
  const traces = Array.from({ length: 6 }, () => randomBytes(500_000))
  for (const each of traces) await store.add(key(1), each)
  const kept = await store.traces(key(1))
  assert.equal(kept.length, 4)
  for (const [n, each] of traces.toReversed().slice(0, 4).entries()) assertSame(kept[n], each)
  await assert.rejects(store.add(key(1), randomBytes((1 << 19) + 1)), withCode('ERR_LIMIT'))
})

test('remove() takes one trace, or all of a key', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createTraceStore({ datastore, log: silentLogger })
  for (const text of ['a', 'b', 'c']) await store.add(key(1), trace(text))
  await store.remove(key(1), trace('b'))
  await store.remove(key(1), trace('never added'))
  assert.deepEqual(texts(await store.traces(key(1))), ['c', 'a'])
  await store.remove(key(1))
  assert.deepEqual(await store.traces(key(1)), [])
  await store.remove(key(1))
  assert.equal(await store.count(), 0)
})

test('keys() and count() know what is there, also after a restart', async (t) => {
  const dir = await tempDir(t)
  const first = await openIndex(t, dir)
  const store = createTraceStore({ datastore: first.datastore, log: silentLogger })
  await first.datastore.put(new Key('/closures/xyz'), trace('of another'))
  await store.add(key(1), trace('a'))
  assert.equal(await store.count(), 1)
  await store.add(key(2), trace('a'))
  await store.add(key(2), trace('b'))
  await store.add(key(3), trace('c'))
  await store.remove(key(3), trace('c'))
  assert.equal(await store.count(), 2)
  await first.close()
  const second = await openIndex(t, dir)
  const again = createTraceStore({ datastore: second.datastore, log: silentLogger })
  const keys: string[] = []
  for await (const each of again.keys()) keys.push(each)
  assert.deepEqual(keys, [key(1), key(2)])
  assert.equal(await again.count(), 2)
  assert.deepEqual(texts(await again.traces(key(2))), ['b', 'a'])
})

test('adds to one key at once all arrive', async (t) => {
  const { datastore } = await openIndex(t)
  const store = createTraceStore({ datastore, log: silentLogger })
  await Promise.all(Array.from({ length: 8 }, (_, n) => store.add(key(1), trace(`t${n}`))))
  assert.equal((await store.traces(key(1))).length, 8)
  assert.equal(await store.count(), 1)
})

test('an entry that is garbage is a miss, and the next add replaces it', async (t) => {
  const { datastore } = await openIndex(t)
  const { log, lines } = recordingLog()
  const good = trace('good')
  await createTraceStore({ datastore, log }).add(key(1), good)
  const store = createTraceStore({ datastore, log })
  const whole = await datastore.get(new Key(`/traces/${key(1)}`))
  for (const bytes of [whole.subarray(0, whole.length - 1), new Uint8Array(), randomBytes(40), trace('{}')]) {
    await datastore.put(new Key(`/traces/${key(1)}`), bytes)
    assert.deepEqual(await store.traces(key(1)), [])
  }
  assert.equal(lines.length, 4)
  await store.add(key(1), good)
  assert.deepEqual(texts(await store.traces(key(1))), ['good'])
})

test('a datastore that fails to read is a miss', async (t) => {
  const index = await openIndex(t)
  const store = createTraceStore({ datastore: index.datastore, log: silentLogger })
  await store.add(key(1), trace('a'))
  await index.close()
  assert.deepEqual(await createTraceStore({ datastore: index.datastore, log: silentLogger }).traces(key(1)), [])
  await assert.rejects(store.add(key(1), trace('b')), withCode('ERR_STORE'))
})

test('any sequence of adds and removes behaves as a bounded list', async (t) => {
  const { datastore } = await openIndex(t)
  const step = fc.record({ call: fc.constantFrom('add', 'add', 'remove'), n: fc.nat(11) })
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const store = createTraceStore({ datastore, log: silentLogger })
      const at = key(run++)
      let model: string[] = []
      for (const { call, n } of steps) {
        const text = `trace ${n}`
        model = model.filter((other) => other !== text)
        if (call === 'add') {
          model = [text, ...model].slice(0, 8)
          await store.add(at, trace(text))
        } else await store.remove(at, trace(text))
        assert.deepEqual(texts(await store.traces(at)), model)
        assert.deepEqual(texts(await createTraceStore({ datastore, log: silentLogger }).traces(at)), model)
      }
    }),
  )
})

test('what was read while something was written is not remembered', async (t) => {
  const { datastore } = await openIndex(t)
  await createTraceStore({ datastore, log: silentLogger }).add(key(1), trace('old'))
  for (let round = 0; round < 20; round++) {
    const store = createTraceStore({ datastore, log: silentLogger })
    const reads = [store.traces(key(1)), store.traces(key(1))]
    await Promise.all([...reads, store.add(key(1), trace(`new ${round}`)), store.traces(key(1))])
    assert.equal(texts(await store.traces(key(1)))[0], `new ${round}`)
  }
})
