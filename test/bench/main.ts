import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Cluster, capture, cratesIoReachable, lastReport } from '../support/cluster.ts'

/**
 * Figures side by side with plain cargo, as ratios of medians in one run. `npm run bench -- [--runs N] [--example NAME]`.
 * Baseline and subject take turns, so that a machine that drifts drifts for both.
 */
const argument = (name: string, otherwise: string): string => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : (process.argv[at + 1] ?? otherwise)
}
const runs = Number(argument('runs', '3'))
const wanted = argument('example', 'workspace')
const reachable = await cratesIoReachable(fileURLToPath(new URL('../../examples/workspace', import.meta.url)))
const example = wanted === 'workspace' && !reachable ? 'offline' : wanted

const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

async function timed(dir: string, env: NodeJS.ProcessEnv): Promise<number> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  const from = performance.now()
  const ran = await capture('cargo', ['build', '--offline'], { cwd: dir, env })
  if (ran.code !== 0) throw new Error(ran.stderr)
  return performance.now() - from
}

async function measure(): Promise<void> {
  const cluster = await Cluster.start(['one'])
  try {
    const node = cluster.node('one')
    const dir = await cluster.checkout(example, 'bench')
    const plainEnv = { ...process.env, CARGO_INCREMENTAL: '0' }
    const shoalEnv = await node.cargoEnv()
    const plain: number[] = []
    const cold: number[] = []
    const warm: number[] = []
    const hits: number[] = []
    const alone: number[] = []
    await timed(dir, plainEnv)
    for (let run = 0; run < runs; run++) {
      plain.push(await timed(dir, plainEnv))
      await node.stop()
      alone.push(await timed(dir, shoalEnv))
      await rm(join(node.home, 'cache/blocks'), { recursive: true, force: true })
      await rm(join(node.home, 'cache/index'), { recursive: true, force: true })
      await node.start()
      cold.push(await timed(dir, shoalEnv))
      await lastReport(node)
      warm.push(await timed(dir, shoalEnv))
      const { units } = await node.json<{ units: { outcome: string; ms: number }[] }>('report', 'last')
      hits.push(median(units.filter((unit) => unit.outcome === 'recalled-here').map((unit) => unit.ms)))
    }
    const base = median(plain)
    say(`examples/${example}, medians of ${runs}, plain cargo ${seconds(base)}`)
    const row = (what: string, values: number[], budget: string): boolean =>
      say(
        `  ${what.padEnd(34)} ${seconds(median(values)).padStart(9)}  ${(median(values) / base).toFixed(3)} x  (budget ${budget})`,
      )
    row('cold, empty mesh', cold, '1.03 x')
    row('no daemon', alone, '+ 0.2 s in all')
    row('from nothing, libs recalled here', warm, 'other kinds are still compiled')
    say(`  one recalled unit, median ${median(hits)} ms (budget 3 ms)`)
  } finally {
    await cluster.close()
  }
}

await measure()
