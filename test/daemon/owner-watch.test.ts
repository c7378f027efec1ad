import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OwnerLeaves } from '../../src/daemon/lender.ts'
import type { Machine } from '../../src/daemon/machine.ts'
import { OwnerWatch } from '../../src/daemon/owner-watch.ts'
import { TestClock } from '../watch/support.ts'

/** A machine of four processors that does what it is told. */
function watched(yields = true) {
  const now = { busy: 0, free: 8 * 1024 ** 3, battery: false }
  const machine: Machine = {
    cores: 4,
    busyCores: () => now.busy,
    freeMemoryBytes: () => now.free,
    onBattery: () => now.battery,
  }
  const clock = new TestClock()
  const told: OwnerLeaves[] = []
  const watch = new OwnerWatch(clock, machine, { yields, onChange: (leaves) => told.push(leaves) })
  watch.start()
  const seconds = (count: number): number[] =>
    Array.from({ length: count }, () => {
      clock.advance(1000)
      return watch.leaves.room
    })
  return { now, told, watch, seconds }
}

test('all processors are lent while nobody uses them', () => {
  const { now, told, seconds } = watched()
  now.busy = 0.3
  assert.deepEqual(seconds(20), Array(20).fill(4))
  assert.deepEqual(told, [{ room: 4, onBattery: false, reason: '' }])
})

test('guests make room within two seconds, and come back after five of rest', () => {
  const { now, told, seconds } = watched()
  seconds(10)
  now.busy = 3.9
  assert.deepEqual(seconds(3), [4, 0, 0])
  assert.equal(told.at(-1)?.reason, 'its owner uses it')
  now.busy = 1.2
  assert.deepEqual(seconds(6), [0, 0, 0, 0, 3, 3])
  now.busy = 0
  assert.deepEqual(seconds(6), [3, 3, 3, 3, 4, 4])
  assert.deepEqual(told.at(-1), { room: 4, onBattery: false, reason: '' })
})

test('one busy second changes nothing, nor does one of rest', () => {
  const { now, seconds } = watched()
  seconds(10)
  now.busy = 4
  assert.deepEqual(seconds(1), [4])
  now.busy = 0
  assert.deepEqual(seconds(5), [4, 4, 4, 4, 4])
  now.busy = 4
  seconds(3)
  now.busy = 0
  assert.deepEqual(seconds(1), [0])
  now.busy = 4
  assert.deepEqual(seconds(5), [0, 0, 0, 0, 0])
})

test('work that comes and goes leaves what it never takes', () => {
  const { now, seconds } = watched()
  seconds(10)
  const rooms = Array.from({ length: 20 }, (_, second) => {
    now.busy = second % 2 === 0 ? 1 : 3
    return seconds(1)[0]
  })
  assert.ok(rooms.slice(6).every((room) => room === rooms.at(-1)))
})

test('nothing is lent while memory is short, or on battery', () => {
  const { now, told, seconds } = watched()
  now.free = 512 << 20
  assert.deepEqual(seconds(2), [4, 0])
  assert.equal(told.at(-1)?.reason, 'memory is short')
  now.free = 8 * 1024 ** 3
  assert.equal(seconds(6).at(-1), 4)
  now.battery = true
  assert.equal(seconds(20).at(-1), 0)
  assert.deepEqual(told.at(-1), { room: 0, onBattery: true, reason: 'on battery' })
})

test('who does not want to make room is not asked', () => {
  const { now, told, seconds } = watched(false)
  now.busy = 4
  now.battery = true
  assert.equal(seconds(20).at(-1), Number.MAX_SAFE_INTEGER)
  assert.equal(told.length, 1)
})

test('a pause begins at once, and ends when it is time or when it is ended', () => {
  const { told, watch, seconds } = watched(false)
  watch.pause(3000)
  assert.deepEqual(told.at(-1), { room: 0, onBattery: false, reason: 'paused' })
  assert.deepEqual(seconds(4), [0, 0, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER])
  watch.pause(1000)
  watch.pause(undefined)
  assert.equal(seconds(100).at(-1), 0)
  watch.resume()
  assert.equal(told.at(-1)?.room, Number.MAX_SAFE_INTEGER)
})
