import { type ArenaReport, contest, type Scenario } from './arena.ts'
import type { Knowledge } from './graph.ts'
import { mean } from './statistics.ts'
import { type Rules, rulesNow } from './variant.ts'

interface Change {
  name: string
  knowledge: Knowledge
  rules: Partial<Rules>
}

const anySpeed = { speedPower: 0, leaveFor: Number.POSITIVE_INFINITY }
const finish = { leaveFor: 0.1, finish: true }

/** Each line is a rule that the market does not have, or one less that it has. */
const changes: readonly Change[] = [
  { name: 'as it is', knowledge: 'nothing', rules: {} },
  { name: 'durations learnt, longest first', knowledge: 'durations', rules: {} },
  { name: 'graph learnt, longest path first', knowledge: 'graph', rules: {} },
  { name: 'hedge what is overdue', knowledge: 'graph', rules: { hedge: true } },
  { name: 'short units stay', knowledge: 'graph', rules: { shortestMs: 150 } },
  { name: 'whatever the speeds are', knowledge: 'graph', rules: anySpeed },
  { name: 'lenders by speed, home first', knowledge: 'graph', rules: { leaveFor: Number.POSITIVE_INFINITY } },
  { name: 'auctions of 10 ms', knowledge: 'graph', rules: { auctionMs: 10 } },
  { name: 'by finish with missing inputs', knowledge: 'graph', rules: finish },
  { name: '+ auctions of 10 ms', knowledge: 'graph', rules: { ...finish, auctionMs: 10 } },
  { name: '+ hedge', knowledge: 'graph', rules: { ...finish, auctionMs: 10, hedge: true } },
]

/** Lines of a table: makespan over the all-knowing scheduler's at each load, and CPU time for nothing. */
export function* gains(scenario: Scenario, loads: readonly number[], runs: number): Generator<string> {
  const points = loads.flatMap((load) => {
    return Array.from({ length: runs }, (_, run) => ({ ...scenario, load, seed: scenario.seed + run }))
  })
  yield ['rules'.padEnd(36), ...loads.map((load) => `load ${load}`.padStart(10)), 'wasted %'.padStart(10)].join(' ')
  const ideal = points.map((point) => contest('all-knowing', point))
  const line = (name: string, run: (point: Scenario) => ArenaReport): string => {
    const reports = points.map(run)
    const ratios = loads.map((load) => {
      const of = (some: readonly ArenaReport[]): number => {
        return mean(some.flatMap(({ makespansMs }, at) => (points[at]?.load === load ? makespansMs : [])))
      }
      return (of(reports) / of(ideal)).toFixed(3).padStart(10)
    })
    const sum = (of: (report: ArenaReport) => number): number => reports.reduce((all, report) => all + of(report), 0)
    const wasted = (100 * sum(({ wastedMs }) => wastedMs)) / sum(({ slotMs }) => slotMs)
    return [name.padEnd(36), ...ratios, wasted.toFixed(2).padStart(10)].join(' ')
  }
  yield line('state machines, as they are', (point) => contest('market', { ...point, knowledge: 'nothing' }))
  for (const { name, knowledge, rules } of changes) {
    yield line(name, (point) => contest('table', { ...point, knowledge, rules: { ...rulesNow, ...rules } }))
  }
}
