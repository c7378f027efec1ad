import { parseArgs } from 'node:util'
import { anything } from './anything.ts'
import { noFaults } from './faults.ts'
import { type SimReport, simulate } from './world.ts'

const usage = `usage: npm run sim -- seeds [--nodes N] [--builders N] [--slots N] [--units N] [--seed N] [--runs N] [--faults]
       npm run sim -- seeds --anything [--seed N] [--runs N]

--anything draws mesh, builds and faults from the seed, and prints only what is broken.
`

/** Prints one line per seed: how close the market comes to what any scheduler could reach, and what it says for that. */
export function runSeeds(args: string[]): void {
  const { values } = parseArgs({
    args,
    options: {
      nodes: { type: 'string', default: '10' },
      builders: { type: 'string', default: '1' },
      slots: { type: 'string', default: '4' },
      units: { type: 'string', default: '300' },
      seed: { type: 'string', default: '1' },
      runs: { type: 'string', default: '5' },
      faults: { type: 'boolean', default: false },
      anything: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    return
  }
  const number = (name: 'nodes' | 'builders' | 'slots' | 'units' | 'seed' | 'runs'): number => {
    const value = Number(values[name])
    if (Number.isSafeInteger(value) && value >= 1) return value
    throw new RangeError(`--${name}: a positive whole number is needed`)
  }
  const faults = {
    loss: 0.01,
    duplicate: 0.01,
    badWork: 0.02,
    crashes: 2,
    partitions: 1,
    suspensions: 1,
    withinMs: 20_000,
  }
  if (values.anything) {
    drawSeeds(number('seed'), number('runs'))
    return
  }
  process.stdout.write(`${header}\n`)
  let broken = 0
  for (let run = 0; run < number('runs'); run++) {
    const seed = number('seed') + run
    const report = simulate({
      seed,
      nodes: number('nodes'),
      builders: Math.min(number('builders'), number('nodes')),
      slots: number('slots'),
      units: number('units'),
      latencyMs: [0.3, 3],
      overheadMs: 20,
      errorSigma: 0.3,
      faults: values.faults ? faults : noFaults,
    })
    process.stdout.write(`${line(seed, report)}\n`)
    for (const violation of report.violations) process.stdout.write(`  broken: ${violation}\n`)
    broken += report.violations.length
  }
  process.exitCode = broken > 0 ? 1 : 0
}

function drawSeeds(first: number, runs: number): void {
  let broken = 0
  for (let seed = first; seed < first + runs; seed++) {
    const { violations } = simulate(anything(seed))
    for (const violation of violations) process.stdout.write(`seed ${seed}: ${violation}\n`)
    if (violations.length > 0) broken += 1
  }
  process.stdout.write(`${runs} seeds, ${broken} of them with broken promises\n`)
  process.exitCode = broken > 0 ? 1 : 0
}

const columns = [
  'seed',
  'makespan s',
  'bound s',
  'ratio',
  'alone s',
  'away %',
  'delay p50',
  'p99 ms',
  'msgs/unit',
  'standing/s',
]
const header = columns.map((column) => column.padStart(10)).join(' ')

function line(seed: number, report: SimReport): string {
  const { makespanMs, boundMs, aloneMs, units, away, delaysMs, sent } = report
  const at = (share: number): number => delaysMs[Math.floor(share * (delaysMs.length - 1))] ?? 0
  const standing = ['offer', 'building', 'goodbye'].reduce((sum, kind) => sum + (sent.get(kind) ?? 0), 0)
  const all = [...sent.values()].reduce((sum, count) => sum + count, 0)
  const cells = [
    seed,
    (makespanMs / 1000).toFixed(2),
    (boundMs / 1000).toFixed(2),
    (makespanMs / boundMs).toFixed(3),
    (aloneMs / 1000).toFixed(2),
    ((100 * away) / Math.max(1, units)).toFixed(0),
    at(0.5).toFixed(1),
    at(0.99).toFixed(1),
    ((all - standing) / Math.max(1, away)).toFixed(1),
    ((standing * 1000) / makespanMs).toFixed(1),
  ]
  return cells.map((cell) => String(cell).padStart(10)).join(' ')
}
