import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ask } from '../../src/cli/client.ts'
import { Network } from '../bench/network.ts'
import { capture, type Ran } from './cluster.ts'

const cli = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

interface PeersRow {
  peers: { connected: boolean; slots: number | null }[]
}

/** A command that is still running. */
export interface Running {
  /** What it has said, once that matches. @throws when it ends before it does */
  said(pattern: RegExp): Promise<RegExpMatchArray>
  ended: Promise<Ran>
}

/** One machine of an office: a network namespace and a home directory, with nothing of Shoal on it. */
export class OfficeHost {
  readonly name: string
  readonly home: string
  readonly #command: (args: readonly string[]) => string[]

  constructor(name: string, home: string, command: (args: readonly string[]) => string[]) {
    this.name = name
    this.home = home
    this.#command = command
  }

  /** Everything that Shoal keeps there. */
  get shoalHome(): string {
    return join(this.home, 'shoal')
  }

  get env(): NodeJS.ProcessEnv {
    const { PATH, CARGO_HOME, RUSTUP_HOME } = process.env
    return {
      PATH,
      HOME: this.home,
      SHOAL_HOME: this.shoalHome,
      CARGO_HOME: CARGO_HOME ?? join(homedir(), '.cargo'),
      RUSTUP_HOME: RUSTUP_HOME ?? join(homedir(), '.rustup'),
    }
  }

  /** Runs a program there. */
  async run(program: string, args: readonly string[], options: { cwd?: string; input?: string } = {}): Promise<Ran> {
    const [first = '', ...rest] = this.#command([program, ...args])
    return await capture(first, rest, { env: this.env, ...options })
  }

  /** A command, whatever comes of it. */
  async tries(...args: string[]): Promise<Ran> {
    return await this.run(process.execPath, [cli, ...args])
  }

  /** @throws unless it succeeds */
  async shoal(...args: string[]): Promise<string> {
    const ran = await this.tries(...args)
    if (ran.code !== 0) throw new Error(`${this.name}: shoal ${args.join(' ')}: ${ran.stderr}${ran.stdout}`)
    return ran.stdout
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.shoal(...args, '--json')) as T
  }

  /** `shoal build` of a workspace. @throws unless it succeeds */
  async build(cwd: string, ...args: string[]): Promise<Ran> {
    const ran = await this.run(process.execPath, [cli, 'build', ...args], { cwd })
    if (ran.code !== 0) throw new Error(`${this.name}: shoal build: ${ran.stderr}${ran.stdout}`)
    return ran
  }

  /** A command that says something long before it ends. */
  start(...args: string[]): Running {
    const [first = '', ...rest] = this.#command([process.execPath, cli, ...args])
    return this.#watched(spawn(first, rest, { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] }), args)
  }

  /** A command at a terminal of its own: all that it says there is `stdout`, and what is typed shows in it. */
  atTerminal(...args: string[]): Running & { type(line: string): void } {
    const line = [process.execPath, cli, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
    const [first = '', ...rest] = this.#command(['script', '-qefc', line, '/dev/null'])
    const env = { ...this.env, SHELL: '/bin/sh', TERM: 'dumb' }
    const child = spawn(first, rest, { env, stdio: ['pipe', 'pipe', 'pipe'] })
    return { ...this.#watched(child, args), type: (text) => void child.stdin.write(`${text}\n`) }
  }

  #watched(child: ChildProcess, args: readonly string[]): Running {
    const ran = { stdout: '', stderr: '' }
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream]?.setEncoding('utf8').on('data', (text: string) => {
        ran[stream] += text
      })
    }
    const ended = once(child, 'close').then(([code, signal]): Ran => ({ code, signal, ...ran }))
    return {
      ended,
      async said(pattern) {
        for (;;) {
          const match = pattern.exec(ran.stdout)
          if (match !== null) return match
          const next = await Promise.race([once(child.stdout ?? child, 'data'), ended])
          if ('code' in next && !pattern.test(ran.stdout)) throw new Error(`${args.join(' ')}: ${ran.stderr}`)
        }
      },
    }
  }

  /** Waits until `count` others are connected and, if asked for, lend. */
  async peers(count: number, lending = false): Promise<void> {
    const deadline = Date.now() + 60_000
    for (;;) {
      const { peers } = (await ask(join(this.shoalHome, 'run/shoal.sock'), 'peers', {})) as PeersRow
      const met = peers.filter(({ connected, slots }) => connected && (!lending || (slots ?? 0) > 0))
      if (met.length >= count) return
      if (Date.now() > deadline) throw new Error(`${this.name} sees ${JSON.stringify(peers)}`)
      await delay(50)
    }
  }
}

/** An office of machines on one network. */
export class Office {
  readonly hosts: readonly OfficeHost[]
  readonly dir: string
  readonly #network: Network

  private constructor(network: Network, dir: string, hosts: readonly OfficeHost[]) {
    this.#network = network
    this.dir = dir
    this.hosts = hosts
  }

  /**
   * @param prefix of the network's names
   * @param family of the machines' addresses
   * @returns why it cannot be made here, instead of an office
   */
  static async open(
    names: readonly string[],
    prefix: string,
    config = '',
    family: 'IPv4' | 'IPv6' = 'IPv4',
  ): Promise<Office | string> {
    const network = await Network.make(names.length, undefined, prefix, family)
    if (typeof network === 'string') return network
    const dir = await mkdtemp(join(tmpdir(), 'shoal-office-'))
    const hosts = network.hosts.map(({ command }, at) => {
      const name = names[at] ?? ''
      return new OfficeHost(name, join(dir, name), (args) => command(args))
    })
    for (const { shoalHome, name } of hosts) {
      await mkdir(shoalHome, { recursive: true, mode: 0o700 })
      // They share the processors of one machine, and each would give way to the others for ever.
      await writeFile(join(shoalHome, 'config.toml'), `name = "${name}"\n${config}[lend]\nyield = false\n`)
    }
    return new Office(network, dir, hosts)
  }

  async close(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.shoal('down').catch(() => '')))
    await this.#network.remove()
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 })
  }
}
