import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LastUnits } from '../../src/daemon/last-units.ts'

function shim(): { finish(): void; finished: boolean } {
  return {
    finished: false,
    finish() {
      this.finished = true
    },
  }
}

test('a shim whose build goes on is let go at once', () => {
  const units = new LastUnits()
  const [first, second] = [units.begin(1), units.begin(1)]
  const one = shim()
  first.over(one)
  assert.ok(one.finished)
  first.end()
  second.end()
})

test('the last shim of a build waits for everything that is still being kept', () => {
  const units = new LastUnits()
  const [first, second, stranger] = [units.begin(1), units.begin(1), units.begin(2)]
  const [one, two] = [shim(), shim()]
  first.over(one)
  assert.ok(one.finished)
  second.over(two)
  second.end()
  assert.ok(!two.finished, 'the first one is still being kept')
  first.end()
  assert.ok(two.finished)
  stranger.end()
})

test('another build keeps nobody waiting, and a unit that failed lets all go', () => {
  const units = new LastUnits()
  const [first, stranger] = [units.begin(1), units.begin(2)]
  const [one, other] = [shim(), shim()]
  first.over(one)
  assert.ok(!one.finished)
  stranger.over(other)
  stranger.end()
  assert.ok(other.finished)
  assert.ok(!one.finished)
  first.end()
  assert.ok(one.finished)
})

test('drained() waits for the end of all', async () => {
  const units = new LastUnits()
  await units.drained()
  const [first, second] = [units.begin(1), units.begin(2)]
  let drained = false
  const draining = units.drained().then(() => {
    drained = true
  })
  first.end()
  await Promise.resolve()
  assert.ok(!drained)
  second.end()
  await draining
})
