import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Gauge } from '../../src/market/gauge.ts'
import { Links } from '../../src/market/links.ts'

/** What is thought of a lender whose compile begins after so long, and then gets all of a processor. */
function rates(layOutMs: number, beginsMs: number): (number | undefined)[] {
  const gauge = new Gauge(0, layOutMs)
  return [500, 1000, 1500, 2000, 2500].map((now) => {
    gauge.read(now, { cpuMs: Math.max(0, now - beginsMs), fetchedBytes: 0, fetchMs: 0 })
    return gauge.rate
  })
}

test('until a compile begins nothing is known of its pace, as long as its lender may need for that', () => {
  assert.deepEqual(rates(3000, 1500), [undefined, undefined, undefined, 1, 1])
  assert.deepEqual(rates(0, 9000), [0, 0, 0, 0, 0])
  assert.deepEqual(rates(2000, 9000), [undefined, undefined, undefined, 0, 0])
})

test('a lender may need twice as long as it took the last times, and an unknown one no time at all', () => {
  const links = new Links()
  assert.equal(links.layOutMs('ana'), 0)
  const done = { outputBytes: 0n, wallMs: 1000, fetchMs: 200 } as Parameters<Links['made']>[2]
  for (let times = 0; times < 40; times++) links.made('ana', `unit ${times}`, done, 2000)
  assert.ok(Math.abs(links.layOutMs('ana') - 1600) < 1)
  assert.equal(links.layOutMs('ben'), 0)
})
