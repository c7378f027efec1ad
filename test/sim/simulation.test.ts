import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { seededRandom } from '../../src/base/clock.ts'
import { anything } from '../../src/sim/anything.ts'
import { noFaults } from '../../src/sim/faults.ts'
import { VirtualTime } from '../../src/sim/virtual-time.ts'
import { criticalPathMs, layeredGraph, workMs } from '../../src/sim/workload.ts'
import { type SimInit, type SimReport, simulate } from '../../src/sim/world.ts'

function init(seed: number, change: Partial<SimInit> = {}): SimInit {
  const sound = {
    nodes: 4,
    builders: 1,
    slots: 2,
    units: 40,
    latencyMs: [0.3, 3],
    overheadMs: 20,
    errorSigma: 0.3,
  } as const
  return { seed, ...sound, faults: noFaults, ...change }
}

/** Frames about units: not the offers and announcements, which flow as long as a build goes on. */
function unitFrames(report: SimReport): number {
  let sum = 0
  for (const [kind, count] of report.sent) if (!['offer', 'building', 'goodbye'].includes(kind)) sum += count
  return sum
}

describe('the market under faults', () => {
  it('settles every unit once, loses none and leaves nothing behind: 300 seeds', () => {
    const seen = new Map<string, number>()
    for (let seed = 1; seed <= 300; seed++) {
      const report = simulate(anything(seed))
      assert.deepEqual(report.violations, [], `seed ${seed}`)
      assert.ok(report.mostAttempts <= 3, `seed ${seed}`)
      for (const [why, count] of report.returned) seen.set(why, (seen.get(why) ?? 0) + count)
      seen.set('away', (seen.get('away') ?? 0) + report.away)
      seen.set(`attempts ${report.mostAttempts}`, 1)
    }
    // The seeds are worth something only if they lead everywhere.
    for (const what of ['lease', 'lost', 'cancelled', 'failed', 'refused', 'unusable', 'error', 'away', 'attempts 3']) {
      assert.ok((seen.get(what) ?? 0) > 0, `no seed led to: ${what}`)
    }
  })
})

describe('the market without faults', () => {
  it('needs at most 15 messages per unit away, however many nodes there are', () => {
    for (const [nodes, builders] of [
      [3, 1],
      [10, 4],
      [60, 2],
    ] as const) {
      for (let seed = 1; seed <= 5; seed++) {
        const report = simulate(init(seed, { nodes, builders, units: 100 }))
        assert.ok(report.away >= 30, `only ${report.away} units away`)
        assert.ok(unitFrames(report) <= 15 * report.away, `${unitFrames(report)} messages for ${report.away} units`)
        // An owner may take the slot while the answer to a bid is under way.
        assert.deepEqual(
          [...report.returned.keys()].filter((why) => why !== 'cancelled'),
          [],
        )
        assert.deepEqual(report.violations, [])
      }
    }
  })

  it('comes within 15 % of what any scheduler could reach, where work or the critical path binds', () => {
    for (const [nodes, builders] of [
      [2, 1],
      [10, 1],
      [10, 5],
    ] as const) {
      const ratios = [1, 2, 3, 4, 5].map((seed) => {
        const { makespanMs, boundMs } = simulate(init(seed, { nodes, builders, slots: 4, units: 200 }))
        assert.ok(makespanMs >= boundMs, 'faster than possible')
        return makespanMs / boundMs
      })
      const mean = ratios.reduce((a, b) => a + b, 0) / ratios.length
      assert.ok(mean <= 1.15, `${nodes} nodes, ${builders} builders: ${mean.toFixed(3)}`)
    }
  })

  it('alone on a machine leaves no slot idle while a unit is ready, and sends nothing', () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const alone = init(seed, { nodes: 1, slots: 4, units: 200 })
      const { makespanMs, away, sent } = simulate(alone)
      const graph = layeredGraph({ ...alone, random: seededRandom(seed) })
      const path = criticalPathMs(graph)
      // Graham's bound, which every schedule keeps that never leaves a slot idle.
      assert.ok(makespanMs <= path + (workMs(graph) - path) / 4 + 1e-6)
      assert.deepEqual([away, sent.size], [0, 0])
    }
  })

  it('gives the same report for the same seed, and another one for another', () => {
    const first = simulate(init(5, { builders: 2 }))
    assert.deepEqual(simulate(init(5, { builders: 2 })), first)
    assert.notEqual(simulate(init(6, { builders: 2 })).makespanMs, first.makespanMs)
  })
})

describe('VirtualTime', () => {
  it('runs events in order of time, then of request, and none that was cancelled', () => {
    const time = new VirtualTime()
    const random = seededRandom(4)
    const ran: [number, number][] = []
    for (let order = 0; order < 500; order++) {
      const cancel = time.after(Math.floor(random() * 50), () => ran.push([time.now(), order]))
      if (order % 5 === 0) cancel()
    }
    assert.equal(
      time.run(() => false, 100),
      false,
    )
    assert.equal(time.now(), 100)
    assert.equal(ran.length, 400)
    const sorted = ran.toSorted(([a, x], [b, y]) => a - b || x - y)
    assert.deepEqual(ran, sorted)
  })

  it('stops as soon as it is done', () => {
    const time = new VirtualTime()
    let count = 0
    for (let at = 1; at <= 5; at++) time.after(at, () => count++)
    assert.equal(
      time.run(() => count === 2, 100),
      true,
    )
    assert.equal(time.now(), 2)
  })

  it('forgets what was cancelled without losing or reordering the rest', () => {
    const time = new VirtualTime()
    const random = seededRandom(8)
    const ran: number[] = []
    const wanted: number[] = []
    for (let order = 0; order < 5000; order++) {
      const at = 1 + Math.floor(random() * 1000)
      const cancel = time.after(at, () => ran.push(time.now()))
      if (order % 10 === 0) wanted.push(at)
      else cancel()
    }
    time.run(() => false, 2000)
    assert.deepEqual(
      ran,
      wanted.toSorted((a, b) => a - b),
    )
  })
})

describe('layeredGraph()', () => {
  it('makes a connected build whose ranks are bottom levels of the expected durations', () => {
    const graph = layeredGraph({ units: 200, random: seededRandom(9), errorSigma: 0 })
    assert.equal(graph.filter(({ dependents }) => dependents.length === 0).length, 1)
    for (const unit of graph) {
      assert.ok(unit.ms >= 50 && unit.ms <= 60_000)
      const below = unit.dependents.map((index) => graph[index]?.rank ?? 0)
      assert.ok(Math.abs(unit.rank - unit.ms - Math.max(0, ...below)) < 1e-6)
      assert.ok(unit.dependencies.every((index) => index < unit.index))
    }
    const longest = Math.max(...graph.map(({ rank }) => rank))
    assert.ok(Math.abs(criticalPathMs(graph) - longest) < 1e-6)
    assert.ok(workMs(graph) > longest)
  })
})

describe('node src/sim/main.ts seeds', () => {
  const main = (...args: string[]) => promisify(execFile)(process.execPath, ['src/sim/main.ts', 'seeds', ...args])

  it('prints a line per seed', async () => {
    const { stdout } = await main(
      '--nodes',
      '5',
      '--builders',
      '2',
      '--units',
      '50',
      '--runs',
      '2',
      '--seed',
      '7',
      '--faults',
    )
    const [header, ...lines] = stdout.trimEnd().split('\n')
    assert.match(header ?? '', /makespan s +bound s +ratio/)
    assert.deepEqual(
      lines.map((line) => Number.parseInt(line, 10)),
      [7, 8],
    )
  })

  it('refuses what is no number', async () => {
    await assert.rejects(main('--nodes', 'many'), /a positive whole number is needed/)
  })
})
