import assert from 'node:assert/strict'
import { test } from 'node:test'
import { frame } from '../../src/market/frames.ts'
import { busyBuilder, idOf, LenderBench, taskBytes, terms } from './bench.ts'

test('what is linked goes to lenders that can do their part of it, and to no others', () => {
  const bench = busyBuilder()
  bench.offer('ana')
  bench.submit(1, { links: true })
  assert.equal(bench.sent('reserve').length, 0)
  bench.offer('bob', { links: true })
  bench.pass(1000)
  assert.deepEqual(
    bench.sent('reserve').map(({ to }) => to),
    ['bob'],
  )
  assert.deepEqual(bench.award('bob').task, taskBytes(1))
})

test('a lender that cannot is awarded the other units, whatever waits before them', () => {
  const bench = busyBuilder()
  bench.offer('ana')
  bench.submit(1, { links: true, rank: 9 })
  bench.submit(2, { rank: 1 })
  assert.deepEqual(bench.award('ana').task, taskBytes(2))
  assert.equal(bench.of('here', bench.release())[0]?.id, idOf(1))
})

test('an offer says so, and another one when that changes', () => {
  const bench = new LenderBench(2)
  bench.connect('ada')
  bench.receive('ada', frame('building', { build: new Uint8Array(16), active: true }))
  bench.pass(1000)
  bench.tell({ kind: 'terms', terms: { ...terms, links: true } })
  bench.pass(1000)
  const told = bench.sent('offer').map(({ links }) => links)
  assert.deepEqual([...new Set(told)], [false, true])
})
