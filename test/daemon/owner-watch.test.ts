import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OwnerLeaves } from '../../src/daemon/lender.ts'
import type { Machine } from '../../src/daemon/machine.ts'
import { OwnerWatch } from '../../src/daemon/owner-watch.ts'
import { TestClock } from '../watch/support.ts'

/** A machine of four processors that does what it is told. */
function watched(yields = true, inUse?: number, cores = 4) {
  const now = { busy: 0, free: 8 * 1024 ** 3, battery: false, input: false }
  const clock = new TestClock()
  const looks: number[] = []
  const machine: Machine = {
    cores,
    busyCores: () => now.busy,
    freeMemoryBytes: () => now.free,
    onBattery: () => now.battery,
    hadInput() {
      looks.push(clock.now())
      return now.input
    },
  }
  const told: OwnerLeaves[] = []
  const watch = new OwnerWatch(clock, machine, { yields, inUse, onChange: (leaves) => told.push(leaves) })
  watch.start()
  const seconds = (count: number): number[] =>
    Array.from({ length: count }, () => {
      clock.advance(1000)
      return watch.leaves.room
    })
  return { now, told, watch, seconds, looks }
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

const atKeyboard = 'its owner is at the keyboard'

test('half of the processors are lent while somebody sits there, until nobody has for three minutes', () => {
  const { now, told, seconds } = watched()
  seconds(10)
  now.input = true
  // Two looks for input, five seconds apart, and two at what is left.
  assert.deepEqual(seconds(10), [4, 4, 4, 4, 4, 4, 2, 2, 2, 2])
  assert.deepEqual(told.at(-1), { room: 2, onBattery: false, reason: atKeyboard })
  now.input = false
  assert.deepEqual([...new Set(seconds(170))], [2])
  // One key, and it is three minutes again.
  now.input = true
  seconds(5)
  now.input = false
  assert.deepEqual([...new Set(seconds(170))], [2])
  const back = seconds(30)
  assert.deepEqual([back[0], back.at(-1)], [2, 4])
  assert.deepEqual(told.at(-1), { room: 4, onBattery: false, reason: '' })
})

test('one knock against the table is nobody, however often it comes', () => {
  const { now, seconds } = watched()
  seconds(10)
  for (let knock = 0; knock < 20; knock += 1) {
    now.input = true
    assert.deepEqual(seconds(5), Array(5).fill(4))
    now.input = false
    assert.deepEqual(seconds(10), Array(10).fill(4))
  }
})

test('who sits there and works has what the work takes, and none of it is taken off twice', () => {
  const { now, told, seconds } = watched(true, undefined, 8)
  now.input = true
  now.busy = 2
  assert.equal(seconds(30).at(-1), 4)
  assert.equal(told.at(-1)?.reason, atKeyboard)
  // As many are left, for another reason.
  now.busy = 4.3
  assert.deepEqual([...new Set(seconds(10))], [4])
  assert.equal(told.at(-1)?.reason, 'its owner uses it')
  now.busy = 6
  assert.equal(seconds(10).at(-1), 2)
  assert.equal(told.at(-1)?.reason, 'its owner uses it')
  now.battery = true
  assert.equal(seconds(20).at(-1), 0)
  assert.equal(told.at(-1)?.reason, 'on battery')
})

test('how much is lent while somebody sits there can be said; one processor is, where nothing else is said', () => {
  for (const [inUse, cores, expected] of [
    [undefined, 1, 1],
    [undefined, 2, 1],
    [undefined, 7, 3],
    [0, 4, 0],
    [3, 4, 3],
    [64, 4, 4],
  ] as const) {
    const { now, told, seconds } = watched(true, inUse, cores)
    now.input = true
    assert.equal(seconds(30).at(-1), expected, `${inUse} of ${cores}`)
    assert.equal(told.at(-1)?.reason, expected === cores ? '' : atKeyboard)
  }
})

test('input is looked for every five seconds', () => {
  const { seconds, looks } = watched()
  seconds(60)
  assert.equal(looks.length, 13)
})

test('who does not want to make room is not asked', () => {
  const { now, told, seconds, looks } = watched(false)
  now.busy = 4
  now.battery = true
  now.input = true
  assert.equal(seconds(20).at(-1), Number.MAX_SAFE_INTEGER)
  assert.equal(told.length, 1)
  assert.equal(looks.length, 0)
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
