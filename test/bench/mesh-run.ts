import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { lastReport } from '../support/cluster.ts'
import { Machines, type Usage } from './machines.ts'

/** What is built, on machines of which kind. */
export interface Setting {
  example: string
  /** Of cargo. */
  profile: string
  /** Of one processor, of each machine. */
  share: number
  /** How often another workspace is built before, by all the machines together and with all there is of the processor. */
  warm: number
  /** Speed of each machine's link, and after how long at most one that has used up its share may go on. */
  network: { mbit?: number | undefined; periodMs: number }
}

/** One build, and what it took: processor milliseconds of everything, wherever a machine's share has put them. */
export interface Measured {
  ms: number
  units: number
  away: number
  bytes: number
  /** Of the nodes' own processes: of the one that builds, and of all others. */
  builderMs: number
  lendersMs: number
  /** Of all else: cargo, shims, sandboxes, and the compiles themselves. */
  restMs: number
}

export const exampleDir = (name: string): string => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url))

/** A copy of an example without what was built there. @returns its directory */
export async function checkout(dir: string, example: string, as: string): Promise<string> {
  const to = join(dir, as)
  await cp(exampleDir(example), to, { recursive: true, filter: (path) => !/\/target(\/|$)/.test(path) })
  return to
}

const buildArgs = (profile: string): string[] => ['build', '--offline', '--profile', profile]

/** The nodes build something else together, as nodes do that have been up for days; then nothing of it is left. */
async function warmUp(machines: Machines, { example, profile, warm, share, network }: Setting): Promise<void> {
  await machines.setShares(Number.POSITIVE_INFINITY)
  const dir = await checkout(machines.dir, 'offline', 'warm')
  // What is measured must not have been built: for the same workspace, another profile.
  const args = buildArgs(example === 'offline' && profile === 'dev' ? 'release' : 'dev')
  for (let round = 0; round < warm; round++) {
    // What lenders show of themselves is what they will show then.
    if (round === Math.min(1, warm - 1)) await machines.setShares(share, network.periodMs)
    await machines.cargo(0, dir, args, 'node')
    await lastReportOf(machines)
    await machines.forgetAll()
    await rm(join(dir, 'target'), { recursive: true })
  }
}

async function lastReportOf(machines: Machines): ReturnType<typeof lastReport> {
  const [first] = machines.all
  if (first === undefined) throw new RangeError('no machine')
  return await lastReport(first.node)
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/**
 * One build on the first of `count` machines, all with empty stores.
 * @returns why it cannot be measured here, instead
 * @throws when something of it was kept anywhere
 */
export async function meshBuild(count: number, setting: Setting): Promise<Measured | string> {
  const machines = await Machines.open(count, setting.share, setting.network.mbit)
  if (typeof machines === 'string') return machines
  try {
    if (setting.warm > 0) await warmUp(machines, setting)
    await machines.setShares(setting.share, setting.network.periodMs)
    const dir = await checkout(machines.dir, setting.example, 'checkout')
    const before = await machines.usage()
    const from = performance.now()
    await machines.cargo(0, dir, buildArgs(setting.profile), 'node')
    const ms = performance.now() - from
    const after = await machines.usage()
    const { units, bytesIn, traffic } = await lastReportOf(machines)
    const recalled = units.filter(({ outcome }) => outcome.startsWith('recalled'))
    if (recalled.length > 0) throw new Error(`${recalled.map(({ crate }) => crate).join(', ')}: kept from before`)
    const used = after.map(({ allMs, nodeMs }, at): Usage => {
      const then = before[at]
      return { allMs: allMs - (then?.allMs ?? 0), nodeMs: nodeMs - (then?.nodeMs ?? 0) }
    })
    const [builder, ...lenders] = used.map(({ nodeMs }) => nodeMs)
    return {
      ms,
      units: units.length,
      away: units.filter(({ outcome }) => outcome === 'compiled-mesh').length,
      bytes: bytesIn + traffic.servedBytes,
      builderMs: builder ?? 0,
      lendersMs: sum(lenders),
      restMs: sum(used.map(({ allMs, nodeMs }) => allMs - nodeMs)),
    }
  } finally {
    await machines.close()
  }
}

export type Plain = Pick<Measured, 'ms' | 'restMs'>

/**
 * The same without nodes: as many such machines build it at once, each all of it for itself. What they share underneath, caches and the
 * two halves of a core, is as busy then as it is when they build it together. Of each figure the mean.
 */
export async function plainBuilds(
  count: number,
  { example, profile, share, network }: Setting,
): Promise<Plain | string> {
  const machines = await Machines.open(count, share, network.mbit)
  if (typeof machines === 'string') return machines
  try {
    for (const { node } of machines.all) await node.stop()
    await machines.setShares(share, network.periodMs)
    const before = await machines.usage()
    const took = await Promise.all(
      machines.all.map(async (_, at) => {
        const dir = await checkout(machines.dir, example, `plain-${at}`)
        const from = performance.now()
        await machines.cargo(at, dir, buildArgs(profile), 'plain')
        return performance.now() - from
      }),
    )
    const after = await machines.usage()
    const used = after.map(({ allMs }, at) => allMs - (before[at]?.allMs ?? 0))
    return { ms: sum(took) / count, restMs: sum(used) / count }
  } finally {
    await machines.close()
  }
}
