import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Cluster, capture, cratesIoReachable, lastReport, type TestNode } from '../support/cluster.ts'
import { argument, median, say } from './figures.ts'

/**
 * What a node costs a build in which everything is compiled, in processor time, which other work on the machine hardly changes:
 * the daemon's, by thread, and that of cargo with whatever it starts, beside plain cargo's.
 * `npm run bench -- cost [--runs N] [--example NAME] [--profile DIR] [--peer SHARE]`. A profile is one of V8's. With a peer there is one
 * other member, which has so much of a processor (Linux, control groups of version 1, root). Nodes are at rest before a build begins.
 */
const runs = Number(argument('runs', '3'))
const profile = argument('profile', '')
const share = Number(argument('peer', '0'))
const wanted = argument('example', 'workspace')
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const example =
  wanted === 'workspace' && !(await cratesIoReachable(here('../../examples/workspace'))) ? 'offline' : wanted

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
  await rested(node)
}

/** A node that has just started measures its speed and tries its sandbox: a build has nothing to do with that. */
async function rested(node: TestNode): Promise<void> {
  // To be looked at a thousand times a second is work, too.
  const mostMs = profile === '' ? 20 : 100
  const used = (): number => [...threadsOf(node.daemon?.pid ?? 0).values()].reduce((total, ms) => total + ms, 0)
  for (let before = used(), calm = 0; calm < 2; ) {
    await delay(1000)
    const now = used()
    calm = now - before < mostMs ? calm + 1 : 0
    before = now
  }
}

/** A group of one machine: what runs in it has so much of a processor once `limit` was called. */
async function group(): Promise<{ launcher: string[]; limit(to: number): Promise<void>; remove(): Promise<void> }> {
  const dir = `/sys/fs/cgroup/cpu/shoal-cost-${process.pid}`
  await mkdir(dir)
  const periodUs = 10_000
  await writeFile(join(dir, 'cpu.cfs_period_us'), `${periodUs}`)
  return {
    launcher: ['sh', '-c', `echo $$ > ${dir}/cgroup.procs && exec "$@"`, 'sh'],
    limit: (to) => writeFile(join(dir, 'cpu.cfs_quota_us'), to > 0 ? `${Math.round(to * periodUs)}` : '-1'),
    remove: () => rmdir(dir),
  }
}

interface Run extends Cost {
  daemon: Map<string, number>
}

async function measure(): Promise<void> {
  const flags = profile === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(profile)}`]
  if (profile !== '') await mkdir(profile, { recursive: true })
  const options = (name: string) => ({ NODE_OPTIONS: name === 'one' ? flags.join(' ') : '' })
  const lends = (): string => '[lend]\nyield = false\n'
  const cluster = await Cluster.start(share > 0 ? ['one', 'peer'] : ['one'], lends, options)
  const limits = share > 0 ? await group() : undefined
  try {
    const node = cluster.node('one')
    const peer = limits && cluster.node('peer')
    if (peer && limits) {
      await peer.stop()
      peer.launcher = limits.launcher
    }
    const dir = await cluster.checkout(example, 'bench')
    const plainEnv = { ...process.env, CARGO_INCREMENTAL: '0' }
    const shoalEnv = await node.cargoEnv()
    await built(dir, plainEnv)
    const plain: Cost[] = []
    const cold: Run[] = []
    let units = 0
    let away = 0
    for (let run = 0; run < runs; run++) {
      plain.push(await built(dir, plainEnv))
      if (peer) {
        await limits?.limit(0)
        await emptied(peer)
        await limits?.limit(share)
      }
      await emptied(node)
      if (peer) await node.waitForPeers(1)
      const pid = node.daemon?.pid ?? 0
      const before = threadsOf(pid)
      const cost = await built(dir, shoalEnv)
      const last = await lastReport(node)
      units = last.units.length
      away = last.units.filter(({ outcome }) => outcome === 'compiled-mesh').length
      const daemon = new Map([...threadsOf(pid)].map(([name, ms]) => [name, ms - (before.get(name) ?? 0)]))
      cold.push({ ...cost, daemon })
    }
    report(units, plain, cold)
    if (peer) say(`  ${away} units were compiled by the peer, last time`)
  } finally {
    await limits?.limit(0)
    await cluster.close()
    await limits?.remove()
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
