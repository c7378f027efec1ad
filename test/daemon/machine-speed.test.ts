import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Clock } from '../../src/base/clock.ts'
import { MachineSpeed } from '../../src/daemon/machine-speed.ts'

/** Every second look at this clock is so much later than the one before; timers are run by hand. */
function slowClock(tookMs: (look: number) => number) {
  let now = 0
  let looks = 0
  const timers: { ms: number; run: () => void }[] = []
  const clock: Clock = {
    now: () => {
      if (looks++ % 2 === 1) now += tookMs(looks >> 1)
      return now
    },
    wall: () => 0,
    after(ms, run) {
      const timer = { ms, run }
      timers.push(timer)
      return () => void (timers.includes(timer) && timers.splice(timers.indexOf(timer), 1))
    },
  }
  return { clock, timers }
}

describe('the speed of a machine', () => {
  it('is that of the quickest look, and is looked at again later', () => {
    const told: number[] = []
    const { clock, timers } = slowClock((look) => (look === 7 ? 0.7 : 30))
    const speed = new MachineSpeed(clock, (permille) => told.push(permille))
    assert.equal(speed.permille, 1000)
    speed.start()
    while (timers[0] && timers[0].ms < 1000) timers.shift()?.run()
    assert.deepEqual([told, speed.permille], [[2000], 2000])
    assert.deepEqual(
      timers.map(({ ms }) => ms),
      [600_000],
    )
    speed.stop()
    assert.deepEqual(timers, [])
  })

  it('is not told once it is stopped', () => {
    const told: number[] = []
    const { clock, timers } = slowClock(() => 1)
    const speed = new MachineSpeed(clock, (permille) => told.push(permille))
    speed.start()
    timers.shift()?.run()
    speed.stop()
    assert.deepEqual([timers, told], [[], []])
  })
})
