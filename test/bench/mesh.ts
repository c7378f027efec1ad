import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { seededRandom } from '../../src/base/clock.ts'
import { graphOf, graphPathMs, graphWorkMs } from '../../src/sim/graph.ts'
import type { Recording } from '../../src/sim/recording.ts'
import { recordBuild } from '../sim/recorder.ts'
import { capture } from '../support/cluster.ts'
import { argument, say } from './figures.ts'
import { type Measured, meshBuild, type Plain, plainBuilds, type Setting } from './mesh-run.ts'
import { costOf, mobile, predictedMs, slowed, slowerIn } from './mesh-terms.ts'

/**
 * How much faster a build gets with more machines: real nodes in network namespaces, each with the same share of a processor and
 * nothing in its store. `npm run bench -- mesh [--nodes 1,2,4,6] [--share 0.25] [--example NAME] [--profile NAME] [--mbit N] [--runs N]
 * [--warm ROUNDS] [--period-ms N] [--keep FILE]`. Beside it stand plain cargo on as many such machines at once, each for itself; the least
 * that any scheduler could do if compiles took what they take there; and what the simulator expects of the market with the same units and
 * with what nodes and compiles took in this very run. With `--keep` what is measured is written there, and not measured again.
 */
const counts = argument('nodes', '1,2,4,6').split(',').map(Number)
const runs = Number(argument('runs', '1'))
const mbit = argument('mbit', '') === '' ? undefined : Number(argument('mbit', ''))
const keep = argument('keep', '')
const setting: Setting = {
  example: argument('example', 'workspace'),
  profile: argument('profile', 'dev'),
  share: Number(argument('share', '0.25')),
  warm: Number(argument('warm', '3')),
  network: { mbit, periodMs: Number(argument('period-ms', '10')) },
}
const seconds = (ms: number): string => (ms / 1000).toFixed(1)

interface Kept {
  setting: Setting
  recording?: Recording
  /** By how many machines built it at once, each for itself. */
  plain: Record<string, Plain>
  rows: Record<string, Measured[]>
}

const kept: Kept = { setting, plain: {}, rows: {} }
if (keep !== '' && existsSync(keep)) {
  const before = JSON.parse(await readFile(keep, 'utf8')) as Kept
  if (JSON.stringify(before.setting) === JSON.stringify(setting)) Object.assign(kept, before)
}

async function write(): Promise<void> {
  if (keep !== '') await writeFile(keep, JSON.stringify(kept))
}

function must<T>(measured: T | string): T {
  if (typeof measured === 'string') throw new Error(`not measured: ${measured}`)
  return measured
}

const median = (rows: readonly Measured[]): Measured | undefined =>
  rows.toSorted((a, b) => a.ms - b.ms)[(rows.length - 1) >> 1]

const columns: readonly [title: string, cell: (of: Line) => string][] = [
  ['machines', ({ count }) => `${count}`],
  ['build s', ({ row }) => seconds(row.ms)],
  ['path s', ({ pathMs }) => seconds(pathMs)],
  ['work/slots s', ({ count, workMs }) => seconds(workMs / count)],
  ['transfer s', ({ transferMs }) => seconds(transferMs)],
  ['times', ({ row, least }) => (row.ms / least).toFixed(2)],
  ['plain s', ({ plain }) => seconds(plain.ms)],
  ['plain/build', ({ plain, row }) => (plain.ms / row.ms).toFixed(2)],
  ['simulated s', ({ expected }) => seconds(expected)],
  ['sim/build', ({ row, expected }) => (expected / row.ms).toFixed(2)],
  ['without nodes s', ({ free }) => seconds(free)],
  ['away of units', ({ row }) => `${row.away} of ${row.units}`],
  ['MB', ({ row }) => (row.bytes / 1e6).toFixed(1)],
  ['here ms', ({ cost }) => cost.here.toFixed(0)],
  ['builder ms', ({ cost }) => cost.builder.toFixed(0)],
  ['lender ms', ({ cost }) => cost.lender.toFixed(0)],
  ['nodes s', ({ row }) => seconds(row.builderMs + row.lendersMs)],
  ['plain rest s', ({ plain }) => seconds(plain.restMs)],
  ['rest s', ({ row }) => seconds(row.restMs)],
]

interface Line {
  count: number
  row: Measured
  /** Of plain cargo on as many machines at once. */
  plain: Plain
  pathMs: number
  workMs: number
  transferMs: number
  least: number
  cost: ReturnType<typeof costOf>
  expected: number
  free: number
}

const example = fileURLToPath(new URL(`../../examples/${setting.example}`, import.meta.url))
await capture('cargo', ['fetch', '--locked', '--quiet'], { cwd: example })
kept.recording ??= recordBuild(example, 'stable', setting.profile)
await write()
const { recording } = kept
say(`${recording.package}: ${recording.units.length} units, machines of ${setting.share} processors with one slot each`)
say(
  'here, builder, lender: processor ms of the nodes for a unit here, and for one away of the node that builds and the one that lends',
)
say(columns.map(([title]) => title.padStart(title.length + 1)).join(' '))
for (const count of counts) {
  const rows = kept.rows[count] ?? []
  kept.rows[count] = rows
  while (rows.length < runs) {
    rows.push(must(await meshBuild(count, setting)))
    await write()
  }
  const row = median(rows)
  if (row === undefined) continue
  kept.plain[count] ??= must(await plainBuilds(count, setting))
  await write()
  const plain = kept.plain[count]
  const graph = graphOf(slowed(recording, slowerIn(plain, recording) / setting.share), {
    random: seededRandom(1),
    errorSigma: 0,
    knowledge: 'graph',
    mobile: new Set(mobile),
  })
  const [pathMs, workMs] = [graphPathMs(graph), graphWorkMs(graph)]
  const cost = costOf(row, median(kept.rows[1] ?? []), plain, recording)
  const transferMs = row.bytes / (125 * (mbit ?? 1000))
  const line: Line = {
    ...{ count, row, plain, pathMs, workMs, transferMs, cost },
    least: Math.max(pathMs, workMs / count) + transferMs,
    expected: predictedMs(recording, cost, count, setting),
    free: predictedMs(recording, { ...cost, here: 0, builder: 0, lender: 0 }, count, setting),
  }
  say(columns.map(([title, cell]) => cell(line).padStart(title.length + 1)).join(' '))
}
