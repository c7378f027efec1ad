import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { capture, enrol, type Ran, shareShim, TestNode } from '../support/cluster.ts'
import { keepToolchains, knownToolchains } from '../support/programs.ts'
import { Network } from './network.ts'

/** The kernel counts in periods this long unless told otherwise: shorter than what anybody waits for, longer than what switching costs. */
const periodUs = 10_000
const [processor, freezer, accounts] = ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/freezer', '/sys/fs/cgroup/cpuacct']
const parts = ['service', 'session']
/** As Linux counts in `/proc/PID/stat`, whatever the machine's clock. */
const ticksPerSecond = 100

/** One machine: a network namespace and a share of a processor for everything that runs on it. */
export interface BenchMachine {
  node: TestNode
  /** What starts a program there, in its owner's session. */
  launcher: readonly string[]
  /** Its control group of the processor, and the one that all of its processes can be made to stand still by. */
  group: string
  freezer: string
  /** Where the kernel counts what they have used. */
  counter: string
  /** Of one processor. */
  share: number
  /** The name of its interface in the bridge. */
  port: string
}

/** Processor milliseconds so far: of everything on a machine, and of its node's own process. */
export interface Usage {
  allMs: number
  nodeMs: number
}

/** Machines with an equal share of a processor each, on one network, with a node on each of them. */
export class Machines {
  readonly all: BenchMachine[] = []
  readonly dir: string
  readonly #network: Pick<Network, 'hosts' | 'remove'>

  private constructor(network: Pick<Network, 'hosts' | 'remove'>, dir: string) {
    this.#network = network
    this.dir = dir
  }

  /**
   * A mesh of `count` nodes that know of nothing and have met each other.
   * @param share of one processor that each machine has, at least 0.1
   * @param mbit speed of each machine's link; default: as fast as it goes
   * @param prefix of the names of its network, at most eight letters
   * @returns why it cannot be made here, instead
   */
  static async open(count: number, share: number, mbit?: number, prefix = 'shoalms'): Promise<Machines | string> {
    const network = await Network.make(count, mbit, prefix)
    if (typeof network === 'string') return network
    return await Machines.on(network, count, { share, slots: 1, prefix })
  }

  /** The same on a network that was made before, and is removed with them. @param slots of each of them */
  static async on(
    network: Pick<Network, 'hosts' | 'remove'>,
    count: number,
    { share, slots, prefix }: { share: number; slots: number; prefix: string },
  ): Promise<Machines> {
    const machines = new Machines(network, await mkdtemp(join(tmpdir(), 'shoal-machines-')))
    try {
      for (let at = 0; at < count; at++) await machines.#add(at, { share, slots, port: `${prefix}-o${at}` })
      for (const { node } of machines.all) await node.waitForPeers(count - 1)
      for (const { node } of machines.all) await lends(node)
      return machines
    } catch (error) {
      await machines.close()
      throw error
    }
  }

  async #add(at: number, { share, slots, port }: { share: number; slots: number; port: string }): Promise<void> {
    const host = this.#network.hosts[at]
    if (host === undefined) throw new RangeError(`no machine ${at}`)
    const name = `shoal-machine-${randomBytes(4).toString('hex')}`
    const groups = { group: join(processor, name), freezer: join(freezer, name), counter: join(accounts, name) }
    for (const dir of Object.values(groups)) await mkdir(dir, { recursive: true })
    // As on a machine with systemd: a service and a session have groups of their own and get as much as each other when both want it.
    for (const part of parts) await mkdir(join(groups.group, part))
    const node = new TestNode(`m${at}`, join(this.dir, `m${at}`))
    const launcher = (part: string): string[] => {
      const dirs = [join(groups.group, part), groups.freezer, groups.counter]
      const enter = dirs.map((dir) => `echo $$ > ${dir}/cgroup.procs`)
      return ['sh', '-c', `${enter.join(' && ')} && exec "$@"`, 'sh', ...host.command([])]
    }
    const machine: BenchMachine = { node, launcher: launcher('session'), ...groups, share, port }
    this.all.push(machine)
    await setShare(machine, share)
    // What is installed anyway is known already; nothing was ever compiled.
    await node.configure(
      `name = "${node.name}"\nslots = ${slots}\n[trust]\naudit-first = 0\n[lend]\nyield = false\n[mesh]\nlisten = ["${host.address}"]\nmdns = false\n`,
    )
    await knownToolchains(node.home)
    const first = this.all[0]?.node
    if (first !== undefined && first !== node) await shareShim(first, node)
    node.launcher = launcher('service')
    await enrol(node, node === first ? undefined : first)
    await node.start()
  }

  /** @param share of one processor that each machine has from now on; Infinity: as much as there is */
  async setShares(share: number, periodMs?: number): Promise<void> {
    for (const machine of this.all) await setShare(machine, share, periodMs)
  }

  /** What each has used so far. */
  async usage(): Promise<Usage[]> {
    return await Promise.all(
      this.all.map(async ({ counter, node }) => ({
        allMs: Number(await readFile(join(counter, 'cpuacct.usage'), 'utf8')) / 1e6,
        nodeMs: node.daemon?.pid === undefined ? 0 : await processMs(node.daemon.pid),
      })),
    )
  }

  /** Nothing of what was built before is kept anywhere. @throws when something is */
  async forgetAll(): Promise<void> {
    for (const { node } of this.all) {
      const ran = await node.shoal('cache', 'purge', '--yes')
      if (ran.code !== 0) throw new Error(`${node.name}: ${ran.stderr}`)
      const { results, blocks } = await node.json<{ results: number; blocks: number }>('cache', 'stats')
      if (results > 0) throw new Error(`${node.name} still has ${results} results in ${blocks} blocks`)
    }
  }

  /** cargo on one of them, by its node or as if there were none. */
  async cargo(at: number, cwd: string, args: string[], how: 'node' | 'plain'): Promise<Ran> {
    const machine = this.all[at]
    if (machine === undefined) throw new RangeError(`no machine ${at}`)
    const [program = '', ...rest] = [...machine.launcher, 'cargo', ...args]
    const env = how === 'node' ? await machine.node.cargoEnv() : { ...process.env, CARGO_INCREMENTAL: '0' }
    const ran = await capture(program, rest, { cwd, env })
    if (ran.code !== 0) throw new Error(`cargo: ${ran.stderr}`)
    return ran
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map(({ node }) => node.stop()))
    if (this.all[0] !== undefined) await keepToolchains(this.all[0].node.home)
    for (const { group, freezer, counter } of this.all) {
      for (const dir of [...parts.map((part) => join(group, part)), group, freezer, counter]) await removeGroup(dir)
    }
    await this.#network.remove()
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Waits until a node has tried its sandbox. */
export async function lends(node: TestNode): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { lending } = await node.ask<{ lending: { tier: string; toolchains: number } }>('status')
    if (lending.tier !== 'none' && lending.toolchains > 0) return
    if (tries > 600) throw new Error(`${node.name} does not lend: ${JSON.stringify(lending)}`)
    await delay(100)
  }
}

/** @param share of one processor; Infinity: as much as there is @param periodMs default: 10 */
export async function setShare({ group }: BenchMachine, share: number, periodMs = periodUs / 1000): Promise<void> {
  // The kernel takes no quota below a millisecond.
  const period = Math.max(1000 * periodMs, Math.ceil(1000 / share))
  await writeFile(join(group, 'cpu.cfs_quota_us'), '-1')
  await writeFile(join(group, 'cpu.cfs_period_us'), `${period}`)
  if (Number.isFinite(share))
    await writeFile(join(group, 'cpu.cfs_quota_us'), `${Math.max(1000, Math.round(share * period))}`)
}

/** Milliseconds of processor time of a process with all its threads, those that have ended as well. */
async function processMs(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1')
  const [user, system] = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
  return ((Number(user) + Number(system)) * 1000) / ticksPerSecond
}

/** The kernel needs a moment after the last process of it is gone. */
async function removeGroup(dir: string): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      return await rmdir(dir)
    } catch {
      await delay(20)
    }
  }
}
