import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ArenaReport, contest, type Scenario, type SchedulerName } from './arena.ts'
import type { Departure } from './churn.ts'
import { drawPlot, type Series } from './plot.ts'
import { jain, mean, quantile } from './statistics.ts'

/** One scheduler on one point of a sweep: means over the seeds. */
export interface Row {
  scheduler: SchedulerName
  load: number
  nodes: number
  /** Mean makespan over the all-knowing scheduler's, and the 95th percentile of the builds' own ratios. */
  ratio: number
  /** The same over that of one who pays for bytes; NaN on more machines than it is run for. */
  paying: number
  ratio95: number
  delay50: number
  delay99: number
  /** The part of the delays during which some machine had a free slot. */
  idle50: number
  idle99: number
  /** The part during which a slot was free that would have brought the unit forward; of the market, NaN of others. */
  own50: number
  own99: number
  awayShare: number
  messages: number
  standingPerSecond: number
  bytes: number
  wasted: number
  /** Processor time of the nodes themselves, of the slots' time. */
  node: number
  fetching: number
  idle: number
  starved: number
  violations: number
  /** How equally builds fared: Jain's index of makespan ÷ what it could be. */
  fairness: number
  delaysMs: readonly number[]
  /** Milliseconds from the end of a lender to the new start of its units, sorted. */
  recoveries: Readonly<Record<Departure, readonly number[]>>
}

/** So many machines the one who pays for bytes has at most: each of its decisions looks at many of them. */
const mostPaying = 200

/** @param schedulers measured against the all-knowing one, which need not be among them */
export function comparePoint(scenario: Scenario, runs: number, schedulers: readonly SchedulerName[]): Row[] {
  const scenarios = Array.from({ length: runs }, (_, run) => ({ ...scenario, seed: scenario.seed + run }))
  const ideal = scenarios.map((one) => contest('all-knowing', one))
  const paying = scenario.nodes > mostPaying ? [] : scenarios.map((one) => contest('all-knowing-paying', one))
  return schedulers.map((name) => {
    if (name === 'all-knowing') return rowOf(name, scenario, ideal, ideal, paying)
    const reports = name === 'all-knowing-paying' && paying.length > 0 ? paying : undefined
    return rowOf(name, scenario, reports ?? scenarios.map((one) => contest(name, one)), ideal, paying)
  })
}

function rowOf(
  scheduler: SchedulerName,
  { load, nodes }: Scenario,
  reports: readonly ArenaReport[],
  ideal: readonly ArenaReport[],
  paying: readonly ArenaReport[],
): Row {
  const sum = (of: (report: ArenaReport) => number): number => reports.reduce((all, report) => all + of(report), 0)
  const recoveries = (how: Departure): number[] => {
    const all = reports.flatMap((report) => report.recoveries.flatMap((one) => (one.how === how ? [one.ms] : [])))
    return all.sort((a, b) => a - b)
  }
  const best = ideal.flatMap(({ makespansMs }) => makespansMs)
  const makespans = reports.flatMap(({ makespansMs }) => makespansMs)
  const ratios = makespans.map((ms, index) => ms / (best[index] ?? ms)).sort((a, b) => a - b)
  const delaysMs = reports.flatMap((report) => report.delaysMs).sort((a, b) => a - b)
  const idleDelays = reports.flatMap(({ idleDelaysMs }) => idleDelaysMs).sort((a, b) => a - b)
  const ownDelays = reports.flatMap(({ ownDelaysMs }) => ownDelaysMs).sort((a, b) => a - b)
  const away = Math.max(
    1,
    sum((report) => report.away),
  )
  const slotMs = sum((report) => report.slotMs)
  return {
    scheduler,
    load,
    nodes,
    ratio: mean(makespans) / mean(best),
    paying: paying.length > 0 ? mean(makespans) / mean(paying.flatMap((report) => report.makespansMs)) : Number.NaN,
    ratio95: quantile(ratios, 0.95),
    delay50: quantile(delaysMs, 0.5),
    delay99: quantile(delaysMs, 0.99),
    idle50: quantile(idleDelays, 0.5),
    idle99: quantile(idleDelays, 0.99),
    own50: scheduler === 'market' ? quantile(ownDelays, 0.5) : Number.NaN,
    own99: scheduler === 'market' ? quantile(ownDelays, 0.99) : Number.NaN,
    awayShare:
      away /
      Math.max(
        1,
        sum(({ units }) => units),
      ),
    messages: sum((report) => report.messages.units) / away,
    standingPerSecond: (1000 * sum((report) => report.messages.standing)) / sum(({ endedAtMs }) => endedAtMs),
    bytes: sum((report) => report.messages.bytes) / away,
    wasted: sum((report) => report.wastedMs) / slotMs,
    node: sum(({ nodeMs }) => nodeMs) / slotMs,
    fetching: sum((report) => report.fetchMs) / slotMs,
    idle: sum((report) => report.idleMs) / slotMs,
    starved: sum((report) => report.starved),
    violations: sum((report) => report.violations.length),
    fairness: mean(reports.map((report) => jain(report.makespansMs.map((ms, at) => ms / (report.boundsMs[at] ?? ms))))),
    delaysMs,
    recoveries: { crash: recoveries('crash'), sleep: recoveries('sleep'), goodbye: recoveries('goodbye') },
  }
}

const columns: readonly [title: string, cell: (row: Row) => string][] = [
  ['nodes', ({ nodes }) => String(nodes)],
  ['load', ({ load }) => load.toFixed(2)],
  ['ratio', ({ ratio }) => ratio.toFixed(3)],
  ['paying', ({ paying }) => figure(paying, 3)],
  ['p95', ({ ratio95 }) => ratio95.toFixed(2)],
  ['delay p50', ({ delay50 }) => delay50.toFixed(1)],
  ['p99 ms', ({ delay99 }) => delay99.toFixed(0)],
  ['idle p50', ({ idle50 }) => idle50.toFixed(1)],
  ['p99 ms', ({ idle99 }) => idle99.toFixed(0)],
  ['own p50', ({ own50 }) => figure(own50, 1)],
  ['p99 ms', ({ own99 }) => figure(own99, 0)],
  ['away %', ({ awayShare }) => (100 * awayShare).toFixed(0)],
  ['msgs/unit', ({ messages }) => messages.toFixed(1)],
  ['B/unit', ({ bytes }) => bytes.toFixed(0)],
  ['standing/s', ({ standingPerSecond }) => standingPerSecond.toFixed(0)],
  ['fetching %', ({ fetching }) => (100 * fetching).toFixed(1)],
  ['idle %', ({ idle }) => (100 * idle).toFixed(1)],
  ['wasted %', ({ wasted }) => (100 * wasted).toFixed(1)],
  ['node %', ({ node }) => (100 * node).toFixed(1)],
  ['starved', ({ starved }) => String(starved)],
  ['Jain', ({ fairness }) => fairness.toFixed(3)],
  ['broken', ({ violations }) => String(violations)],
]

/** What is not told of this scheduler is a dash. */
function figure(value: number, digits: number): string {
  return Number.isNaN(value) ? '-' : value.toFixed(digits)
}

export const compareHeader = ['scheduler'.padEnd(20), ...columns.map(([title]) => title.padStart(10))].join(' ')

export function compareLine(row: Row): string {
  return [row.scheduler.padEnd(20), ...columns.map(([, cell]) => cell(row).padStart(10))].join(' ')
}

/** How soon units ran elsewhere whose lender had left; empty when none had. */
export function recoveryLines({ recoveries }: Row): string[] {
  return (['crash', 'sleep', 'goodbye'] as const).flatMap((how) => {
    const ms = recoveries[how]
    const at = (share: number): string => quantile(ms, share).toFixed(0)
    return ms.length > 0 ? [`  after ${how}: ${ms.length} units began anew, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`] : []
  })
}

/** Writes what the rows show: by load when there are several, and by number of machines when there are several. */
export function writePlots(directory: string, rows: readonly Row[]): string[] {
  mkdirSync(directory, { recursive: true })
  const names = [...new Set(rows.map(({ scheduler }) => scheduler))]
  const by = (x: (row: Row) => number, y: (row: Row) => number): Series[] => {
    return names.map((name) => ({
      name,
      points: rows.filter(({ scheduler }) => scheduler === name).map((row) => [x(row), y(row)] as const),
    }))
  }
  const files: string[] = []
  const write = (name: string, svg: string): void => {
    const file = join(directory, name)
    writeFileSync(file, svg)
    files.push(file)
  }
  const loads = new Set(rows.map(({ load }) => load)).size
  const sizes = new Set(rows.map(({ nodes }) => nodes)).size
  const [ratio, messages] = ['makespan ÷ all-knowing', 'messages per unit compiled away']
  if (loads > 1) {
    write(
      'ratio-by-load.svg',
      drawPlot({
        title: ratio,
        x: 'load',
        y: '',
        mark: 1.1,
        series: by(
          (r) => r.load,
          (r) => r.ratio,
        ),
      }),
    )
    write(
      'messages-by-load.svg',
      drawPlot({
        title: messages,
        x: 'load',
        y: '',
        mark: 15,
        series: by(
          (r) => r.load,
          (r) => r.messages,
        ),
      }),
    )
  }
  if (sizes > 1) {
    const x = { x: 'machines', y: '', logX: true } as const
    write(
      'ratio-by-nodes.svg',
      drawPlot({
        ...x,
        title: ratio,
        mark: 1.1,
        series: by(
          (r) => r.nodes,
          (r) => r.ratio,
        ),
      }),
    )
    write(
      'messages-by-nodes.svg',
      drawPlot({
        ...x,
        title: messages,
        mark: 15,
        series: by(
          (r) => r.nodes,
          (r) => r.messages,
        ),
      }),
    )
  }
  const last = rows.filter(({ load, nodes }) => load === rows.at(-1)?.load && nodes === rows.at(-1)?.nodes)
  const cdf = last.map(({ scheduler, delaysMs }): Series => {
    const shares = Array.from({ length: 101 }, (_, percent) => percent / 100)
    return {
      name: scheduler,
      points: shares.map((share) => [Math.max(0.1, quantile(delaysMs, share)), share] as const),
    }
  })
  write(
    'delay.svg',
    drawPlot({ title: 'ready → bound', x: 'milliseconds', y: 'share of units', logX: true, series: cdf }),
  )
  return files
}
