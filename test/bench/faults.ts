import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { chains } from '../support/chains.ts'
import { lastReport } from '../support/cluster.ts'
import { type Compile, CompileWatch } from '../support/compile-watch.ts'
import { writeFiles } from '../support/fixture.ts'
import { atRest, type Trouble, together, troubles } from '../support/troubles.ts'
import { argument, median, say } from './figures.ts'
import { Machines } from './machines.ts'
import { stepsFor } from './steps.ts'

/**
 * What the loss of a lender costs a build: real nodes in network namespaces, each with the same share of a processor. Two chains of
 * crates on three machines, so that a machine is to spare and only the loss itself can make the build longer. `npm run bench -- faults
 * [--trials N] [--share 0.4] [--unit MS] [--only WORD,WORD] [--verbose]`. Ends with 1 beyond a budget.
 */
const trials = Number(argument('trials', '3'))
const share = Number(argument('share', '0.4'))
/** How long a unit takes on such a machine. */
const unitMs = Number(argument('unit', '3000'))
const only = argument('only', '')
const length = 4
/** What was compiled where and when, from the fault on, and what the builder says of it. */
const verbose = process.argv.includes('--verbose')
/** From the fault until its unit runs elsewhere; the same after GOODBYE. */
const [budgetMs, goodbyeMs] = [2500, 100]

const seconds = (ms: number): string => (ms / 1000).toFixed(2)

interface Build {
  ms: number
  /** Units that the machine had when it was lost, and how long each of them then stood still. */
  recoveries: number[]
  /** Compiles of units that had begun before. */
  again: number
}

let salt = 0

async function prepared(machines: Machines, steps: number): Promise<string> {
  // The same one each time: after the first build it is known how long units take.
  const dir = join(machines.dir, 'checkout')
  await writeFiles(dir, chains({ chains: 2, length, steps, salt: `${process.pid} ${salt++}` }))
  return dir
}

/** A build on the first of the machines; if a trouble is given, it comes when another one is in the middle of a unit. */
async function build(machines: Machines, steps: number, trouble?: Trouble): Promise<Build> {
  const dir = await prepared(machines, steps)
  const watch = new CompileWatch(machines.all)
  const logged = machines.all[0]?.node.log.length ?? 0
  const from = performance.now()
  let over = false
  const building = machines.cargo(0, dir, ['build', '--offline'], 'node').finally(() => {
    over = true
  })
  // Looked at below; until then it must not end the process.
  building.catch(() => undefined)
  let lost: { at: number; machine: number; units: Compile[] } | undefined
  try {
    while (trouble !== undefined && lost === undefined && !over) {
      await delay(10)
      const now = performance.now()
      const victim = watch.all.find(
        ({ at, until, from: since }) => at > 0 && until === undefined && now - since > 0.4 * unitMs,
      )
      const machine = victim && machines.all[victim.at]
      if (victim === undefined || machine === undefined) continue
      const units = watch.at(victim.at)
      lost = { at: performance.now(), machine: victim.at, units }
      await trouble.begin(machine)
    }
    await building
    const ms = performance.now() - from
    watch.stop()
    if (trouble !== undefined && lost === undefined) throw new Error('nothing was compiled elsewhere')
    if (verbose) tell(machines, watch, lost?.at ?? from, logged)
    // Somebody may have been at it as well already.
    const isElsewhere = ({ at, until }: Compile): boolean =>
      at !== lost?.machine && (until ?? ms + from) > (lost?.at ?? 0)
    const recoveries = (lost?.units ?? []).map(({ crate }) => {
      const next = watch.of(crate).find(isElsewhere)
      return next === undefined ? Number.POSITIVE_INFINITY : Math.max(0, next.from - (lost?.at ?? 0))
    })
    return { ms, recoveries, again: watch.all.length - new Set(watch.all.map(({ crate }) => crate)).size }
  } finally {
    watch.stop()
    const machine = lost && machines.all[lost.machine]
    if (trouble !== undefined && machine !== undefined) await trouble.end(machine)
    await building.catch(() => undefined)
    await together(machines.all)
    await atRest(machines.all)
  }
}

function tell(machines: Machines, { all }: CompileWatch, since: number, logged: number): void {
  const after = (ms: number | undefined): string => (ms === undefined ? '…' : seconds(ms - since))
  for (const { at, crate, from, until } of all) say(`  m${at} ${crate} ${after(from)} to ${after(until)}`)
  const startedAt = Date.now() - performance.now()
  for (const line of machines.all[0]?.node.log.slice(logged).split('\n').filter(Boolean) ?? []) {
    const { time, msg, ...rest } = JSON.parse(line)
    say(`  ${after(time - startedAt)} ${msg} ${JSON.stringify({ ...rest, level: undefined })}`)
  }
}

const machines = await Machines.open(3, share, undefined, 'shoalflt')
if (typeof machines === 'string') say(`not measured: ${machines}`)
else {
  try {
    const steps = await stepsFor(machines, unitMs)
    // What nobody has met before goes away one by one.
    await build(machines, steps)
    const calm: number[] = []
    for (let trial = 0; trial < trials; trial++) calm.push((await build(machines, steps)).ms)
    const usual = median(calm)
    const { units } = await lastReport(machines.all[0]?.node ?? (undefined as never))
    const away = units.filter(({ outcome }) => outcome === 'compiled-mesh').length
    say(
      `three machines of ${share} processors; two chains of ${length} crates of ${seconds(unitMs)} s: ${seconds(usual)} s ` +
        `(${calm.map(seconds).join(', ')}), ${away} of ${units.length} away`,
    )
    say(
      `${'a lender is'.padEnd(36)} trials   begun elsewhere after s: p50, most   build longer by s: p50, most   again`,
    )
    for (const [name, trouble] of Object.entries(troubles)) {
      if (!only.split(',').some((word) => trouble.title.includes(word))) continue
      const rows: Build[] = []
      for (let trial = 0; trial < trials; trial++) rows.push(await build(machines, steps, trouble))
      const recoveries = rows.flatMap((row) => row.recoveries)
      const growths = rows.map(({ ms }) => ms - usual)
      const budget = name === 'goodbye' ? goodbyeMs : budgetMs
      const isGood = recoveries.every((ms) => ms <= budget) && growths.every((ms) => ms <= budget + unitMs)
      const figures = [
        String(trials).padStart(6),
        `${seconds(median(recoveries))} ${seconds(Math.max(...recoveries))}`.padStart(37),
        `${seconds(median(growths))} ${seconds(Math.max(...growths))}`.padStart(30),
        `${rows.reduce((sum, { again }) => sum + again, 0)}`.padStart(7),
        isGood ? '' : '  beyond the budget',
      ]
      say(trouble.title.padEnd(36) + figures.join(' '))
      if (!isGood) process.exitCode = 1
    }
  } finally {
    await machines.close()
  }
}
