import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { writeFiles } from '../support/busy.ts'
import { Cluster, capture } from '../support/cluster.ts'
import { until } from '../support/until.ts'
import { median, say } from './figures.ts'
import { type Beside, besideTicks } from './owner-ticks.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Compiles for some fifteen seconds on one processor. */
const heavy = (salt: number): string =>
  [
    `pub const SALT: u32 = ${salt};`,
    ...Array.from(
      { length: 30 },
      (_, n) => `pub fn f${n}(mut words: Vec<String>, n: u64) -> std::collections::BTreeMap<String, u64> {
        words.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        words.into_iter().enumerate().map(|(at, word)| (format!("{word}-{}", at as u64 * n + ${n}), n ^ ${n})).collect()
      }`,
    ),
  ].join('\n')

const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`
const crates = Array.from({ length: 400 }, (_, n) => `heavy${n}`)
/** What Ben builds; and what takes his only slot, so that all of it goes to the owner's machine. */
const work = {
  'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = [${crates.map((name) => `"${name}"`)}]\n[profile.dev]\nopt-level = 3\ncodegen-units = 1\n`,
  ...Object.fromEntries(crates.map((name) => [`${name}/Cargo.toml`, manifest(name)])),
  ...Object.fromEntries(crates.map((name, n) => [`${name}/src/lib.rs`, heavy(n)])),
}
/** @param copy tells it from another one: two that are the same would be compiled once */
const hold = (copy: string): Record<string, string> => ({
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["hold", "held"]\n',
  'hold/Cargo.toml': manifest('hold', '[lib]\nproc-macro = true\n'),
  'hold/src/lib.rs': `use proc_macro::TokenStream;
#[proc_macro] pub fn hold(_: TokenStream) -> TokenStream {
    let dir = std::env::var("HOLD_DIR").unwrap();
    std::fs::write(format!("{dir}/is-held"), "").unwrap();
    while !std::path::Path::new(&format!("{dir}/go")).exists() { std::thread::sleep(std::time::Duration::from_millis(50)); }
    TokenStream::new()
}
`,
  'held/Cargo.toml': manifest('held', '[dependencies]\nhold = { path = "../hold" }\n'),
  'held/src/main.rs': `hold::hold!(); fn main() { println!("${copy}") }\n`,
})

interface StatusRow {
  node: { pid: number }
  slots: { lent: number }
}

/**
 * Ben sits at another machine; on this one, what he does must not take anything from the owner. A scheduling class alone does not see to that:
 * Linux divides the processor among groups and sessions first.
 */
async function openElsewhere(): Promise<{ launcher: string[]; close(): Promise<void> }> {
  for (const root of ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup']) {
    const group = join(root, `shoal-bench-${process.pid}`)
    try {
      await mkdir(group)
      await writeFile(join(group, 'cpu.idle'), '1')
      const enter = ['sh', '-c', `echo $$ > ${group}/cgroup.procs; exec "$@"`, 'sh']
      // What was ended takes a moment to be gone.
      return {
        launcher: [...enter, ...onProcessors(half, processors - 1)],
        close: () =>
          until('empty', () =>
            rmdir(group).then(
              () => true,
              () => false,
            ),
          ),
      }
    } catch {
      await rmdir(group).catch(() => undefined)
    }
  }
  throw new Error('no control group for what is to be elsewhere')
}

export interface OwnerInit {
  /** Builds with guests, and as many without. */
  runs: number
  /** Turns of the periodic task, each of so many ticks. */
  turns: number
  ticks: number
  /** Whether guests that were stopped have turns as well. */
  stops: boolean
}

/** What a program is started with to run on some processors only. */
const onProcessors = (first: number, last: number): string[] => ['taskset', '-c', `${first}-${last}`]

/** Each of the two machines has half of the processors: what the other one does takes none of the owner's. */
const processors = availableParallelism()
const half = processors >> 1
const hers = onProcessors(0, half - 1)

/**
 * The owner of a machine that is full of guests: two nodes, of which one lends all that its owner leaves and the other has work
 * without end. The owner's own build through its node, and a task every 10 ms, with and without guests in turns.
 */
export async function owner({ runs, ticks, turns, stops }: OwnerInit): Promise<void> {
  if (half === 0) throw new Error('the machines of two people need a processor each, and there is one')
  const cluster = await Cluster.start(['ada', 'ben'], (name) =>
    name === 'ada' ? '[lend]\nyield = true\n[build]\nwarm-incremental = false\n' : '[lend]\nslots = 0\n',
  )
  const [ada, ben] = [cluster.node('ada'), cluster.node('ben')]
  const elsewhere = await openElsewhere()
  const cargoInBackground = async (workspace: string, args: string[], more = {}): Promise<ChildProcess> => {
    const env = { ...(await ben.cargoEnv()), ...more }
    const [program = '', ...rest] = [...elsewhere.launcher, 'cargo', 'build', '--offline', ...args]
    return spawn(program, rest, { cwd: workspace, env, stdio: 'ignore', detached: true })
  }
  await ben.stop()
  ben.launcher = elsewhere.launcher
  await ben.start()
  await ada.stop()
  ada.launcher = hers
  await ada.start()
  await ada.waitForPeers(1)
  const workDir = join(cluster.dir, 'work')
  const background: ChildProcess[] = []
  try {
    await writeFiles(workDir, work)
    // All of Ben's slots.
    for (const copy of Array.from({ length: processors - half }, (_, slot) => `slot${slot}`)) {
      const dir = join(cluster.dir, copy)
      await writeFiles(dir, hold(copy))
      background.push(await cargoInBackground(dir, [], { HOLD_DIR: dir }))
      await until('held', () => existsSync(join(dir, 'is-held')))
    }
    background.push(await cargoInBackground(workDir, ['-j', '6']))
    const dir = await cluster.checkout('offline', 'owners')
    const program = join(cluster.dir, 'ticks')
    const made = await capture('rustc', ['-O', '--edition=2021', here('ticks.rs'), '-o', program])
    if (made.code !== 0) throw new Error(made.stderr)
    const lent = async (): Promise<number> => (await ada.ask<StatusRow>('status')).slots.lent
    const env = await ada.cargoEnv()

    let builds = 0
    const build = async (): Promise<number> => {
      builds += 1
      await rm(join(dir, 'target'), { recursive: true, force: true })
      await ada.shoal('cache', 'purge', '--yes')
      await delay(2000)
      const from = performance.now()
      // Nobody has it: what was built before, Ben keeps a copy of.
      const unknown = { ...env, RUSTFLAGS: `--cfg build="${builds}"` }
      const [cargo = '', ...args] = [...hers, 'cargo', 'build', '--offline']
      const built = await capture(cargo, args, { cwd: dir, env: unknown })
      if (built.code !== 0) throw new Error(built.stderr)
      return performance.now() - from
    }
    const become = async (guests: boolean): Promise<void> => {
      await ada.shoal(guests ? 'resume' : 'pause')
      await until(
        guests ? 'full of guests: is anybody else at work here?' : 'no guest',
        async () => (await lent()) === (guests ? half : 0),
      )
    }
    const measure = async (guests: boolean): Promise<number> => {
      await become(guests)
      const buildMs = await build()
      say(`  ${guests ? 'guests' : 'alone'}: ${buildMs.toFixed(0)} ms`)
      return buildMs
    }
    say(`the owner of a machine that lends all it has: ${runs} builds, ${turns} turns of ${ticks} ticks, each way`)
    // What is slow the first time is slow for one of the two only.
    if (runs > 0) await measure(false)
    const alone: number[] = []
    const hosting: number[] = []
    for (let run = 0; run < runs; run++) {
      for (const guests of run % 2 === 0 ? [true, false] : [false, true]) {
        const ms = await measure(guests)
        ;(guests ? hosting : alone).push(ms)
      }
    }
    if (runs > 0) {
      const [without, beside] = [median(alone), median(hosting)]
      const ratio = (beside / without).toFixed(3)
      say(
        `  cargo build of examples/offline: ${without.toFixed(0)} ms alone, ${beside.toFixed(0)} ms beside guests, ${ratio} x`,
      )
    }
    const states: Beside[] = ['nothing', 'guests', 'nothing, once more', ...(stops ? ['stopped guests' as const] : [])]
    const { pid: lender } = (await ada.ask<StatusRow>('status')).node
    await besideTicks({
      program: [...hers, program],
      turns,
      ticks,
      states,
      lender,
      become: (state) => become(state === 'guests'),
      guests: lent,
    })
  } finally {
    for (const child of background) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) continue
      // Its whole group: cargo alone would leave its compilers at work.
      process.kill(-child.pid, 'SIGTERM')
      await once(child, 'exit')
    }
    await cluster.close()
    await elsewhere.close()
  }
}
