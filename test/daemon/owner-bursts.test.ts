import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OwnerBursts } from '../../src/daemon/owner-bursts.ts'
import { TestClock } from '../watch/support.ts'

function bursts() {
  const clock = new TestClock()
  const seen = { held: false, holds: 0 }
  const made = new OwnerBursts(clock, {
    hold() {
      seen.held = true
      seen.holds += 1
    },
    letGo() {
      seen.held = false
    },
  })
  /** Begins a unit; call the answer to end it. */
  const unit = (): (() => Promise<void>) => {
    const over = Promise.withResolvers<void>()
    const running = made.during(() => over.promise)
    return async () => {
      over.resolve()
      await running
    }
  }
  return { clock, seen, made, unit }
}

test('guests stand still from the first unit to a moment after the last', async () => {
  const { clock, seen, unit } = bursts()
  const [one, two] = [unit(), unit()]
  assert.ok(seen.held)
  await one()
  clock.advance(1000)
  assert.ok(seen.held)
  await two()
  clock.advance(100)
  const three = unit()
  clock.advance(500)
  assert.ok(seen.held)
  await three()
  clock.advance(149)
  assert.ok(seen.held)
  clock.advance(1)
  assert.deepEqual(seen, { held: false, holds: 1 })
})

test('of a long build the beginning counts; what it leaves to guests shows by then', async () => {
  const { clock, seen, unit } = bursts()
  const one = unit()
  clock.advance(2500)
  assert.ok(!seen.held)
  const two = unit()
  await one()
  await two()
  clock.advance(900)
  const three = unit()
  assert.ok(!seen.held, 'the same build')
  await three()
  clock.advance(1000)
  const four = unit()
  assert.ok(seen.held, 'another one')
  await four()
})

test('a unit that fails ends too, and stopping lets go', async () => {
  const { clock, seen, made, unit } = bursts()
  await assert.rejects(
    made.during(() => Promise.reject(new Error('broken'))),
    /broken/,
  )
  clock.advance(150)
  assert.ok(!seen.held)
  clock.advance(1000)
  const one = unit()
  made.stop()
  assert.ok(!seen.held)
  await one()
})
