import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, capture, type TestNode, type UnitRow } from '../support/cluster.ts'
import { everything, runsOf, withLaunchers, writeAll } from '../support/scripts.ts'

/**
 * Build scripts of published packages: what is recalled of them from nothing, in another directory and in another home, whether what they
 * leave is what they leave without Shoal, and what it costs to observe them. `npm run bench -- scripts [--only NAME,…]
 * [--release] [--runs N]`; with `--overhead` what each script takes by itself, plainly, behind its launcher, observed and recalled. Needs the
 * network.
 */
const argument = (name: string): string | undefined => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}
const isRelease = process.argv.includes('--release')
const runs = Number(argument('runs') ?? '1')
const profile = isRelease ? 'release' : 'debug'
const flags = isRelease ? ['--release'] : []

/** Dependencies that compile C, ask the compiler, or generate sources. */
const packages: Readonly<Record<string, string>> = {
  ring: 'ring = "=0.17.14"',
  'libz-sys': 'libz-sys = { version = "=1.1.22", features = ["static"] }',
  'zstd-sys': 'zstd-sys = { version = "=2.0.15", default-features = false, features = ["zdict_builder"] }',
  'libsqlite3-sys': 'libsqlite3-sys = { version = "=0.35.0", features = ["bundled"] }',
  'bzip2-sys': 'bzip2-sys = "=0.1.13"',
  'lz4-sys': 'lz4-sys = "=1.11.1"',
  blake3: 'blake3 = "=1.8.2"',
  'libgit2-sys': 'libgit2-sys = { version = "=0.18.2", default-features = false, features = ["vendored"] }',
  'aws-lc-sys': 'aws-lc-sys = "=0.30.0"',
  'openssl-sys': 'openssl-sys = { version = "=0.9.109", features = ["vendored"] }',
  probes:
    'serde = { version = "1", features = ["derive"] }\nlibc = "0.2"\nanyhow = "1"\nthiserror = "2"\ntypenum = "1"\nnum-traits = "0.2"\nsemver = "1"\nserde_json = "1"\nindexmap = "1"\nproc-macro2 = "1"',
  cxx: 'cxx = "1"',
}

const say = (text: string): boolean => process.stdout.write(`${text}\n`)

async function must(dir: string, env: NodeJS.ProcessEnv, args: string[]): Promise<number> {
  const from = performance.now()
  const ran = await capture('cargo', args, { cwd: dir, env })
  if (ran.code !== 0) throw new Error(ran.stderr)
  return performance.now() - from
}

/** What all build scripts left below a target directory, by the unit's directory. */
async function allLeft(dir: string): Promise<Map<string, string>> {
  const all = await everything(join(dir, 'target', profile, 'build'))
  return new Map([...all].filter(([path]) => /^[^/]+\/out(\/|$)/.test(path)))
}

/** The runs of the last build, when everything is kept. */
async function settledRuns(node: TestNode): Promise<UnitRow[]> {
  let before = -1
  for (;;) {
    const runs = await runsOf(node)
    if (runs.length === before) return runs
    before = runs.length
    await delay(1500)
  }
}

/** The first files in which two are not the same. */
function differences(a: Map<string, string>, b: Map<string, string>): string[] {
  const paths = new Set([...a.keys(), ...b.keys()])
  return [...paths].filter((path) => a.get(path) !== b.get(path)).toSorted()
}

interface Subject {
  node: TestNode
  home: string
  dir: string
}

async function build({ node, dir }: Subject, env: NodeJS.ProcessEnv): Promise<{ ms: number; runs: UnitRow[] }> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  const ms = await must(dir, { ...(await node.cargoEnv()), ...env }, ['build', '--offline', ...flags])
  return { ms, runs: await settledRuns(node) }
}

async function plain(dir: string, env: NodeJS.ProcessEnv): Promise<{ ms: number; left: Map<string, string> }> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  const variables = { ...process.env, CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: '', ...env }
  const ms = await must(dir, variables, ['build', '--offline', ...flags])
  return { ms, left: await allLeft(dir) }
}

const outcomes = (units: readonly UnitRow[]): string =>
  units
    .map(({ crate, outcome, reason }) => `${crate} ${outcome.replace('-here', '')}${reason && ` (${reason})`}`)
    .join(', ')

async function measure(name: string, dependencies: string, cluster: Cluster, node: TestNode): Promise<void> {
  const files = {
    'Cargo.toml': `[package]\nname = "subject"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n${dependencies}\n[workspace]\n`,
    'src/lib.rs': '',
  }
  const [one, two] = [join(cluster.dir, name, 'one'), join(cluster.dir, name, 'elsewhere', 'two')]
  await writeAll(one, files)
  await must(one, process.env, ['fetch'])
  await writeAll(two, { ...files, 'Cargo.lock': await readFile(join(one, 'Cargo.lock'), 'utf8') })
  const home = join(cluster.dir, name, 'home')
  const rustup = process.env.RUSTUP_HOME ?? join(process.env.HOME ?? '/', '.rustup')
  const elsewhere = { HOME: home, CARGO_HOME: join(home, 'cargo'), RUSTUP_HOME: rustup }
  await writeAll(home, { empty: '' })
  await must(two, { ...process.env, ...elsewhere }, ['fetch', '--locked'])

  if (process.argv.includes('--overhead')) {
    await overhead(name, one, node)
    return
  }
  const cases: [what: string, dir: string, env: NodeJS.ProcessEnv][] = [
    ['first', one, {}],
    ['again', one, {}],
    ['elsewhere', two, {}],
    ['another home', two, elsewhere],
  ]
  for (const [what, dir, env] of cases) {
    const without = await plain(dir, env)
    const { ms, runs: seen } = await build({ node, home, dir }, env)
    const other = differences(without.left, await allLeft(dir))
    const bytes = other.length === 0 ? 'same bytes' : `DIFFERENT: ${other.slice(0, 4).join(' ')} (${other.length})`
    say(
      `${name} · ${what}: plain ${Math.round(without.ms)} ms, shoal ${Math.round(ms)} ms · ${bytes} · ${outcomes(seen)}`,
    )
  }
}

/** How cargo runs the scripts of a package: what it says with `-vv`, a command for a shell. */
async function commandsOf(node: TestNode, dir: string): Promise<string[]> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  const ran = await capture('cargo', ['build', '--offline', '-vv', ...flags], { cwd: dir, env: await node.cargoEnv() })
  if (ran.code !== 0) throw new Error(ran.stderr)
  return [...ran.stderr.matchAll(/Running `([^`]*\/build-script-build)`/g)].map(([, command = '']) => command)
}

/** One script by itself, in turn: the script, its launcher when it is observed, its launcher when it is recalled. */
async function overhead(name: string, dir: string, node: TestNode): Promise<void> {
  for (const command of await commandsOf(node, dir)) {
    const crate = /CARGO_PKG_NAME=(\S+)/.exec(command)?.[1] ?? name
    const outDir = /OUT_DIR=(\S+)/.exec(command)?.[1] ?? ''
    const cwd = /CARGO_MANIFEST_DIR=(\S+)/.exec(command)?.[1] ?? dir
    const real = command.replace(/build-script-build$/, 'build-script.real')
    /** Wall time and processor time of it and its children, ms. */
    const once = async (what: string, more: NodeJS.ProcessEnv): Promise<[number, number]> => {
      await rm(outDir, { recursive: true, force: true })
      await mkdir(outDir)
      const env = { ...(await node.cargoEnv()), ...more }
      const ran = await capture('bash', ['-c', `TIMEFORMAT='took %3R %3U %3S'; time env ${what}`], { cwd, env })
      if (ran.code !== 0) throw new Error(ran.stderr)
      const took = /took (\S+) (\S+) (\S+)\s*$/.exec(ran.stderr) ?? []
      const [wall = 0, user = 0, system = 0] = took.slice(1).map((seconds) => Number(seconds) * 1000)
      return [wall, user + system]
    }
    const times: Record<string, [number, number][]> = { plain: [], off: [], observed: [], recalled: [] }
    for (let run = 0; run < Math.max(3, runs); run++) {
      times.plain?.push(await once(real, {}))
      times.off?.push(await once(command, { SHOAL: 'off' }))
      times.observed?.push(await once(command, { FISH_RUN: `${run}` }))
      // What it left is kept after it has ended.
      await delay(2000)
      times.recalled?.push(await once(command, { FISH_RUN: `${run}` }))
    }
    const text = Object.entries(times).map(([what, all]) => {
      const [wall, cpu] = [0, 1].map((at) => median(all.map((each) => each[at] ?? 0)).toFixed(0))
      return `${what} ${wall} (${cpu})`
    })
    say(`${name} · ${crate}: ${text.join(', ')} ms: medians, processor time in brackets`)
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

const only = argument('only')?.split(',')
const cluster = await Cluster.start(['ada'])
try {
  const node = cluster.node('ada')
  await withLaunchers(node)
  for (const [name, dependencies] of Object.entries(packages)) {
    if (only !== undefined && !only.includes(name)) continue
    for (let run = 0; run < runs; run++) {
      try {
        await measure(name, dependencies, cluster, node)
      } catch (error) {
        say(`${name}: ${error instanceof Error ? error.message.slice(-600) : String(error)}`)
      }
      await rm(join(cluster.dir, name), { recursive: true, force: true })
    }
  }
} finally {
  await cluster.close()
}
