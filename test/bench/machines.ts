import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { capture, enrol, type Ran, shareShim, TestNode } from '../support/cluster.ts'
import { keepToolchains, knownToolchains } from '../support/programs.ts'
import { Network } from './network.ts'

/** The kernel counts in periods this long unless told otherwise: shorter than what anybody waits for, longer than what switching costs. */
const usualPeriodMs = 10
/** Where the share is set, and where the kernel counts what was used of it. */
const [hierarchy, counting] = ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/cpuacct']
/** As Linux counts in `/proc/PID/stat`, whatever the machine's clock. */
const ticksPerSecond = 100

/** One machine: a network namespace and a share of a processor for everything that runs on it. */
export interface BenchMachine {
  node: TestNode
  /** What starts a program there. */
  launcher: readonly string[]
  /** Its control groups: what it may use of the processor, and what it has used. */
  group: string
  counter: string
  /** The name of its interface in the bridge. */
  port: string
}

/** Processor milliseconds so far: of everything on a machine, and of its node's own process. */
export interface Usage {
  allMs: number
  nodeMs: number
}

export interface MachinesOptions {
  /** Speed of each machine's link; default: as fast as it goes. */
  mbit?: number | undefined
  /** After so long at most a machine that has used up its share may go on. Default: 10. */
  periodMs?: number
}

/** Machines with an equal share of a processor each, on one network, with a node on each of them. */
export class Machines {
  readonly all: BenchMachine[] = []
  readonly dir: string
  readonly #network: Network
  readonly #periodMs: number

  private constructor(network: Network, dir: string, periodMs: number) {
    this.#network = network
    this.dir = dir
    this.#periodMs = periodMs
  }

  /**
   * A mesh of `count` nodes that know of nothing and have met each other.
   * @param share of one processor that each machine has, at least 0.1
   * @returns why it cannot be made here, instead
   */
  static async open(count: number, share: number, options: MachinesOptions = {}): Promise<Machines | string> {
    const prefix = 'shoalms'
    const network = await Network.make(count, options.mbit, prefix)
    if (typeof network === 'string') return network
    const dir = await mkdtemp(join(tmpdir(), 'shoal-machines-'))
    const machines = new Machines(network, dir, options.periodMs ?? usualPeriodMs)
    try {
      for (let at = 0; at < count; at++) await machines.#add(at, `${prefix}-o${at}`)
      await machines.setShares(share)
      for (const { node } of machines.all) await node.waitForPeers(count - 1)
      for (const { node } of machines.all) await machines.#lends(node)
      return machines
    } catch (error) {
      await machines.close()
      throw error
    }
  }

  async #add(at: number, port: string): Promise<void> {
    const host = this.#network.hosts[at]
    if (host === undefined) throw new RangeError(`no machine ${at}`)
    const name = `shoal-machine-${randomBytes(4).toString('hex')}`
    const [group, counter] = [join(hierarchy, name), join(counting, name)]
    for (const dir of new Set([group, counter])) await mkdir(dir, { recursive: true })
    const node = new TestNode(`m${at}`, join(this.dir, `m${at}`))
    const launcher = [
      'sh',
      '-c',
      `echo $$ > ${group}/cgroup.procs && echo $$ > ${counter}/cgroup.procs && exec "$@"`,
      'sh',
      ...host.command([]),
    ]
    const machine: BenchMachine = { node, launcher, group, counter, port }
    this.all.push(machine)
    // What is installed anyway is known already; nothing was ever compiled.
    await node.configure(
      `name = "${node.name}"\nslots = 1\n[lend]\nyield = false\n[mesh]\nlisten = ["${host.address}"]\nmdns = false\n`,
    )
    await knownToolchains(node.home)
    const first = this.all[0]?.node
    if (first !== undefined && first !== node) await shareShim(first, node)
    node.launcher = launcher
    await enrol(node, node === first ? undefined : first)
    await node.start()
  }

  /** Waits until it has tried its sandbox. */
  async #lends(node: TestNode): Promise<void> {
    for (let tries = 0; ; tries++) {
      const { lending } = await node.ask<{ lending: { tier: string; toolchains: number } }>('status')
      if (lending.tier !== 'none' && lending.toolchains > 0) return
      if (tries > 600) throw new Error(`${node.name} does not lend: ${JSON.stringify(lending)}`)
      await delay(100)
    }
  }

  /** @param share of one processor that each machine has from now on; Infinity: as much as there is */
  async setShares(share: number): Promise<void> {
    const periodUs = 1000 * this.#periodMs
    const quotaUs = Number.isFinite(share) ? Math.max(1000, Math.round(share * periodUs)) : -1
    for (const { group } of this.all) {
      await writeFile(join(group, 'cpu.cfs_period_us'), `${periodUs}`)
      await writeFile(join(group, 'cpu.cfs_quota_us'), `${quotaUs}`)
    }
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
    for (const group of this.all.flatMap((machine) => [machine.group, machine.counter])) {
      for (let tries = 0; tries < 50; tries++) {
        if (
          await rmdir(group).then(
            () => true,
            () => false,
          )
        )
          break
        await delay(20)
      }
    }
    await this.#network.remove()
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 })
  }
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
