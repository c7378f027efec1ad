import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LanePace } from '../../src/mesh/lane-pace.ts'
import { ManualClock } from './fixture.ts'

const KiB = 1024
const outstanding = 1024 * KiB

/** A lane that gets `wire` bytes per second, in which there are `times` as many of blocks once they are compressed. */
function laneAt(plain: number, compressed: number, ratio: number) {
  const clock = new ManualClock()
  const pace = new LanePace(clock, () => assert.fail('given up'))
  pace.begin()
  const stepMs = 10
  return {
    pace,
    clock,
    run(ms: number, isCompressed = pace.wantsZstd): void {
      for (let at = 0; at < ms; at += stepMs) {
        clock.advance(stepMs)
        const content = ((isCompressed ? compressed : plain) * stepMs) / 1000
        pace.moved(isCompressed ? content * ratio : content, outstanding)
        pace.delivered(content, isCompressed)
      }
    },
  }
}

test('on a slow link blocks come compressed, and go on so', () => {
  // 5 MB/s of wire, whatever is in it.
  const { pace, run } = laneAt(5e6, 5e6 / 0.4, 0.4)
  run(50)
  assert.equal(pace.wantsZstd, false)
  run(100)
  assert.equal(pace.wantsZstd, true)
  for (let second = 0; second < 20; second++) {
    run(1000)
    assert.equal(pace.wantsZstd, true, `after ${second} s`)
  }
})

test('where it is a machine that is slow they do not, but for a trial now and then', () => {
  const { pace, run } = laneAt(5e6, 4e6, 0.4)
  run(200)
  assert.equal(pace.wantsZstd, true)
  run(600)
  assert.equal(pace.wantsZstd, false)
  run(29_000)
  assert.equal(pace.wantsZstd, false)
  run(2000, false)
  assert.equal(pace.wantsZstd, true)
  run(600)
  assert.equal(pace.wantsZstd, false)
})

test('on a fast link nothing is compressed', () => {
  const { pace, run } = laneAt(100e6, 100e6, 0.4)
  run(2000)
  assert.equal(pace.wantsZstd, false)
})
