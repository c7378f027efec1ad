import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isEnd, isWhole, spend } from '../../src/mesh/spent.ts'

test('the memory of spent bytes is gone at once', () => {
  const bytes = new Uint8Array(1000)
  const other = new Uint8Array(1000)
  spend(bytes)
  assert.equal(bytes.length, 0)
  assert.equal(bytes.buffer.byteLength, 0)
  assert.equal(other.length, 1000)
})

test('bytes in memory that workers share are left alone', () => {
  const bytes = new Uint8Array(new SharedArrayBuffer(10))
  spend(bytes)
  assert.equal(bytes.length, 10)
})

test('bytes are told from others in the same memory', () => {
  const memory = new Uint8Array(10)
  const looks = [memory, memory.subarray(0, 9), memory.subarray(1), memory.subarray(1, 9)]
  assert.deepEqual(looks.map(isWhole), [true, false, false, false])
  assert.deepEqual(looks.map(isEnd), [true, false, true, false])
  // What Node takes from its pool is never all of that.
  assert.equal(isWhole(Buffer.from('shoal')), false)
})
