import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Cluster, capture, cratesIoReachable, lastReport, type TestNode } from '../support/cluster.ts'

/**
 * What a node costs a build in which everything is compiled, in processor time, which other work on the machine hardly changes:
 * the daemon's, by thread, and that of cargo with whatever it starts, beside plain cargo's.
 * `npm run bench -- cost [--runs N] [--example NAME] [--profile DIR]`. A profile is one of V8's.
 */
const argument = (name: string, otherwise: string): string => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : (process.argv[at + 1] ?? otherwise)
}
const runs = Number(argument('runs', '3'))
const profile = argument('profile', '')
const wanted = argument('example', 'workspace')
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const example =
  wanted === 'workspace' && !(await cratesIoReachable(here('../../examples/workspace'))) ? 'offline' : wanted

const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** As Linux counts for `ps`, whatever the machine's clock. */
const ticksPerSecond = 100

/** Fields of `/proc/PID/stat` after the name, which may hold spaces. */
function statFields(path: string): string[] {
  const text = readFileSync(path, 'latin1')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** Milliseconds of a process and its threads, by the name of the thread. */
function threadsOf(pid: number): Map<string, number> {
  const byName = new Map<string, number>()
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const dir = `/proc/${pid}/task/${thread}`
    const [nanos = '0'] = readFileSync(`${dir}/schedstat`, 'latin1').split(' ')
    const name = thread === String(pid) ? 'main thread' : readFileSync(`${dir}/comm`, 'latin1').trim()
    byName.set(name, (byName.get(name) ?? 0) + Number(nanos) / 1e6)
  }
  return byName
}

/** Milliseconds of all processes that this one has started and waited for, and of what they waited for. */
function ofChildren(): number {
  const [user, system] = statFields('/proc/self/stat').slice(13, 15)
  return ((Number(user) + Number(system)) * 1000) / ticksPerSecond
}

interface Cost {
  wallMs: number
  cargoMs: number
}

/** A build from an empty target directory. */
async function built(dir: string, env: NodeJS.ProcessEnv): Promise<Cost> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  const before = ofChildren()
  const from = performance.now()
  const ran = await capture('cargo', ['build', '--offline'], { cwd: dir, env })
  if (ran.code !== 0) throw new Error(ran.stderr)
  return { wallMs: performance.now() - from, cargoMs: ofChildren() - before }
}

async function emptied(node: TestNode): Promise<void> {
  await node.stop()
  for (const part of ['blocks', 'index']) await rm(join(node.home, 'cache', part), { recursive: true, force: true })
  await node.start()
}

interface Run extends Cost {
  daemon: Map<string, number>
}

async function measure(): Promise<void> {
  const flags = profile === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(profile)}`]
  if (profile !== '') await mkdir(profile, { recursive: true })
  const cluster = await Cluster.start(['one'], undefined, () => ({ NODE_OPTIONS: flags.join(' ') }))
  try {
    const node = cluster.node('one')
    const dir = await cluster.checkout(example, 'bench')
    const plainEnv = { ...process.env, CARGO_INCREMENTAL: '0' }
    const shoalEnv = await node.cargoEnv()
    await built(dir, plainEnv)
    const plain: Cost[] = []
    const cold: Run[] = []
    let units = 0
    for (let run = 0; run < runs; run++) {
      plain.push(await built(dir, plainEnv))
      await emptied(node)
      const pid = node.daemon?.pid ?? 0
      const before = threadsOf(pid)
      const cost = await built(dir, shoalEnv)
      units = (await lastReport(node)).units.length
      const daemon = new Map([...threadsOf(pid)].map(([name, ms]) => [name, ms - (before.get(name) ?? 0)]))
      cold.push({ ...cost, daemon })
    }
    report(units, plain, cold)
  } finally {
    await cluster.close()
  }
}

function report(units: number, plain: readonly Cost[], cold: readonly Run[]): void {
  const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0)
  const plainMs = median(plain.map(({ cargoMs }) => cargoMs))
  const cargoMs = median(cold.map((run) => run.cargoMs))
  const daemonMs = median(cold.map(({ daemon }) => sum(daemon.values())))
  const row = (what: string, ms: number): boolean =>
    say(
      `  ${what.padEnd(28)} ${(ms / 1000).toFixed(2).padStart(7)} s  ${(ms / units).toFixed(1).padStart(6)} ms a unit  ${((100 * ms) / plainMs).toFixed(1)} %`,
    )
  say(`examples/${example}, ${units} units, medians of ${cold.length}: processor time, and of that of plain cargo`)
  row('plain cargo', plainMs)
  row('cargo with a node', cargoMs)
  row('the node', daemonMs)
  for (const name of new Set(cold.flatMap(({ daemon }) => [...daemon.keys()]))) {
    row(`  ${name}`, median(cold.map(({ daemon }) => daemon.get(name) ?? 0)))
  }
  const wall = (costs: readonly Cost[]): number => median(costs.map(({ wallMs }) => wallMs))
  say(
    `  both together ${((cargoMs + daemonMs) / plainMs).toFixed(3)} x; by the clock ${(wall(cold) / wall(plain)).toFixed(3)} x`,
  )
}

await measure()
