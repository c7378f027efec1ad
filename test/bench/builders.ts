import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chains } from '../support/chains.ts'
import { CompileWatch } from '../support/compile-watch.ts'
import { writeFiles } from '../support/fixture.ts'
import { atRest } from '../support/troubles.ts'
import { argument, say } from './figures.ts'
import { type BenchMachine, Machines } from './machines.ts'
import { stepsFor } from './steps.ts'

/**
 * Several builders at once: real nodes in network namespaces, each with the same share of a processor, of which all but some build at
 * the same moment. `npm run bench -- builders [--nodes 4] [--builders 3] [--crates 30] [--unit MS] [--share 0.4] [--runs 1]`. Beside it
 * stands what equal shares allow: what plain cargo takes on such a machine, while the others do the same, times builders, over
 * machines. Ends with 1 beyond a budget.
 */
const nodes = argument('nodes', 4)
const builders = argument('builders', 3)
const crates = argument('crates', 30)
/** Of each unit, on such a machine. */
const unitMs = argument('unit', 3000)
const share = argument('share', 0.4)
const runs = argument('runs', 1)
/** Over what equal shares allow; and until the first unit of a builder is away while others' are. */
const [budget, waitBudgetMs] = [1.15, 30_000]

const seconds = (ms: number): string => (ms / 1000).toFixed(1)
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

/** Crates that need nothing of each other: nobody ever waits for anything but a slot. */
async function workspace(dir: string, prefix: string, steps: number, salt: string): Promise<string> {
  await writeFiles(dir, chains({ chains: crates, length: 1, steps, sourceBytes: 300_000, salt, prefix }))
  return dir
}

async function timed(running: Promise<unknown>): Promise<number> {
  const from = performance.now()
  await running
  return performance.now() - from
}

/** Processor milliseconds of the node itself so far. */
async function cpuMs({ node }: BenchMachine): Promise<number> {
  const stat = await readFile(`/proc/${node.daemon?.pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

interface Row {
  ms: number
  /** Until its first unit began elsewhere. */
  firstAwayMs: number
  away: number
}

async function contention(machines: Machines, steps: number, salt: string): Promise<{ rows: Row[]; nodeMs: number }> {
  const all = machines.all
  const dirs = await Promise.all(
    all
      .slice(0, builders)
      .map((_, at) => workspace(join(machines.dir, `${salt}b${at}`), `b${at}`, steps, `${salt} ${at}`)),
  )
  const before = await Promise.all(all.map(cpuMs))
  const watch = new CompileWatch(all)
  const from = performance.now()
  try {
    const times = await Promise.all(
      dirs.map((dir, at) => timed(machines.cargo(at, dir, ['build', '--offline'], 'node'))),
    )
    watch.stop()
    const nodeMs = mean((await Promise.all(all.map(cpuMs))).map((ms, at) => ms - (before[at] ?? 0)))
    const rows = times.map((ms, at): Row => {
      const away = watch.all.filter((compile) => compile.crate.startsWith(`b${at}c`) && compile.at !== at)
      const firstAwayMs = Math.min(...away.map((compile) => compile.from - from))
      return { ms, firstAwayMs, away: new Set(away.map(({ crate }) => crate)).size }
    })
    return { rows, nodeMs }
  } finally {
    watch.stop()
    await atRest(all)
  }
}

const machines = await Machines.open(nodes, share, undefined, 'shoalbld')
if (typeof machines === 'string') say(`not measured: ${machines}`)
else {
  try {
    const steps = await stepsFor(machines, unitMs)
    const plain = await Promise.all(
      machines.all.map(async (_, at) => {
        const dir = await workspace(join(machines.dir, `plain${at}`), `p${at}`, steps, `plain ${at}`)
        return await timed(machines.cargo(at, dir, ['build', '--offline', '-j1'], 'plain'))
      }),
    )
    const equalMs = (mean(plain) * builders) / nodes
    say(
      `${nodes} machines of ${share} processors, ${builders} of them build ${crates} crates of ${seconds(unitMs)} s each; plain cargo ` +
        `${seconds(mean(plain))} s, so equal shares allow ${seconds(equalMs)} s`,
    )
    say(
      'run   builder   build s   times   first away after s   of units away   plain/build   each node itself, s of processor',
    )
    for (let run = 0; run < runs; run++) {
      const { rows, nodeMs } = await contention(machines, steps, `r${run}`)
      const earliest = Math.min(...rows.map(({ firstAwayMs }) => firstAwayMs))
      for (const [at, { ms, firstAwayMs, away }] of rows.entries()) {
        const columns = [
          `${run + 1}`.padStart(3),
          `${at + 1}`.padStart(9),
          seconds(ms).padStart(9),
          (ms / equalMs).toFixed(2).padStart(7),
          seconds(firstAwayMs).padStart(20),
          `${away} of ${crates}`.padStart(15),
          (mean(plain) / ms).toFixed(2).padStart(13),
          seconds(nodeMs).padStart(12),
        ]
        const isGood = ms <= budget * equalMs && firstAwayMs - earliest <= waitBudgetMs
        say(columns.join(' ') + (isGood ? '' : '  beyond the budget'))
        if (!isGood) process.exitCode = 1
      }
    }
  } finally {
    await machines.close()
  }
}
