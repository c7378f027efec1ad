import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type ShoalPaths, shoalPaths } from '../../src/base/paths.ts'
import { ask } from '../../src/cli/client.ts'
import { daemonFlags, wrapperEnv } from '../../src/cli/daemon-program.ts'
import { keepPrograms, keepToolchains, keptPrograms, knownToolchains } from './programs.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const cli = join(root, 'src/cli/main.ts')
const daemon = join(root, 'src/daemon/main.ts')

export interface Ran {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** Runs a program to its end and collects what it says. */
export async function capture(
  program: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; input?: string } = {},
): Promise<Ran> {
  const child = spawn(program, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: options.env ?? process.env,
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  child.stdin?.end(options.input)
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code, signal, stdout, stderr }
}

export interface UnitRow {
  crate: string
  kind: string
  outcome: string
  where: string
  reason: string
  fallback?: string
  /** `name@version` */
  package?: string
  /** Why it was not recalled. */
  causes?: { what: string; name: string; recorded: string | null; here: string | null }[]
}

export interface ReportRow {
  totals: Record<string, number>
  fallbacks: number
  bytesIn: number
  traffic: { fetchedBytes: number; servedBytes: number }
  units: UnitRow[]
}

/** One node of a test mesh: a real daemon with everything under one directory. */
export class TestNode {
  readonly name: string
  readonly home: string
  daemon: ChildProcess | undefined
  /** What `start` runs. */
  program = daemon
  /** Variables that the daemon alone has. */
  daemonEnv: NodeJS.ProcessEnv = {}
  /** What starts the programs of this node where it is: none, or a command that takes the program and its arguments. */
  launcher: readonly string[] = []
  #log = ''
  /** What `shoal env` says, which is the same as long as the node has its directory. */
  #exports: NodeJS.ProcessEnv | undefined

  constructor(name: string, home: string) {
    this.name = name
    this.home = home
  }

  get env(): NodeJS.ProcessEnv {
    return { ...process.env, SHOAL_HOME: this.home }
  }

  /** Whether this process is where its programs are: then what commands have done can be done without starting them. */
  get isNear(): boolean {
    return this.launcher.length === 0
  }

  get paths(): ShoalPaths {
    return shoalPaths({ SHOAL_HOME: this.home }, homedir())
  }

  /** What the daemon logged so far. */
  get log(): string {
    return this.#log
  }

  async shoal(...args: string[]): Promise<Ran> {
    const [program = '', ...rest] = [...this.launcher, process.execPath, cli, ...args]
    return await capture(program, rest, { env: this.env })
  }

  /** @throws when the command fails */
  async json<T>(...args: string[]): Promise<T> {
    const ran = await this.shoal(...args, '--json')
    if (ran.code !== 0) throw new Error(`${this.name}: shoal ${args.join(' ')}: ${ran.stderr}`)
    return JSON.parse(ran.stdout) as T
  }

  /** As `json`, without a process of its own for each question. */
  async ask<T>(method: string, params: Record<string, unknown> = {}): Promise<T> {
    return (await ask(this.paths.socket, method, params)) as T
  }

  async configure(toml: string): Promise<void> {
    await mkdir(this.home, { recursive: true })
    await writeFile(join(this.home, 'config.toml'), toml)
  }

  async start(): Promise<void> {
    const env = { ...this.env, ...this.daemonEnv }
    const [program = '', ...args] = [...this.launcher, process.execPath, ...daemonFlags, this.program]
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.daemon = child
    const keep = (text: string): void => {
      this.#log += text
    }
    child.stdout?.setEncoding('utf8').on('data', keep)
    child.stderr?.setEncoding('utf8').on('data', keep)
    const deadline = Date.now() + 30_000
    for (;;) {
      if (child.exitCode !== null) throw new Error(`${this.name} did not start: ${this.#log}`)
      try {
        await this.ask('status')
        return
      } catch (error) {
        if (Date.now() > deadline) throw new Error(`${this.name} does not answer: ${this.#log}`, { cause: error })
      }
      await delay(20)
    }
  }

  async stop(): Promise<void> {
    const child = this.daemon
    this.daemon = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }

  async kill(): Promise<void> {
    const child = this.daemon
    this.daemon = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  /** Environment of a cargo that uses this node. */
  async cargoEnv(): Promise<NodeJS.ProcessEnv> {
    this.#exports ??= await this.#readExports()
    return { ...process.env, CARGO_INCREMENTAL: '0', CARGO_TERM_COLOR: 'never', ...this.#exports }
  }

  async #readExports(): Promise<NodeJS.ProcessEnv> {
    if (this.isNear) return wrapperEnv(this.env, join(this.paths.shimDir, 'shoal-rustc'), this.paths.socket)
    const { stdout } = await must(this, this.shoal('env'))
    const exports = [...stdout.matchAll(/^export (\w+)='(.*)'$/gm)]
    return Object.fromEntries(exports.map(([, name = '', value]) => [name, value]))
  }

  async cargo(cwd: string, ...args: string[]): Promise<Ran> {
    return await capture('cargo', args, { cwd, env: await this.cargoEnv() })
  }

  async waitForPeers(count: number): Promise<void> {
    const deadline = Date.now() + 30_000
    for (;;) {
      const { peers } = await this.ask<{ peers: { connected: boolean }[] }>('peers')
      if (peers.filter((peer) => peer.connected).length >= count) return
      if (Date.now() > deadline) throw new Error(`${this.name} sees ${JSON.stringify(peers)}\n${this.#log}`)
      await delay(50)
    }
  }
}

/** A mesh of `names`, all on loopback, each with two slots unless said otherwise; stopped and removed by `close`. */
export class Cluster {
  readonly dir: string
  readonly nodes: TestNode[]

  private constructor(dir: string, nodes: TestNode[]) {
    this.dir = dir
    this.nodes = nodes
  }

  static async start(
    names: string[],
    config: (name: string) => string = () => '',
    daemonEnv: (name: string, dir: string) => NodeJS.ProcessEnv = () => ({}),
  ): Promise<Cluster> {
    const dir = await mkdtemp(join(tmpdir(), 'shoal-e2e-'))
    const nodes = names.map((name) => new TestNode(name, join(dir, name)))
    const cluster = new Cluster(dir, nodes)
    for (const node of nodes) node.daemonEnv = daemonEnv(node.name, dir)
    try {
      const [first, ...others] = nodes
      if (first !== undefined) await cluster.#add(first, config(first.name))
      await Promise.all(others.map((node) => cluster.#add(node, config(node.name))))
      for (const node of nodes) await node.waitForPeers(nodes.length - 1)
    } catch (error) {
      await cluster.close()
      throw error
    }
    return cluster
  }

  /** One more node, by a link of the first; which members it meets is not waited for. @param mesh lines for `[mesh]` */
  async join(name: string, extra = '', mesh = ''): Promise<TestNode> {
    const node = new TestNode(name, join(this.dir, name))
    this.nodes.push(node)
    await this.#add(node, extra, mesh)
    return node
  }

  async #add(node: TestNode, extra: string, mesh = ''): Promise<void> {
    const [first] = this.nodes
    // mDNS is multicast and belongs to the tests that have a network of their own.
    const base = `[mesh]\nlisten = ["127.0.0.1"]\nmdns = false\n`
    // All of them share the processors of one machine, and each would give way to the others for ever.
    const lend = extra.includes('[lend]') ? '' : '[lend]\nyield = false\n'
    await node.configure(`name = "${node.name}"\nslots = 2\n${extra}\n${lend}${base}${mesh}\n`)
    await knownToolchains(node.home)
    if (first !== undefined && node !== first) await shareShim(first, node)
    await enrol(node, node === first ? undefined : first)
    await node.start()
  }

  node(name: string): TestNode {
    const node = this.nodes.find((candidate) => candidate.name === name)
    if (node === undefined) throw new Error(`no node ${name}`)
    return node
  }

  /** A fresh copy of an example under the cluster's directory. */
  async checkout(example: string, as: string): Promise<string> {
    const to = join(this.dir, as)
    await cp(join(root, 'examples', example), to, {
      recursive: true,
      filter: (path) => !/\/target(\/|$)/.test(path),
    })
    return to
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
    if (this.nodes[0] !== undefined) await keepToolchains(this.nodes[0].home)
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

/**
 * Makes a mesh with one node in it, or lets it join that of a node that runs: what `shoal init`, `invite` and `join` do. As most of them
 * are processes that load much and do little, the nodes that are near are set up by this one.
 */
export async function enrol(node: TestNode, host: TestNode | undefined): Promise<void> {
  if (host === undefined) await keptPrograms(node.home)
  await (node.isNear ? setUpHere(node, host) : setUpThere(node, host))
  if (host === undefined) await keepPrograms(node.home)
}

async function setUpHere(node: TestNode, host: TestNode | undefined): Promise<void> {
  // It loads most of a node, which is for nothing where nodes are elsewhere.
  const { setUp } = await import('../../src/daemon/setup.ts')
  const nobody = { tell: () => undefined, agrees: async () => false }
  const link = (await host?.ask<{ link: string }>('invite', { role: 'member' }))?.link
  const request = link === undefined ? { action: 'init' } : { action: 'join', link }
  await setUp({ ...request, name: node.name }, node.paths, node.env, nobody)
}

async function setUpThere(node: TestNode, host: TestNode | undefined): Promise<void> {
  if (host === undefined) {
    await must(node, node.shoal('init', '--name', node.name, '--yes'))
  } else {
    const link = (await must(host, host.shoal('invite'))).stdout.trim()
    await must(node, node.shoal('join', link, '--name', node.name))
  }
}

/** What is compiled at set-up is the same for all nodes; they find it up to date. */
export async function shareShim(from: TestNode, to: TestNode): Promise<void> {
  await cp(join(from.home, 'state/bin'), join(to.home, 'state/bin'), { recursive: true })
}

async function must(node: TestNode, running: Promise<Ran>): Promise<Ran> {
  const ran = await running
  if (ran.code !== 0) throw new Error(`${node.name}: ${ran.stderr || ran.stdout}`)
  return ran
}

/** The report of the last build, once its results are stored. */
export async function lastReport(node: TestNode): Promise<ReportRow> {
  return await node.ask<ReportRow>('report', { id: 'last' })
}

/** Name → bytes of every rlib and rmeta in a profile directory. */
export async function artifacts(target: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>()
  const dir = join(target, 'debug/deps')
  for (const name of await readdir(dir)) {
    if (/\.(rlib|rmeta)$/.test(name)) found.set(name, await readFile(join(dir, name)))
  }
  return found
}

/**
 * Whether the packages of a workspace can be had.
 * @throws when cargo refuses for any other reason than the network: then a test must fail, not be skipped
 */
export async function cratesIoReachable(manifestDir: string): Promise<boolean> {
  const ran = await capture('cargo', ['fetch', '--locked', '--quiet'], { cwd: manifestDir })
  if (ran.code === 0) return true
  if (/resolve host|connect|network|timed out|timeout|download/i.test(ran.stderr)) return false
  throw new Error(ran.stderr)
}
