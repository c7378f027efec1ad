import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { capture } from '../support/cluster.ts'
import { Network } from './network.ts'

/** Two machines in network namespaces of their own, far from each other (`far.rs`). */
export class FarNetwork {
  readonly hosts: Network['hosts']
  readonly #network: Network
  readonly #line: ChildProcess

  private constructor(network: Network, line: ChildProcess) {
    this.#network = network
    this.#line = line
    this.hosts = network.hosts.map(({ command }, at) => ({ address: addressOf(at), command }))
  }

  /**
   * @param line what a round trip takes, and how much goes each way
   * @returns why it cannot be made here, instead
   */
  static async make(line: { rttMs: number; mbit: number }, prefix: string): Promise<FarNetwork | string> {
    // Its links stay unused: programs are told of the other addresses only.
    const network = await Network.make(2, undefined, prefix)
    if (typeof network === 'string') return network
    const dir = await mkdtemp(join(tmpdir(), 'shoal-far-'))
    try {
      const program = join(dir, 'far')
      const source = fileURLToPath(new URL('far.rs', import.meta.url))
      const built = await capture('rustc', ['-O', '--edition=2024', source, '-o', program])
      if (built.code !== 0) throw new Error(built.stderr)
      const ends = [0, 1].flatMap((at) => [`${prefix}${at}`, addressOf(at)])
      const running = spawn(program, [...ends, `${line.rttMs / 2}`, `${line.mbit * 1e6}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const first = await Promise.race([once(running.stdout, 'data'), once(running, 'exit')])
      if (!(first[0] instanceof Buffer)) throw new Error(`far ended with ${first[0]}`)
      return new FarNetwork(network, running)
    } catch (error) {
      await network.remove()
      return error instanceof Error ? error.message : String(error)
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  }

  async remove(): Promise<void> {
    this.#line.kill()
    await this.#network.remove()
  }
}

const addressOf = (at: number): string => `10.213.8.${at + 1}`
