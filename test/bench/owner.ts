import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** Compiles for some five seconds on one processor, with 220 MB of memory. */
const heavy = (salt: number): string =>
  [
    `pub const SALT: u32 = ${salt};`,
    ...Array.from(
      { length: 10 },
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

async function write(dir: string, files: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), content)
  }
}

interface StatusRow {
  slots: { lent: number }
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (await holds()) return
    await delay(100)
  }
  throw new Error(`never: ${what}`)
}

/** Ben sits at another machine; on this one, what he does must not take anything from the owner. */
const elsewhere = ['chrt', '--idle', '0']

async function cargoInBackground(node: TestNode, dir: string, args: string[], env = {}): Promise<ChildProcess> {
  const options = { cwd: dir, env: { ...(await node.cargoEnv()), ...env }, stdio: 'ignore', detached: true } as const
  const [program = '', ...rest] = [...elsewhere, 'cargo', 'build', '--offline', ...args]
  return spawn(program, rest, options)
}

/**
 * The owner of a machine that is full of guests: two nodes, of which one lends all that its owner leaves and the other has work
 * without end. The owner's own build through its node, and a task every 10 ms, with and without guests in turns.
 */
export async function owner({ runs, ticks }: { runs: number; ticks: number }): Promise<void> {
  const cluster = await Cluster.start(['ada', 'ben'], (name) =>
    name === 'ada' ? '[lend]\nyield = true\n[build]\nwarm-incremental = false\n' : '[lend]\nslots = 0\n',
  )
  const [ada, ben] = [cluster.node('ada'), cluster.node('ben')]
  await ben.stop()
  ben.launcher = elsewhere
  await ben.start()
  await ada.waitForPeers(1)
  const workDir = join(cluster.dir, 'work')
  const background: ChildProcess[] = []
  try {
    await write(workDir, work)
    // Both of Ben's slots.
    for (const copy of ['one', 'two']) {
      const dir = join(cluster.dir, copy)
      await write(dir, hold(copy))
      background.push(await cargoInBackground(ben, dir, [], { HOLD_DIR: dir }))
      await until('held', () => existsSync(join(dir, 'is-held')))
    }
    background.push(await cargoInBackground(ben, workDir, ['-j', '6']))
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
      const built = await capture('cargo', ['build', '--offline'], { cwd: dir, env: unknown })
      if (built.code !== 0) throw new Error(built.stderr)
      return performance.now() - from
    }
    const tick = async (): Promise<{ p50: number; p99: number }> => {
      const { stdout } = await capture(program, [`${ticks}`])
      const [p50 = 0, p99 = 0] = stdout.split(' ').map((text) => Number(text) / 1000)
      return { p50, p99 }
    }
    const measure = async (guests: boolean) => {
      await ada.shoal(guests ? 'resume' : 'pause')
      const full = (): Promise<void> =>
        until(
          guests ? 'two guests: is anybody else at work here?' : 'no guest',
          async () => (await lent()) === (guests ? 2 : 0),
        )
      await full()
      const buildMs = await build()
      await full()
      const ticked = await tick()
      return { buildMs, ...ticked, lent: await lent() }
    }
    // What is slow the first time is slow for one of the two only.
    await measure(false)
    const alone: Awaited<ReturnType<typeof measure>>[] = []
    const hosting: typeof alone = []
    for (let run = 0; run < runs; run++) {
      for (const guests of run % 2 === 0 ? [true, false] : [false, true]) {
        const row = await measure(guests)
        ;(guests ? hosting : alone).push(row)
        say(`  ${guests ? 'guests' : 'alone'}: ${Object.entries(row).map(([name, n]) => `${name} ${n.toFixed(2)}`)}`)
      }
    }
    say(`the owner of a machine that lends all it has, ${runs} times`)
    for (const [name, of] of [
      ['cargo build of examples/offline', (row) => row.buildMs],
      ['a task every 10 ms, p50', (row) => row.p50],
      ['a task every 10 ms, p99', (row) => row.p99],
    ] satisfies [string, (row: (typeof alone)[number]) => number][]) {
      const [without, beside] = [median(alone.map(of)), median(hosting.map(of))]
      say(
        `  ${name}: ${without.toFixed(2)} ms alone, ${beside.toFixed(2)} ms beside guests, ${(beside / without).toFixed(3)} x`,
      )
    }
  } finally {
    for (const child of background) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) continue
      // Its whole group: cargo alone would leave its compilers at work.
      process.kill(-child.pid, 'SIGTERM')
      await once(child, 'exit')
    }
    await cluster.close()
  }
}
