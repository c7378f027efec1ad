import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { seededRandom } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { type Audit, Audits, isToBeAudited } from '../../src/daemon/audits.ts'
import type { Verdict } from '../../src/daemon/verdict.ts'
import { ManualClock } from '../mesh/fixture.ts'

/** A machine of which the test says what it does. */
class Machine {
  readonly clock = new ManualClock()
  isQuiet = true
  isReady = true
  battery = false
  readonly settled: Verdict['kind'][] = []
  /** Reruns that were begun, and given up. */
  begun = 0
  aborted = 0
  hangs = false
  /** Somebody's task runs here, and another one comes as soon as it is over. */
  hasGuests = false
  isHeld = false
  /** Whether a guest is gone as soon as no more of them come. */
  endsHeld = true
  busyCores = 0
  readonly holds: boolean[] = []
  readonly audits = new Audits({
    clock: this.clock,
    random: seededRandom(3),
    log: silentLogger,
    machine: {
      cores: 2,
      busyCores: () => this.busyCores,
      onBattery: () => this.battery,
      freeMemoryBytes: () => 2 ** 40,
    },
    isQuiet: () => this.isQuiet && !(this.hasGuests && !(this.isHeld && this.endsHeld)),
    guests: {
      areAll: () => this.isQuiet,
      hold: (isHeld) => {
        this.isHeld = isHeld
        this.holds.push(isHeld)
      },
    },
    isReady: () => this.isReady,
  })

  audit(key: string): Audit {
    return {
      key,
      crate: key,
      case: async () => ({ claims: [], own: undefined, usesMacros: false }),
      rerun: async (signal) => {
        this.begun += 1
        if (this.hangs) {
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
          this.aborted += 1
        }
        return { outputs: new Uint8Array(32), reads: undefined }
      },
      settle: async ({ kind }) => void this.settled.push(kind),
    }
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      this.clock.advance(100)
      for (let turns = 0; turns < 5; turns += 1) await turn()
    }
  }
}

test('audits run one after the other once the machine has been at rest', async () => {
  const machine = new Machine()
  for (const key of ['a', 'b', 'a']) machine.audits.add(machine.audit(key))
  await machine.pass(2500)
  assert.equal(machine.begun, 0)
  await machine.pass(2500)
  assert.deepEqual(machine.settled, ['agreed', 'agreed'])
  assert.deepEqual(machine.audits.stats, { waiting: 0, run: 2, agreed: 2, unsteady: 0, disagreed: 0, open: 0 })
})

test('none runs while there is work, or on battery', async () => {
  const machine = new Machine()
  machine.isQuiet = false
  machine.audits.add(machine.audit('a'))
  await machine.pass(20_000)
  machine.isQuiet = true
  machine.battery = true
  await machine.pass(20_000)
  assert.equal(machine.begun, 0)
  machine.battery = false
  await machine.pass(31_000)
  assert.deepEqual(machine.settled, ['agreed'])
})

test('those that come before it is known what can be run here wait for that', async () => {
  const machine = new Machine()
  machine.isReady = false
  machine.audits.add(machine.audit('a'))
  await machine.pass(60_000)
  assert.deepEqual([machine.begun, machine.audits.stats.waiting], [0, 1])
  machine.isReady = true
  await machine.pass(1000)
  assert.deepEqual(machine.settled, ['agreed'])
})

test('what runs gives way to a build, and is run again later', async () => {
  const machine = new Machine()
  machine.hangs = true
  machine.audits.add(machine.audit('a'))
  await machine.pass(5000)
  assert.deepEqual([machine.begun, machine.aborted], [1, 0])
  machine.audits.giveWay()
  await machine.pass(2000)
  assert.deepEqual([machine.begun, machine.aborted], [1, 1])
  machine.hangs = false
  await machine.pass(5000)
  assert.deepEqual(machine.settled, ['agreed'])
})

test('who has a task here at all times keeps none from being run: for each there is room after a while', async () => {
  const machine = new Machine()
  machine.hasGuests = true
  for (const key of ['a', 'b']) machine.audits.add(machine.audit(key))
  await machine.pass(290_000)
  assert.deepEqual([machine.begun, machine.holds], [0, []])
  await machine.pass(20_000)
  assert.deepEqual([machine.settled, machine.holds], [['agreed'], [true, false]])
  await machine.pass(290_000)
  assert.equal(machine.begun, 1)
  await machine.pass(20_000)
  assert.deepEqual([machine.settled.length, machine.isHeld], [2, false])
  // Where nothing waits nobody is kept away.
  await machine.pass(600_000)
  assert.equal(machine.holds.length, 4)
})

test('others are kept away until those that are there have ended, no longer than any task may take, and not for the owner’s sake', async () => {
  const machine = new Machine()
  machine.isQuiet = false
  machine.audits.add(machine.audit('a'))
  await machine.pass(600_000)
  assert.deepEqual(machine.holds, [])
  // A guest that does not end.
  Object.defineProperty(machine, 'isHeld', { get: () => false, set: () => undefined })
  machine.isQuiet = true
  machine.hasGuests = true
  await machine.pass(1000)
  assert.deepEqual(machine.holds, [true])
  await machine.pass(29 * 60_000)
  assert.deepEqual(machine.holds, [true])
  await machine.pass(60_000)
  assert.deepEqual(machine.holds, [true, false])
  await machine.pass(300_000)
  assert.deepEqual(machine.holds, [true, false, true])
  machine.audits.giveWay()
  assert.deepEqual(machine.holds, [true, false, true, false])
  assert.equal(machine.begun, 0)
})

test('guests that take longer than a minute each keep no audit from being run', async () => {
  const machine = new Machine()
  let ends = 90_000
  // One after the other, and as many as are let in.
  const isBusy = (): boolean => {
    if (machine.clock.now() >= ends && !machine.isHeld) ends = machine.clock.now() + 90_000
    return machine.clock.now() < ends
  }
  Object.defineProperty(machine, 'hasGuests', { get: () => isBusy() })
  machine.endsHeld = false
  machine.audits.add(machine.audit('a'))
  await machine.pass(300_000)
  assert.equal(machine.begun, 0)
  await machine.pass(100_000)
  assert.deepEqual([machine.settled, machine.holds], [['agreed'], [true, false]])
})

test('nobody is kept away where there is no guest, however busy the owner’s machine is', async () => {
  const machine = new Machine()
  machine.busyCores = 2
  machine.audits.add(machine.audit('a'))
  await machine.pass(600_000)
  assert.deepEqual([machine.begun, machine.holds], [0, []])
})

test('of too many each has the same chance to be tried, also the first ones', async () => {
  const machine = new Machine()
  const tried: number[] = []
  for (let n = 0; n < 2048; n += 1) {
    machine.audits.add({ ...machine.audit(`${n}`), settle: async () => void tried.push(n) })
  }
  assert.equal(machine.audits.stats.waiting, 512)
  while (machine.audits.stats.waiting > 0) await machine.pass(500)
  const shares = [0, 1, 2, 3].map((quarter) => tried.filter((n) => Math.floor(n / 512) === quarter).length)
  // 128 of each quarter, give or take.
  for (const share of shares) assert.ok(share > 90 && share < 166, `${shares}`)
})

test('one that is stopped leaves nothing running', async () => {
  const machine = new Machine()
  machine.hangs = true
  machine.audits.add(machine.audit('a'))
  await machine.pass(5000)
  await machine.audits.stop()
  assert.equal(machine.aborted, 1)
  machine.audits.add(machine.audit('b'))
  await machine.pass(60_000)
  assert.equal(machine.begun, 1)
})

test('a member that lies each time is tried within 152 uses in 99 of 100 cases at 3 %, and at its first use when it is new', () => {
  const random = seededRandom(7)
  const sampling = { share: 0.03, first: 20 }
  const uses = Array.from({ length: 10_000 }, () => {
    let count = 1
    while (!isToBeAudited({ agreed: 20, doubts: 0 }, sampling, random)) count += 1
    return count
  })
  const within = (most: number): number => uses.filter((count) => count <= most).length / uses.length
  // 1 - 0.97^n: 95 % for 99 uses, 99 % for 152.
  assert.ok(Math.abs(within(99) - 0.951) < 0.01, String(within(99)))
  assert.ok(Math.abs(within(152) - 0.99) < 0.005, String(within(152)))
  for (let agreed = 0; agreed < 20; agreed += 1) {
    assert.ok(isToBeAudited({ agreed, doubts: 0 }, sampling, () => 0.99))
  }
  assert.ok(
    isToBeAudited({ agreed: 500, doubts: 1 }, sampling, () => 0.99),
    'once there was a doubt',
  )
  assert.ok(!isToBeAudited({ agreed: 0, doubts: 1 }, { share: 0, first: 20 }, () => 0), 'switched off')
})
