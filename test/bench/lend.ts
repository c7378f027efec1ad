import { spawnSync } from 'node:child_process'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Lender, okResult, type Prepared } from '../execute/support.ts'
import { capture } from '../support/cluster.ts'

/**
 * What lending costs: the sandbox for each action, and the owner whose machine is full of guests. `npm run bench -- lend
 * [--trials N] [--runs N]`. With and without take turns, so that a machine that drifts drifts for both.
 */
const argument = (name: string, otherwise: number): number => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
const trials = argument('trials', 60)
const runs = argument('runs', 4)
const ticks = argument('ticks', 1000)
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const at = (values: number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0
const median = (values: number[]): number => at(values, 0.5)

/** Compiles for some seconds on one processor and some hundred MB of memory. */
const heavy = (salt: number): string =>
  [
    `pub const SALT: u32 = ${salt};`,
    ...Array.from(
      { length: 400 },
      (_, n) => `pub fn f${n}(mut words: Vec<String>, n: u64) -> std::collections::BTreeMap<String, u64> {
        words.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        words.into_iter().enumerate().map(|(at, word)| (format!("{word}-{}", at as u64 * n + ${n}), n ^ ${n})).collect()
      }`,
    ),
  ].join('\n')

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
    say(`  ${name}: p50 ${median(difference(ms)).toFixed(1)} ms, p90 ${at(difference(ms), 0.9).toFixed(1)} ms more`)
  say(`one small library, ${trials} times, tier ${lender.executor.tier}: rustc alone ${median(outside).toFixed(1)} ms`)
  row('in the sandbox', inside)
  row('with its inputs laid out and its outputs collected', whole)
}

/** Keeps as many guests at work as there are processors, until told to stop. */
function fill(lender: Lender): { stop(): Promise<void>; ended(): number } {
  const stop = new AbortController()
  let ended = 0
  const guest = async (slot: number): Promise<void> => {
    for (let round = 0; !stop.signal.aborted; round++) {
      const prepared: Prepared = await lender.prepare({
        crate: `heavy_${slot}_${round}`,
        files: { 'src/lib.rs': heavy(ended) },
        argv: ['-C', 'opt-level=3', '-C', 'codegen-units=1'],
      })
      try {
        okResult(await lender.run(prepared, { signal: stop.signal }))
        ended++
      } catch (error) {
        if (!stop.signal.aborted) throw error
      }
    }
  }
  const guests = Array.from({ length: availableParallelism() }, (_, slot) => guest(slot))
  return {
    ended: () => ended,
    async stop() {
      stop.abort(new Error('enough'))
      await Promise.all(guests)
      await lender.executor.idle()
    },
  }
}

async function owner(lender: Lender): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-bench-owner-'))
  try {
    await cp(here('../../examples/offline'), join(dir, 'offline'), { recursive: true })
    const program = join(dir, 'ticks')
    const made = await capture('rustc', ['-O', '--edition=2021', here('ticks.rs'), '-o', program])
    if (made.code !== 0) throw new Error(made.stderr)
    const measure = async () => {
      await rm(join(dir, 'offline/target'), { recursive: true, force: true })
      const from = performance.now()
      const built = await capture('cargo', ['build', '--offline'], { cwd: join(dir, 'offline') })
      const buildMs = performance.now() - from
      if (built.code !== 0) throw new Error(built.stderr)
      const ticked = await capture(program, [`${ticks}`])
      const [p50 = 0, p99 = 0] = ticked.stdout.split(' ').map(Number)
      return { buildMs, p50, p99 }
    }
    const alone: Awaited<ReturnType<typeof measure>>[] = []
    const hosting: typeof alone = []
    let lent = 0
    const withGuests = async (): Promise<void> => {
      const guests = fill(lender)
      hosting.push(await measure())
      await guests.stop()
      lent += guests.ended()
    }
    for (let run = 0; run < runs; run++) {
      if (run % 2 === 0) await withGuests()
      alone.push(await measure())
      if (run % 2 === 1) await withGuests()
    }
    say(
      `the owner beside ${availableParallelism()} guests that never end, ${runs} times (${lent} compiles lent meanwhile)`,
    )
    for (const [name, of] of [
      ['cargo build of examples/offline', (row) => row.buildMs],
      ['a task every 10 ms, p50', (row) => row.p50 / 1000],
      ['a task every 10 ms, p99', (row) => row.p99 / 1000],
    ] satisfies [string, (row: (typeof alone)[number]) => number][]) {
      const [without, beside] = [median(alone.map(of)), median(hosting.map(of))]
      say(
        `  ${name}: ${without.toFixed(2)} ms alone, ${beside.toFixed(2)} ms beside guests, ${(beside / without).toFixed(3)} x`,
      )
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

spawnSync('sync')
const lender = new Lender({ background: true })
await lender.start()
try {
  if (lender.executor.tier === 'none') throw new Error(lender.executor.reason)
  await overhead(lender)
  await owner(lender)
} finally {
  await lender.stop()
}
