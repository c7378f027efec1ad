import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { seededRandom } from '../../src/base/clock.ts'
import { contest } from '../../src/sim/arena.ts'
import { graphOf, graphPathMs, graphWorkMs } from '../../src/sim/graph.ts'
import type { RecordedKind, Recording } from '../../src/sim/recording.ts'
import { rulesNow } from '../../src/sim/variant.ts'
import { recordBuild } from '../sim/recorder.ts'
import { capture, lastReport } from '../support/cluster.ts'
import { Machines } from './machines.ts'

/**
 * How much faster a build gets with more machines: real nodes in network namespaces, each with the same share of a processor and
 * nothing in its store. `npm run bench -- mesh [--nodes 1,2,4,6] [--share 0.25] [--example NAME] [--mbit N] [--runs N]`. Beside it
 * stand plain cargo on one such machine, the least that any scheduler could do, from what each unit costs, and what the simulator
 * expects of the market with the same units.
 */
const argument = (name: string, otherwise: string): string => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : (process.argv[at + 1] ?? otherwise)
}
const counts = argument('nodes', '1,2,4,6').split(',').map(Number)
const share = Number(argument('share', '0.25'))
const runs = Number(argument('runs', '1'))
const mbit = argument('mbit', '') === '' ? undefined : Number(argument('mbit', ''))
const example = fileURLToPath(new URL(`../../examples/${argument('example', 'workspace')}`, import.meta.url))
const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const seconds = (ms: number): string => (ms / 1000).toFixed(1)
/** Kinds of which others can do at least the greater part. */
const mobile: readonly RecordedKind[] = ['lib', 'macro', 'script', 'link']

/** The same units on a machine that has a share of a processor. */
function slowed(recording: Recording): Recording {
  const slower = (ms: number): number => Math.round(ms / share)
  const units = recording.units.map((unit) => ({ ...unit, ms: slower(unit.ms), metadataMs: slower(unit.metadataMs) }))
  return { ...recording, units }
}

/** What the market makes of it in the simulator. */
function simulated(recording: Recording, nodes: number): number {
  const { makespansMs } = contest('market', {
    ...{ seed: 1, nodes, load: 0, builds: 1, recordings: [recording], knowledge: 'nothing', errorSigma: 0.3, mobile },
    ...{ wifiShare: 0, speedSigma: 0, slots: 1, overheadMs: 20 / share, transfers: true, view: 64, liars: 0, slow: 0 },
    ...{ departures: 0, owners: 0, late: 0, rules: rulesNow },
  })
  return makespansMs[0] ?? Number.NaN
}

async function checkout(dir: string, as: string): Promise<string> {
  const to = join(dir, as)
  await cp(example, to, { recursive: true, filter: (path) => !/\/target(\/|$)/.test(path) })
  return to
}

async function timed(building: () => Promise<unknown>): Promise<number> {
  const from = performance.now()
  await building()
  return performance.now() - from
}

interface Measured {
  ms: number
  units: number
  away: number
  bytesIn: number
}

/** One build on the first of `count` machines, all with empty stores. */
async function build(count: number): Promise<Measured | string> {
  const machines = await Machines.open(count, share, mbit)
  if (typeof machines === 'string') return machines
  try {
    const [first] = machines.all
    if (first === undefined) throw new RangeError('no machine')
    const dir = await checkout(machines.dir, 'checkout')
    const ms = await timed(() => machines.cargo(0, dir, ['build', '--offline'], 'node'))
    const { units, bytesIn } = await lastReport(first.node)
    return { ms, units: units.length, away: units.filter(({ outcome }) => outcome === 'compiled-mesh').length, bytesIn }
  } finally {
    await machines.close()
  }
}

async function plain(): Promise<number | string> {
  const machines = await Machines.open(1, share)
  if (typeof machines === 'string') return machines
  try {
    const dir = await checkout(machines.dir, 'plain')
    return await timed(() => machines.cargo(0, dir, ['build', '--offline'], 'plain'))
  } finally {
    await machines.close()
  }
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

await capture('cargo', ['fetch', '--locked', '--quiet'], { cwd: example })
const recording = slowed(recordBuild(example, 'stable'))
const graph = graphOf(recording, {
  random: seededRandom(1),
  errorSigma: 0,
  knowledge: 'graph',
  mobile: new Set(mobile),
})
const [pathMs, workMs] = [graphPathMs(graph), graphWorkMs(graph)]
const alone = await plain()
if (typeof alone === 'string') say(`not measured: ${alone}`)
else {
  say(`${recording.package}: ${recording.units.length} units, machines of ${share} processors with one slot each`)
  say(`work ${seconds(workMs)} s, longest path ${seconds(pathMs)} s, plain cargo ${seconds(alone)} s`)
  say('machines   build s   least s   times   plain/build   simulated s   of units away   MB fetched')
  for (const count of counts) {
    const rows: Measured[] = []
    for (let run = 0; run < runs; run++) {
      const row = await build(count)
      if (typeof row === 'string') throw new Error(row)
      rows.push(row)
    }
    const ms = median(rows.map((row) => row.ms))
    const row = rows.find((each) => each.ms === ms)
    const least = Math.max(pathMs, workMs / count)
    const columns = [
      `${count}`.padStart(8),
      seconds(ms).padStart(9),
      seconds(least).padStart(9),
      (ms / least).toFixed(2).padStart(7),
      (alone / ms).toFixed(2).padStart(13),
      seconds(simulated(recording, count)).padStart(13),
      `${row?.away ?? 0} of ${row?.units ?? 0}`.padStart(15),
      ((row?.bytesIn ?? 0) / 1e6).toFixed(1).padStart(12),
    ]
    say(columns.join(' '))
  }
}
