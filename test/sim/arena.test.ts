import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { seededRandom } from '../../src/base/clock.ts'
import { contest, type Scenario, type SchedulerName, schedulers } from '../../src/sim/arena.ts'
import { comparePoint } from '../../src/sim/compare.ts'
import { noCost } from '../../src/sim/cost.ts'
import { Flows } from '../../src/sim/flows.ts'
import { graphOf, graphPathMs, graphWorkMs, syntheticRecording, trueRanks } from '../../src/sim/graph.ts'
import { neverSlower } from '../../src/sim/never-slower.ts'
import { Processor } from '../../src/sim/processor.ts'
import { type RecordedKind, type RecordedUnit, type Recording, readRecordings } from '../../src/sim/recording.ts'
import { jain } from '../../src/sim/statistics.ts'
import { rulesNow } from '../../src/sim/variant.ts'
import { VirtualTime } from '../../src/sim/virtual-time.ts'

const data = new URL('../../src/sim/data', import.meta.url).pathname
const recordings = readRecordings(data)
const small = recordings.filter(({ units }) => units.length < 100)
const known = {
  random: seededRandom(1),
  errorSigma: 0,
  knowledge: 'graph',
  mobile: new Set<RecordedKind>(['lib']),
} as const

function scenario(seed: number, change: Partial<Scenario> = {}): Scenario {
  const world = {
    nodes: 10,
    load: 0.5,
    builds: 12,
    recordings: small,
    wifiShare: 0,
    speedSigma: 0,
    speedError: 0.1,
    slots: 0,
    processors: 0,
    cost: noCost,
    overheadMs: 20,
  }
  const told = { knowledge: 'nothing', errorSigma: 0.3, mobile: ['lib'], view: 64 } as const
  return {
    seed,
    ...world,
    ...told,
    transfers: true,
    liars: 0,
    slow: 0,
    departures: 0,
    owners: 0,
    late: 0,
    rules: rulesNow,
    ...change,
  }
}

function recording(units: [RecordedKind, number[], number, number][]): Recording {
  const full = units.map(([kind, depends, metadataMs, ms]): RecordedUnit => {
    return { name: 'unit', kind, depends, metadataMs, ms, sourceBytes: 1000, rmetaBytes: 1000, outputBytes: 3000 }
  })
  return { package: 'made up', rustc: '', profile: 'dev', jobs: 1, units: full }
}

describe('recorded builds', () => {
  it('are at least eight, each with a link at the end and no path of a machine', () => {
    assert.ok(recordings.length >= 8)
    for (const { package: name, units } of recordings) {
      assert.ok(
        units.some(({ kind }) => kind === 'link'),
        name,
      )
      assert.ok(units.length >= 50, name)
      assert.ok(units.every(({ ms, metadataMs }) => metadataMs <= ms))
      const graph = graphOf({ package: name, rustc: '', profile: '', jobs: 1, units }, known)
      assert.ok(graphWorkMs(graph) > graphPathMs(graph))
    }
    assert.doesNotMatch(readFileSync(`${data}/ripgrep.json`, 'utf8'), /\//)
  })
})

describe('graphOf()', () => {
  it('starts a library on the metadata of what it uses, and a link on the end of everything below', () => {
    const graph = graphOf(
      recording([
        ['lib', [], 300, 1000],
        ['lib', [0], 100, 400],
        ['link', [1], 50, 50],
      ]),
      known,
    )
    assert.deepEqual(graph[0]?.onMetadata, [1])
    assert.deepEqual(graph[0]?.onEnd, [2])
    assert.equal(graph[2]?.missing, 2)
    // 0 to its end, then the link: longer than through 1, which starts after 300 ms.
    assert.deepEqual(trueRanks(graph), [1050, 450, 50])
    assert.deepEqual(
      graph.map(({ rank }) => rank),
      [1050, 450, 50],
    )
    assert.deepEqual(
      graph.map(({ mobile }) => mobile),
      [true, true, false],
    )
  })
})

describe('Flows', () => {
  it('shares a link equally and gives the rest to who is left', () => {
    const time = new VirtualTime()
    const flows = new Flows(time)
    const link = flows.resource(10)
    const ended: [string, number][] = []
    flows.start([link], 1000, () => ended.push(['long', time.now()]))
    flows.start([link], 500, () => ended.push(['short', time.now()]))
    time.run(() => ended.length === 2, 10_000)
    assert.deepEqual(ended, [
      ['short', 100],
      ['long', 150],
    ])
  })
})

describe('Processor', () => {
  it("slows a guest down when its owner's compiles fill the slots, and only then", () => {
    const time = new VirtualTime()
    const processor = new Processor(time, 1)
    const ended: [string, number][] = []
    const until = (name: string, ms: number) => [{ ms, reached: () => void ended.push([name, time.now()]) }]
    processor.start(false, 2, until('guest', 400))
    time.after(100, () => processor.start(true, 1, until('owner', 300)))
    time.run(() => ended.length === 2, 10_000)
    // 100 ms at speed 2 leave 200 ms of work; 300 ms at a fiftieth of it do 12.
    assert.deepEqual(ended, [
      ['owner', 400],
      ['guest', 494],
    ])
  })
})

describe('what nodes cost themselves', () => {
  const chain: [RecordedKind, number[], number, number][] = [
    ['lib', [], 1000, 1000],
    ['lib', [0], 1000, 1000],
  ]
  const one = { recordings: [recording(chain)], load: 0, builds: 1, nodes: 1, slots: 1, speedError: 0 } as const
  const makespan = (name: SchedulerName, change: Partial<Scenario>): number =>
    contest(name, scenario(1, { ...one, ...change })).makespansMs[0] ?? Number.NaN

  it('is charged for each unit here, to what nobody waits for only where it holds up the next', () => {
    const cost = { cargo: 10, here: 100, builder: 0, lender: 0 }
    // 10 and 50 before each unit; what is kept of the first one shares the only processor with what comes next.
    assert.equal(makespan('alone', { cost }), 2020)
    assert.equal(makespan('all-knowing', { cost }), 2000)
    assert.equal(makespan('market', { cost }), 2170)
    // With a processor more it goes on beside the second unit, but is done by the same process that plans that.
    assert.equal(makespan('market', { cost, processors: 2 }), 2160)
  })

  it('is charged to both ends of a unit away, and slows down what else runs there', () => {
    const apart: [RecordedKind, number[], number, number][] = [['lib', [], 1000, 1000], ...Array(7).fill(chain[0])]
    const wide = { recordings: [recording(apart)], nodes: 2, transfers: false, overheadMs: 0 } as const
    const free = contest('market', scenario(1, { ...one, ...wide }))
    const cost = { cargo: 0, here: 0, builder: 40, lender: 60 }
    const dear = contest('market', scenario(1, { ...one, ...wide, cost }))
    assert.ok(free.away > 1 && dear.away > 1)
    assert.equal(free.nodeMs, 0)
    assert.equal(dear.nodeMs, 100 * dear.away)
    // Eight units on two processors, which also do that.
    const [before = 0, after = 0] = [...free.makespansMs, ...dear.makespansMs]
    assert.ok(after >= before + 50 && after <= before + 100 * dear.away, `${before} ${after}`)
  })

  it('is no reason to take others for slow where every machine has a share of a processor only', () => {
    const [few] = recordings.filter(({ package: name }) => name.startsWith('ripgrep'))
    assert.ok(few)
    const cost = { cargo: 5, here: 40, builder: 100, lender: 125 }
    const wide = { recordings: [few], load: 0, builds: 1, nodes: 2, slots: 1, speedError: 0, overheadMs: 0, cost }
    const [whole = 0] = contest('market', scenario(1, wide)).makespansMs
    const quarter = contest('market', scenario(1, { ...wide, quota: 0.25 }))
    assert.ok((quarter.makespansMs[0] ?? 0) <= 1.2 * 4 * whole, `${quarter.makespansMs[0]} of ${4 * whole}`)
    assert.ok(quarter.away >= 10, `${quarter.away} away`)
  })

  it('is less on a faster machine', () => {
    const cost = { cargo: 0, here: 100, builder: 0, lender: 0 }
    const at = (speedSigma: number): number => contest('market', scenario(1, { ...one, speedSigma, cost })).nodeMs
    assert.equal(at(0), 200)
    assert.notEqual(at(0.3), 200)
  })
})

describe('schedulers on the same world', () => {
  it('end every build, deliver nothing twice, and repeat themselves exactly', () => {
    for (const name of schedulers) {
      for (const load of [0.3, 0.9]) {
        const one = scenario(3, { load, builds: 6, wifiShare: 0.5, speedSigma: 0.3 })
        const report = contest(name, one)
        assert.deepEqual(report.violations, [], name)
        assert.equal(report.makespansMs.length, 6)
        assert.ok(report.makespansMs.every(Number.isFinite), name)
        assert.deepEqual(contest(name, one), report, name)
      }
    }
  })

  it('the all-knowing one keeps to what is possible', () => {
    for (const seed of [1, 2, 3]) {
      const { makespansMs, boundsMs } = contest('all-knowing', scenario(seed, { load: 0, builds: 1 }))
      assert.ok((makespansMs[0] ?? 0) >= (boundsMs[0] ?? 0) - 1e-6)
    }
  })

  it('the one who pays for bytes needs longer than the one who does not, and leaves alone a network that is not worth it', () => {
    for (const load of [0.3, 0.7]) {
      const free = comparePoint(scenario(1, { load, transfers: false, builds: 20 }), 1, ['all-knowing-paying'])[0]
      assert.ok(free && Math.abs(free.ratio - 1) < 0.03, `${free?.ratio}`)
      const paid = comparePoint(scenario(1, { load, builds: 20 }), 1, ['all-knowing-paying', 'market'])
      assert.ok((paid[0]?.ratio ?? 0) > free.ratio && (paid[0]?.ratio ?? 9) < 1.15, `${paid[0]?.ratio}`)
      assert.equal(paid[0]?.paying, 1)
      assert.ok((paid[1]?.paying ?? 9) < (paid[1]?.ratio ?? 0))
    }
    const line = { roundTripMs: 200, bytesPerMs: 1 }
    const one = scenario(1, { load: 0, builds: 1, nodes: 4, speedSigma: 0, slots: 4, line })
    const [paying = 0, alone = 0] = (['all-knowing-paying', 'alone'] as const).map(
      (name) => contest(name, one).makespansMs[0],
    )
    assert.ok(paying <= alone, `${paying} of ${alone}`)
  })

  it('the market comes within 15 % of it on machines of equal speed, ahead of every decentralised one', () => {
    const others = ['sparrow', 'join-idle-queue', 'random', 'stale-least-loaded'] as const
    for (const load of [0.5, 0.9]) {
      const rows = comparePoint(scenario(1, { load, builds: 20 }), 2, ['market', ...others])
      const ratio = (name: SchedulerName): number =>
        rows.find(({ scheduler }) => scheduler === name)?.ratio ?? Number.NaN
      assert.ok(ratio('market') <= 1.15, `${ratio('market')} at ${load}`)
      for (const name of others) assert.ok(ratio('market') < ratio(name), `${name} at ${load}: ${ratio(name)}`)
    }
  })

  it('the market says at most 15 messages and 4 KiB per unit away, however many machines there are', () => {
    for (const nodes of [5, 20, 60]) {
      const [row] = comparePoint(scenario(2, { nodes, builds: 10 }), 1, ['market'])
      assert.ok(row && row.awayShare > 0.1)
      assert.ok(row.messages <= 15 && row.bytes <= 4096, `${row.messages} messages, ${row.bytes} bytes at ${nodes}`)
    }
  })

  it('the table decides as the state machines do: their makespans differ by less than 10 %', () => {
    for (const load of [0.3, 0.7]) {
      const [market, table] = comparePoint(scenario(5, { load, builds: 20, speedSigma: 0.3 }), 2, ['market', 'table'])
      assert.ok(Math.abs((table?.ratio ?? 0) / (market?.ratio ?? 1) - 1) < 0.1, `${table?.ratio} ${market?.ratio}`)
    }
  })

  it('and by less than 5 % on sixty machines of equal speed, so that it can stand for them where there are too many', () => {
    const [market, table] = comparePoint(scenario(5, { load: 0.7, nodes: 60, builds: 60 }), 1, ['market', 'table'])
    assert.ok(Math.abs((table?.ratio ?? 0) / (market?.ratio ?? 1) - 1) < 0.05, `${table?.ratio} ${market?.ratio}`)
  })

  it('every build ends although lenders crash, sleep and say goodbye, and owners come and go', () => {
    const report = contest('market', scenario(1, { recordings, builds: 40, departures: 600, owners: 0.5 }))
    assert.deepEqual(report.violations, [])
    assert.ok(report.makespansMs.every(Number.isFinite))
    for (const how of ['crash', 'sleep', 'goodbye'] as const) {
      const some = report.recoveries.filter((one) => one.how === how)
      assert.ok(some.length > 0, how)
      // A GOODBYE needs no silence to be noticed; where no slot is free one has to be waited for.
      const most = how === 'goodbye' ? 500 : 2500
      for (const { ms } of some) assert.ok(ms <= most, `${ms} ms after ${how}`)
      const soon = some.filter(({ ms }) => ms <= 100).length
      if (how === 'goodbye') assert.ok(soon >= 0.8 * some.length, `${soon} of ${some.length} soon after a GOODBYE`)
    }
  })

  it('synthetic builds from 50 to 500 units end as well', () => {
    for (const units of [50, 500]) {
      const made = [syntheticRecording(units, seededRandom(units))]
      const { violations, units: done } = contest('market', scenario(1, { recordings: made, load: 0, builds: 2 }))
      assert.deepEqual(violations, [])
      assert.ok(done >= 2 * units)
    }
  })
})

describe('a mesh that cannot help', () => {
  it('costs hardly anything; one that can makes the build faster', () => {
    const few = recordings.filter(({ package: name }) => /^(bat|ripgrep|tokei)/.test(name))
    assert.equal(few.length, 3)
    for (const { mesh, ratios } of neverSlower(scenario(1), few)) {
      const most = mesh.startsWith('three') ? 1 : mesh === '40 ms, 10 Mbit/s' ? 1.1 : 1.06
      for (const ratio of ratios) assert.ok(ratio <= most, `${mesh}: ${ratio.toFixed(3)}`)
    }
  })

  it('builders of equal machines fare equally, and none is slower than alone', () => {
    const bat = recordings.filter(({ package: name }) => name.startsWith('bat'))
    const equal = { recordings: bat, load: 0, slots: 4 }
    const { makespansMs } = contest('market', scenario(1, { ...equal, nodes: 20, builds: 10 }))
    assert.ok(jain(makespansMs) >= 0.95, `${jain(makespansMs)}`)
    const [alone = 0] = contest('alone', scenario(1, { ...equal, nodes: 1, builds: 1 })).makespansMs
    const three = contest('market', scenario(1, { ...equal, nodes: 4, builds: 3 })).makespansMs
    for (const ms of three) assert.ok(ms <= 1.03 * alone, `${ms} of ${alone}`)
  })
})

describe('node src/sim/main.ts', () => {
  const main = (...args: string[]) => promisify(execFile)(process.execPath, ['src/sim/main.ts', ...args])
  const few = ['--nodes', '3', '--builds', '3', '--runs', '1', '--workload', 'ripgrep']

  it('prints a line per scheduler and load, and draws plots', async (test) => {
    const plots = await mkdtemp(join(tmpdir(), 'sim-plots-'))
    test.after(() => rm(plots, { recursive: true }))
    const args = ['--load', '0.3,0.6', '--schedulers', 'market,sparrow', '--plots', plots]
    const { stdout } = await main(...few, ...args)
    assert.deepEqual(
      stdout.split('\n').flatMap((line) => /^(market|sparrow) +3 +(0\.\d)/.exec(line)?.slice(1).join(' ') ?? []),
      ['market 0.3', 'sparrow 0.3', 'market 0.6', 'sparrow 0.6'],
    )
    for (const name of ['ratio-by-load.svg', 'messages-by-load.svg', 'delay.svg']) {
      assert.match(readFileSync(join(plots, name), 'utf8'), /^<svg .*<path d="M.*market.*<\/svg>\n$/s)
    }
  })

  it('says what other rules would bring', async () => {
    const { stdout } = await main('gains', ...few, '--load', '0')
    assert.match(stdout, /^rules +load 0 +wasted %\nstate machines, as they are +\d\.\d{3} +0\.00\n/)
  })

  it('refuses what it does not know', async () => {
    await assert.rejects(main('--schedulers', 'luck'), /one of all-knowing, all-knowing-paying, alone, market/)
    await assert.rejects(main('--nodes=-1'), /not negative/)
  })
})
