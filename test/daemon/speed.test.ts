import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { measureSpeed } from '../../src/daemon/speed.ts'
import { VirtualTime } from '../../src/sim/virtual-time.ts'

test('the speed of a machine is what it shows at its best, in so many looks', () => {
  const time = new VirtualTime()
  const spent = [4, 3, 6, 2, 2.5, 2, 1]
  const told: number[] = []
  let looks = 0
  measureSpeed(
    time,
    (permille) => told.push(permille),
    () => spent[looks++] ?? 2,
  )
  time.run(() => false, 60_000)
  assert.deepEqual([looks, told], [40, [625, 833, 1250, 2500]])
})

test('a look that is called off is not taken', () => {
  const time = new VirtualTime()
  let looks = 0
  const stop = measureSpeed(
    time,
    () => {},
    () => ++looks,
  )
  time.run(() => false, 250)
  stop()
  time.run(() => false, 60_000)
  assert.equal(looks, 2)
})

test('a real machine is neither a hundred times as fast as the reference machine nor as slow', async () => {
  const { promise, resolve } = Promise.withResolvers<number>()
  const stop = measureSpeed(systemClock, resolve)
  // The clock's timers keep no process alive.
  const alive = setInterval(() => undefined, 1000)
  const told = await promise
  clearInterval(alive)
  stop()
  assert.ok(told > 10 && told < 100_000, `${told}`)
})
