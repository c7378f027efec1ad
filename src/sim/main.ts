import { parseArgs } from 'node:util'
import { seededRandom } from '../base/clock.ts'
import { type Scenario, type SchedulerName, schedulers } from './arena.ts'
import { compareHeader, compareLine, comparePoint, type Row, recoveryLines, writePlots } from './compare.ts'
import { measured, type NodeCost, noCost } from './cost.ts'
import { gains } from './gains.ts'
import { syntheticRecording } from './graph.ts'
import { neverSlower } from './never-slower.ts'
import { type Recording, readRecordings } from './recording.ts'
import { runSeeds } from './seeds.ts'
import { rulesNow } from './variant.ts'

const costText = [measured.cargo, measured.here, measured.builder, measured.lender].join(',')

const usage = `usage: npm run sim -- [options]
       npm run sim -- gains [options]    what other rules would bring
       npm run sim -- alone [options]    one build with meshes that hardly help, against plain cargo
       npm run sim -- seeds --help

Compares schedulers on the same machines, builds and moments.
  --nodes N,…          machines (10)
  --load L,…           builds arrive at this share of what all can compile (0.3,0.5,0.7,0.9); 0: all at once
  --builds N           builds per run (4 per machine, at least 40)
  --runs N             seeds per point (3)
  --seed N             the first seed (1)
  --schedulers A,…     ${schedulers.join(', ')}
  --workload W         recorded, synthetic, or a package that was recorded (recorded)
  --units N            of a synthetic build (300)
  --knowledge K        what is known of units: nothing, order (by Cargo.lock, as the daemon in a first build), durations,
                       graph (nothing)
  --error S            log-normal error of expected durations (0.3)
  --wifi SHARE         machines on Wi-Fi (0)
  --speed-sigma S      log-normal spread of speeds (0.3)
  --speed-error S      of what they say of it (0.1)
  --slots N            of each machine (0: 4, 8, 10 or 16, at random)
  --processors N       of each machine, for compiles and its node (0: as many as slots)
  --node-cost A,B,C,D  processor milliseconds of a unit besides its compile: of cargo; of the node for a unit here; for
                       one away of the node that builds, and of the one that lends (${costText}); 0: none
  --view N             machines that a builder is connected to (64)
  --silent SHARE       machines that take units and never answer (0)
  --slow SHARE         machines that take ten times as long (0)
  --departures N       of each machine per hour: crash, lid closed with and without GOODBYE (0; market only)
  --owners SHARE       machines whose owner comes and goes (0; market only)
  --late SHARE         machines whose metadata nobody is told of ahead of the rest (0; market only)
  --late-macros        so it is with all units that use macros, away
  --no-transfers       bytes take no time
  --plots DIR          also draws SVG files there
`

const options = {
  nodes: { type: 'string', default: '10' },
  load: { type: 'string', default: '0.3,0.5,0.7,0.9' },
  builds: { type: 'string' },
  runs: { type: 'string', default: '3' },
  seed: { type: 'string', default: '1' },
  schedulers: { type: 'string', default: schedulers.join(',') },
  workload: { type: 'string', default: 'recorded' },
  units: { type: 'string', default: '300' },
  knowledge: { type: 'string', default: 'nothing' },
  error: { type: 'string', default: '0.3' },
  wifi: { type: 'string', default: '0' },
  'speed-sigma': { type: 'string', default: '0.3' },
  'speed-error': { type: 'string', default: '0.1' },
  slots: { type: 'string', default: '0' },
  processors: { type: 'string', default: '0' },
  'node-cost': { type: 'string', default: costText },
  view: { type: 'string', default: '64' },
  silent: { type: 'string', default: '0' },
  slow: { type: 'string', default: '0' },
  departures: { type: 'string', default: '0' },
  owners: { type: 'string', default: '0' },
  late: { type: 'string', default: '0' },
  'late-macros': { type: 'boolean', default: false },
  'no-transfers': { type: 'boolean', default: false },
  plots: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

function parse(args: string[]) {
  return parseArgs({ args, options })
}

function main(args: string[]): void {
  if (args[0] === 'seeds') {
    runSeeds(args.slice(1))
    return
  }
  const [what] = args
  const gainsOnly = what === 'gains'
  const { values } = parse(gainsOnly || what === 'alone' ? args.slice(1) : args)
  if (values.help) {
    process.stdout.write(usage)
    return
  }
  const loads = list('load', values.load)
  const runs = whole('runs', amount('runs', values.runs))
  const sizes = list('nodes', values.nodes).map((nodes) => whole('nodes', nodes))
  if (gainsOnly) {
    for (const nodes of sizes) {
      for (const line of gains(scenarioOf(values, nodes, 0), loads, runs)) process.stdout.write(`${line}\n`)
    }
    return
  }
  if (what === 'alone') {
    const scenario = scenarioOf(values, 2, 0)
    for (const { mesh, ratios } of neverSlower(scenario, scenario.recordings)) {
      process.stdout.write(`${mesh.padEnd(26)}${ratios.map((ratio) => ratio.toFixed(3)).join(' ')}\n`)
    }
    return
  }
  const names = values.schedulers.split(',').map((name) => oneOf<SchedulerName>('schedulers', name, schedulers))
  const rows: Row[] = []
  process.stdout.write(`${compareHeader}\n`)
  for (const nodes of sizes) {
    for (const load of loads) {
      for (const row of comparePoint(scenarioOf(values, nodes, load), runs, names)) {
        for (const line of [compareLine(row), ...recoveryLines(row)]) process.stdout.write(`${line}\n`)
        rows.push(row)
      }
    }
  }
  if (values.plots === undefined) return
  for (const file of writePlots(values.plots, rows)) process.stdout.write(`${file}\n`)
}

type Values = ReturnType<typeof parse>['values']

function scenarioOf(values: Values, nodes: number, load: number): Scenario {
  return {
    seed: amount('seed', values.seed),
    nodes,
    load,
    builds: values.builds === undefined ? Math.max(40, 4 * nodes) : whole('builds', amount('builds', values.builds)),
    recordings: workload(values.workload, whole('units', amount('units', values.units))),
    knowledge: oneOf('knowledge', values.knowledge, ['nothing', 'order', 'durations', 'graph'] as const),
    errorSigma: amount('error', values.error),
    mobile: ['lib'],
    wifiShare: amount('wifi', values.wifi),
    speedSigma: amount('speed-sigma', values['speed-sigma']),
    speedError: amount('speed-error', values['speed-error']),
    slots: amount('slots', values.slots),
    processors: amount('processors', values.processors),
    cost: nodeCost(values['node-cost']),
    overheadMs: 20,
    transfers: !values['no-transfers'],
    view: whole('view', amount('view', values.view)),
    liars: amount('silent', values.silent),
    slow: amount('slow', values.slow),
    departures: amount('departures', values.departures),
    owners: amount('owners', values.owners),
    late: amount('late', values.late),
    lateMacros: values['late-macros'],
    rules: rulesNow,
  }
}

function workload(name: string, units: number): Recording[] {
  if (name === 'synthetic') {
    const random = seededRandom(units)
    return Array.from({ length: 8 }, () => syntheticRecording(units, random))
  }
  const recordings = readRecordings(new URL('data', import.meta.url).pathname)
  const wanted = recordings.filter((recording) => name === 'recorded' || recording.package.split(' ')[0] === name)
  if (wanted.length === 0) throw new RangeError(`--workload: nothing was recorded of ${name}`)
  return wanted
}

function nodeCost(text: string): NodeCost {
  if (text === '0') return noCost
  const [cargo, here, builder, lender, ...more] = list('node-cost', text)
  if (cargo !== undefined && here !== undefined && builder !== undefined && lender !== undefined && more.length === 0) {
    return { cargo, here, builder, lender }
  }
  throw new RangeError('--node-cost: four numbers are needed, or 0')
}

function list(name: string, text: string): number[] {
  return text.split(',').map((one) => amount(name, one))
}

function amount(name: string, text: string): number {
  const value = Number(text)
  if (text !== '' && Number.isFinite(value) && value >= 0) return value
  throw new RangeError(`--${name}: a number that is not negative is needed`)
}

function whole(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value
  throw new RangeError(`--${name}: a positive whole number is needed`)
}

function oneOf<T extends string>(name: string, text: string, known: readonly T[]): T {
  const found = known.find((one) => one === text)
  if (found !== undefined) return found
  throw new RangeError(`--${name}: one of ${known.join(', ')} is needed`)
}

main(process.argv.slice(2))
