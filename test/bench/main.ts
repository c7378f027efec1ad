import { cp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Cluster, capture, cratesIoReachable, lastReport, type TestNode } from '../support/cluster.ts'
import { argument, median, quantile, say } from './figures.ts'

/**
 * Figures side by side with plain cargo, as ratios of medians in one run. `npm run bench -- [--runs N] [--example NAME]
 * [--sccache PATH]`. Baselines and subjects take turns at being first, so that a machine that drifts drifts for all; an even
 * number of runs is best.
 */
const runs = Number(argument('runs', '4'))
const wanted = argument('example', 'workspace')
const sccache = argument('sccache', 'sccache')
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const reachable = await cratesIoReachable(here('../../examples/workspace'))
const example = wanted === 'workspace' && !reachable ? 'offline' : wanted

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

async function must(program: string, args: string[], options: Parameters<typeof capture>[2]): Promise<void> {
  const ran = await capture(program, args, options)
  if (ran.code !== 0) throw new Error(ran.stderr)
}

/** Milliseconds from an empty target directory. */
async function timed(dir: string, env: NodeJS.ProcessEnv): Promise<number> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  const from = performance.now()
  await must('cargo', ['build', '--offline'], { cwd: dir, env })
  return performance.now() - from
}

/** The environment of a build by the floor, which copies from beside the target directory. */
async function floorEnv(dir: string, plain: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const program = join(dir, '..', 'floor')
  await must('rustc', ['-O', '--edition=2021', here('floor.rs'), '-o', program], {})
  const saved = join(dir, '..', 'saved')
  await cp(join(dir, 'target'), saved, { recursive: true })
  return { ...plain, RUSTC_WRAPPER: program, FLOOR_TARGET: join(dir, 'target'), FLOOR_SAVED: saved }
}

async function sccacheEnv(dir: string, plain: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv | undefined> {
  const env = {
    ...plain,
    RUSTC_WRAPPER: sccache,
    SCCACHE_DIR: join(dir, '..', 'sccache'),
    SCCACHE_SERVER_UDS: join(dir, '..', 'sccache.sock'),
  }
  const ran = await capture(sccache, ['--start-server'], { env }).catch((error: unknown) => String(error))
  if (typeof ran !== 'string' && ran.code === 0) return env
  say(`not compared with sccache: ${typeof ran === 'string' ? ran : ran.stderr}`)
  return undefined
}

/** A second or two each: one alone says more about what else the machine did just then. */
const warmTrials = 3

/** Microseconds by unit, the last of each. */
async function readLog(file: string): Promise<Map<string, number>> {
  const lines = (await readFile(file, 'utf8')).trim().split('\n')
  return new Map(lines.map((line) => line.split(' ')).map(([unit = '', micros]) => [unit, Number(micros)]))
}

/** Calls that were recalled, in milliseconds from the start to the exit of the shim. */
interface Hits {
  /** How many at a time. */
  jobs: string
  whole: number[]
  /** Less what the floor took to copy the same unit's files. */
  besideCopying: number[]
  /** What starting and ending a process takes there. */
  empty: number[]
}

/** The same build by the wrapper of `env`, each call timed from start to exit: milliseconds by unit. */
async function timedUnits(dir: string, env: NodeJS.ProcessEnv): Promise<Map<string, number>> {
  const program = join(dir, '..', 'stopwatch')
  await must('rustc', ['-O', '--edition=2021', here('stopwatch.rs'), '-o', program], {})
  const log = join(dir, '..', 'calls.log')
  await rm(log, { force: true })
  const { RUSTC_WRAPPER: wrapper } = env
  const stopwatch = { RUSTC_WRAPPER: program, STOPWATCH_PROGRAM: wrapper, STOPWATCH_LOG: log }
  await timed(dir, { ...env, ...stopwatch })
  return await readLog(log)
}

async function emptyStore(node: TestNode): Promise<void> {
  await node.stop()
  for (const part of ['blocks', 'index']) await rm(join(node.home, 'cache', part), { recursive: true, force: true })
  await node.start()
}

async function measure(): Promise<void> {
  const cluster = await Cluster.start(['one'])
  try {
    const node = cluster.node('one')
    const dir = await cluster.checkout(example, 'bench')
    const plainEnv = { ...process.env, CARGO_INCREMENTAL: '0' }
    const shoalEnv = await node.cargoEnv()
    await timed(dir, plainEnv)
    const floor = await floorEnv(dir, plainEnv)
    const other = await sccacheEnv(dir, plainEnv)
    if (other !== undefined) await timed(dir, other)
    const [plain, alone, cold, warm, copied, cached]: number[][] = [[], [], [], [], [], []]
    const hits = [1, 2].map((jobs): Hits => ({ jobs: String(jobs), whole: [], empty: [], besideCopying: [] }))
    const recalledShare: number[] = []
    for (let run = 0; run < runs; run++) {
      // Everything is compiled in each of these; none of them leaves anything that the next could use but the third, for the recalls below.
      const compiling = [
        async () => void plain?.push(await timed(dir, plainEnv)),
        async () => {
          await node.stop()
          alone?.push(await timed(dir, shoalEnv))
          await node.start()
        },
        async () => {
          await emptyStore(node)
          cold?.push(await timed(dir, shoalEnv))
          await lastReport(node)
        },
      ]
      for (const trial of run % 2 === 0 ? compiling : compiling.toReversed()) await trial()
      for (let again = 0; again < warmTrials; again++) {
        warm?.push(await timed(dir, shoalEnv))
        const { units } = await node.json<{ units: { outcome: string }[] }>('report', 'last')
        const recalled = units.filter((unit) => unit.outcome === 'recalled-here')
        recalledShare.push(recalled.length / units.length)
        copied?.push(await timed(dir, floor))
      }
      if (other !== undefined) cached?.push(await timed(dir, other))
      const copying = join(dir, '..', 'copying.log')
      await rm(copying, { force: true })
      await timed(dir, { ...floor, FLOOR_LOG: copying })
      const copyMicros = await readLog(copying)
      for (const { jobs, whole, empty, besideCopying } of hits) {
        const parallel = { CARGO_BUILD_JOBS: jobs }
        const nothing = { ...floor, ...parallel, STOPWATCH_EMPTY: '1' }
        empty.push(...[...(await timedUnits(dir, nothing)).values()].map((micros) => micros / 1000))
        for (const [unit, micros] of await timedUnits(dir, { ...shoalEnv, ...parallel })) {
          whole.push(micros / 1000)
          besideCopying.push((micros - (copyMicros.get(unit) ?? 0)) / 1000)
        }
      }
    }
    if (other !== undefined) await capture(sccache, ['--stop-server'], { env: other })
    const base = median(plain ?? [])
    say(`examples/${example}, medians of ${runs}, plain cargo ${seconds(base)}`)
    const row = (what: string, values: number[] | undefined, budget: string, against = base): void => {
      if (values === undefined || values.length === 0) return
      const ratio = (median(values) / against).toFixed(3)
      say(`  ${what.padEnd(36)} ${seconds(median(values)).padStart(9)}  ${ratio} x  (${budget})`)
    }
    row('cold, empty mesh', cold, 'budget 1.03 x plain')
    row('no daemon', alone, 'budget plain + 0.2 s in all')
    row('floor: copies of the right files', copied, 'of plain')
    row('from nothing, all recalled here', warm, 'budget 2 x the floor', median(copied ?? []))
    row('sccache, warm', cached, 'x ours; wanted 10 or more', median(warm ?? []))
    say(`  units recalled in a warm build      ${(100 * median(recalledShare)).toFixed(0)} %`)
    const both = (values: number[]): string => `${median(values).toFixed(1)} / ${quantile(values, 0.99).toFixed(1)}`
    say('  one hit, shim start to shim exit, p50 / p99 in ms (budget 3 / 15 besides copying)')
    for (const { jobs, whole, empty, besideCopying } of hits) {
      say(
        `    ${jobs} at a time: ${both(besideCopying)} besides copying; ${both(whole)} with it; an empty process ${both(empty)}`,
      )
    }
  } finally {
    await cluster.close()
  }
}

await measure()
