import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ShoalError } from '../../base/errors.ts'
import { type Environment, type ShoalPaths, shoalPaths } from '../../base/paths.ts'
import { ask } from '../client.ts'
import { waitForExit } from '../daemon-program.ts'
import { processRuns } from '../process.ts'
import { type Report, reportShape, type Status, shaped, statusShape } from '../shapes.ts'
import { type Ended, mustRun, runChild } from './child.ts'
import type { Network } from './network.ts'

const slots = 2
const peersDeadlineMs = 30_000

export interface DemoNodeNeeds {
  network: Network
  /** Of the person who runs the demo; what would lead to other nodes or other target directories is left out. */
  env: Environment
  signal: AbortSignal
}

/** One of the nodes of the demo: a directory of its own, and the same `shoal` command that people type. */
export class DemoNode {
  readonly name: string
  readonly #needs: DemoNodeNeeds
  readonly #index: number
  readonly #home: string
  readonly #env: Environment
  readonly #paths: ShoalPaths
  #pid: number | undefined

  constructor(needs: DemoNodeNeeds, init: { name: string; index: number; home: string }) {
    this.#needs = needs
    this.name = init.name
    this.#index = init.index
    this.#home = init.home
    this.#env = { ...cleanEnv(needs.env), SHOAL_HOME: init.home }
    this.#paths = shoalPaths(this.#env, init.home)
  }

  /** Writes the node's configuration: its name, two slots, and no way out of this machine. */
  async prepare(): Promise<void> {
    await mkdir(this.#home, { recursive: true })
    const mesh = this.#needs.network.kind === 'loopback' ? '\n[mesh]\nlisten = ["127.0.0.1"]\n' : ''
    // The nodes share the processors of one machine, and each would give way to the others for ever.
    const lend = '\n[lend]\nyield = false\n'
    await writeFile(this.#paths.config, `name = "${this.name}"\nslots = ${slots}\n${lend}${mesh}`)
  }

  /** `shoal ARGS` on this node. @throws ShoalError ERR_INTERNAL with what it said, unless it succeeds */
  shoal(args: readonly string[], stdin?: string): Promise<Ended> {
    return mustRun(this.#command(args), {
      env: this.#env,
      signal: this.#needs.signal,
      ...(stdin === undefined ? {} : { stdin }),
    })
  }

  async up(): Promise<void> {
    await this.shoal(['up'])
    this.#pid = (await this.#status()).node.pid
  }

  /** Waits until this node is connected to `count` others. @throws ShoalError ERR_DEADLINE after 30 s */
  async peers(count: number): Promise<void> {
    const deadline = AbortSignal.any([AbortSignal.timeout(peersDeadlineMs), this.#needs.signal])
    for (;;) {
      const { peers } = await this.#status()
      if (peers >= count) return
      if (deadline.aborted) {
        throw new ShoalError('ERR_DEADLINE', `${this.name} sees ${peers} of ${count} peers after 30 s`)
      }
      await delay(100)
    }
  }

  /**
   * `shoal build` in `cwd`. On a terminal cargo draws there; otherwise only the closing line is shown.
   * @returns the report of that build
   */
  async build(cwd: string, args: readonly string[], show: { live: boolean; say(text: string): void }): Promise<Report> {
    const argv = this.#command(['build', ...(show.live ? [] : ['--quiet']), ...args])
    const { signal } = this.#needs
    // Incremental units are left to rustc: with them, the members would not be shared.
    const env = { ...this.#env, CARGO_INCREMENTAL: '0' }
    const ended = await runChild(argv, { env, cwd, signal, inherit: show.live })
    if (ended.code !== 0) {
      throw new ShoalError('ERR_INTERNAL', `the build on ${this.name} ended with ${ended.code}\n${ended.output}`)
    }
    if (!show.live) for (const line of ended.output.trimEnd().split('\n').slice(-1)) show.say(line)
    return shaped(reportShape, await ask(this.#paths.socket, 'report', { id: 'last' }, { signal }), 'report')
  }

  /** What the node finds wrong with itself, one line each. */
  async problems(): Promise<string[]> {
    const { health } = await this.#status()
    return health.map(({ code, text, hint }) => `${this.name}: ${code}: ${text} (${hint})`)
  }

  /** Stops the node if it runs, by force if need be. Never rejects. */
  async stop(): Promise<void> {
    const pid = this.#pid ?? (await this.#status().catch(() => undefined))?.node.pid
    if (pid === undefined) return
    await Promise.allSettled([this.#stopKindly(pid)])
    if (await processRuns(pid)) process.kill(pid, 'SIGKILL')
  }

  async #stopKindly(pid: number): Promise<void> {
    await ask(this.#paths.socket, 'stop', {}, { timeoutMs: 5000 })
    await waitForExit(pid)
  }

  async #status(): Promise<Status> {
    return shaped(statusShape, await ask(this.#paths.socket, 'status', {}), 'status')
  }

  #command(args: readonly string[]): string[] {
    const source = fileURLToPath(new URL('../main.ts', import.meta.url))
    const main = existsSync(source) ? source : source.replace(/\.ts$/, '.js')
    return this.#needs.network.at(this.#index, [process.execPath, main, ...args])
  }
}

/** Without what would lead this node to another node, another wrapper or another target directory. */
function cleanEnv(env: Environment): Environment {
  const drop = /^(SHOAL(_.*)?|(CARGO_BUILD_)?RUSTC_(WORKSPACE_)?WRAPPER|CARGO_(BUILD_)?(TARGET|BUILD)_DIR)$/
  return Object.fromEntries(Object.entries(env).filter(([name]) => !drop.test(name)))
}
