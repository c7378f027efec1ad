import { spawnSync } from 'node:child_process'
import { Lender, okResult } from '../execute/support.ts'
import { argument, median, quantile, say } from './figures.ts'
import { owner } from './owner.ts'

/**
 * What lending costs: the sandbox for each action, and the owner whose machine is full of guests. `npm run bench -- lend
 * [--trials N] [--runs N] [--turns N] [--ticks N] [--stops]`. With and without take turns, so that a machine that drifts drifts for both.
 */
const trials = argument('trials', 60)

async function overhead(lender: Lender): Promise<void> {
  const inside: number[] = []
  const whole: number[] = []
  const outside: number[] = []
  for (let trial = 0; trial < trials; trial++) {
    const source = { 'src/lib.rs': `pub fn answer() -> u32 { ${trial} }` }
    const prepared = await lender.prepare({ crate: 'small', files: source })
    const direct = (): void => {
      const from = performance.now()
      if (lender.here(prepared).status !== 0) throw new Error('rustc failed')
      outside.push(performance.now() - from)
    }
    if (trial % 2 === 0) direct()
    const from = performance.now()
    const outcome = await lender.run(prepared)
    whole.push(performance.now() - from)
    okResult(outcome)
    inside.push(outcome.wallMs)
    if (trial % 2 === 1) direct()
    await lender.executor.idle()
  }
  const difference = (values: number[]): number[] => values.map((ms, trial) => ms - (outside[trial] ?? 0))
  const row = (name: string, ms: number[]): boolean =>
    say(
      `  ${name}: p50 ${median(difference(ms)).toFixed(1)} ms, p90 ${quantile(difference(ms), 0.9).toFixed(1)} ms more`,
    )
  say(`one small library, ${trials} times, tier ${lender.executor.tier}: rustc alone ${median(outside).toFixed(1)} ms`)
  row('in the sandbox', inside)
  row('with its inputs laid out and its outputs collected', whole)
}

spawnSync('sync')
const lender = new Lender({ background: true })
await lender.start()
try {
  if (lender.executor.tier === 'none') throw new Error(lender.executor.reason)
  if (trials > 0) await overhead(lender)
} finally {
  await lender.stop()
}
const [runs, turns] = [argument('runs', 4), argument('turns', 40)]
const stops = process.argv.includes('--stops')
if (runs + turns > 0) await owner({ runs, turns, ticks: argument('ticks', 200), stops })
