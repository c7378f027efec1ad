import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { capture, lastReport } from '../support/cluster.ts'
import { FarNetwork } from './far.ts'
import { argument, median, say } from './figures.ts'
import { Machines, setShare } from './machines.ts'
import { checkout, exampleDir } from './mesh-run.ts'
import { Network } from './network.ts'

/**
 * Builds in which a mesh cannot help, beside plain cargo on the same machine, in turns: nothing is stored anywhere, all is compiled.
 * `npm run bench -- alone [--mesh empty|slow|far] [--runs N] [--share S] [--slow S] [--example NAME] [--cold] [--profile DIR]`: nobody else; one peer with
 * `slow` of a processor (0.1); one behind 200 ms and 1 Mbit/s. The builder has `share` of a processor, default two of them. Nodes have
 * built something else before, as those do that have been up for days; `--cold`: they are started anew for each build. Each figure
 * is a ratio of two builds, one after the other. Ends with 1 beyond the budget.
 */
const mesh = argument('mesh', 'empty')
const runs = argument('runs', 4)
const share = argument('share', 2)
const slow = argument('slow', 0.1)
const example = argument('example', 'workspace')
const isCold = process.argv.includes('--cold')
const profile = argument('profile', '')
const budget = 1.03
const prefix = 'shoalaln'

interface Turn {
  ms: number
  /** Processor time of all there is on the builder's machine, and of its node. */
  allMs: number
  nodeMs: number
  /** Of whatever else the whole machine did meanwhile: the clock tells nothing where that is much. */
  othersMs: number
  away: number
}

async function open(): Promise<Machines | string> {
  const far = mesh === 'far'
  const count = mesh === 'empty' ? 1 : 2
  const network = far
    ? await FarNetwork.make({ rttMs: 200, mbit: 1 }, prefix)
    : await Network.make(count, undefined, prefix)
  if (typeof network === 'string') return network
  const machines = await Machines.on(network, count, { share: 2, slots: Math.max(1, Math.round(share)), prefix })
  return machines
}

/** What nodes do by themselves once something has ended has nothing to do with the next build. */
async function rested(machines: Machines): Promise<void> {
  const used = async (): Promise<number> => (await machines.usage()).reduce((sum, { nodeMs }) => sum + nodeMs, 0)
  for (let before = await used(), calm = 0, tries = 0; calm < 2 && tries < 60; tries++) {
    await delay(500)
    const now = await used()
    calm = now - before <= 10 * machines.all.length ? calm + 1 : 0
    before = now
  }
}

async function setShares(machines: Machines, isBuilding: boolean): Promise<void> {
  for (const [at, machine] of machines.all.entries()) {
    await setShare(machine, isBuilding ? (at === 0 ? share : mesh === 'slow' ? slow : 1) : Number.POSITIVE_INFINITY)
  }
}

/** Processor time that anybody here has used so far, in milliseconds. */
async function busyMs(): Promise<number> {
  const [, user, nice, system, , , irq, softirq] = (await readFile('/proc/stat', 'latin1')).split(/\s+/).map(Number)
  return 10 * [user, nice, system, irq, softirq].reduce<number>((sum, ticks = 0) => sum + ticks, 0)
}

async function turn(machines: Machines, dir: string, how: 'node' | 'plain'): Promise<Turn> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  // What one is about to place with another would come back after that.
  await rested(machines)
  if (how === 'node') await machines.forgetAll()
  if (how === 'node' && isCold) {
    for (const { node } of machines.all) {
      await node.stop()
      await node.start()
    }
    for (const { node } of machines.all) await node.waitForPeers(machines.all.length - 1)
  }
  await rested(machines)
  await setShares(machines, true)
  const before = await machines.usage()
  const busyBefore = await busyMs()
  const from = performance.now()
  await machines.cargo(0, dir, ['build', '--offline'], how)
  const ms = performance.now() - from
  const after = await machines.usage()
  const busy = (await busyMs()) - busyBefore
  await setShares(machines, false)
  let away = 0
  const [builder] = machines.all
  if (how === 'node' && builder !== undefined) {
    const { units } = await lastReport(builder.node)
    const recalled = units.filter(({ outcome }) => outcome.startsWith('recalled'))
    if (recalled.length > 0) throw new Error(`${recalled.map(({ crate }) => crate).join(', ')}: kept from before`)
    away = units.filter(({ outcome }) => outcome === 'compiled-mesh').length
  }
  const used = (name: 'allMs' | 'nodeMs', at: number): number => (after[at]?.[name] ?? 0) - (before[at]?.[name] ?? 0)
  const othersMs = busy - machines.all.reduce((sum, _, at) => sum + used('allMs', at), 0)
  return { ms, allMs: used('allMs', 0), nodeMs: used('nodeMs', 0), othersMs, away }
}

const machines = await open()
if (typeof machines === 'string') say(`not measured: ${machines}`)
else {
  try {
    const [builder] = machines.all
    if (profile !== '' && builder !== undefined) {
      await builder.node.stop()
      builder.node.daemonEnv = { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profile}` }
      await builder.node.start()
    }
    await capture('cargo', ['fetch', '--locked', '--quiet'], { cwd: exampleDir(example) })
    const dir = await checkout(machines.dir, example, 'checkout')
    const warm = await checkout(machines.dir, 'offline', 'warm')
    for (let round = 0; round < 2; round++) {
      await machines.cargo(0, warm, ['build', '--offline'], round === 0 ? 'plain' : 'node')
      await rm(join(warm, 'target'), { recursive: true })
    }
    say(
      `examples/${example}, ${share} processors, mesh: ${mesh}, ${isCold ? 'nodes just started' : 'nodes that have built before'}`,
    )
    say(
      ' turn   plain s   node s   ratio     plain CPU s   with node   ratio   the node itself s   away   others CPU s, plain and with node',
    )
    const pairs: { plain: Turn; node: Turn }[] = []
    const ratio = ({ plain, node }: (typeof pairs)[number], name: 'ms' | 'allMs'): number => node[name] / plain[name]
    const seconds = (ms: number): string => (ms / 1000).toFixed(2)
    for (let run = 0; run < runs; run++) {
      const took = new Map<string, Turn>()
      for (const how of run % 2 === 0 ? (['plain', 'node'] as const) : (['node', 'plain'] as const)) {
        took.set(how, await turn(machines, dir, how))
      }
      const [plain, node] = [took.get('plain'), took.get('node')]
      if (plain === undefined || node === undefined) continue
      const pair = { plain, node }
      pairs.push(pair)
      const cells = [
        `${run + 1}`.padStart(5),
        seconds(plain.ms).padStart(9),
        seconds(node.ms).padStart(8),
        ratio(pair, 'ms').toFixed(3).padStart(7),
        seconds(plain.allMs).padStart(15),
        seconds(node.allMs).padStart(11),
        ratio(pair, 'allMs').toFixed(3).padStart(7),
        seconds(node.nodeMs).padStart(19),
        `${node.away}`.padStart(6),
        seconds(plain.othersMs).padStart(15),
        seconds(node.othersMs).padStart(6),
      ]
      say(cells.join(' '))
    }
    const wall = median(pairs.map((pair) => ratio(pair, 'ms')))
    say(
      `  by the clock ${wall.toFixed(3)} x (budget ${budget}), processor ${median(pairs.map((pair) => ratio(pair, 'allMs'))).toFixed(3)} x: medians of ${pairs.length} pairs`,
    )
    if (!(wall <= budget)) process.exitCode = 1
  } finally {
    await machines.close()
  }
}
