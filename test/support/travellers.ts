import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { enrol, shareShim, TestNode } from './cluster.ts'
import { Lan, type Place } from './lan.ts'
import { knownToolchains } from './programs.ts'

interface PeerRow {
  name: string
  connected: boolean
  silentS: number | null
}

/** Real daemons, each on a machine of its own that can be carried from network to network. */
export class Travellers {
  readonly lan: Lan
  readonly #nodes: ReadonlyMap<string, TestNode>
  readonly #dir: string

  private constructor(lan: Lan, dir: string, nodes: ReadonlyMap<string, TestNode>) {
    this.lan = lan
    this.#dir = dir
    this.#nodes = nodes
  }

  /**
   * All at home, with addresses that end in 1, 2, …, and connected.
   * @returns why that cannot be here, instead
   */
  static async meet(prefix: string, names: readonly string[]): Promise<Travellers | string> {
    const lan = await Lan.make(prefix, names)
    if (typeof lan === 'string') return lan
    const dir = await mkdtemp(join(tmpdir(), 'shoal-lan-'))
    const nodes = new Map(names.map((name) => [name, new TestNode(name, join(dir, name))]))
    const travellers = new Travellers(lan, dir, nodes)
    try {
      for (const [at, name] of names.entries()) {
        await lan.plug(name, 'home', at + 1)
        await travellers.#settle(travellers.node(name), at === 0 ? undefined : travellers.node(names[0] ?? ''))
      }
      for (const node of nodes.values()) await node.waitForPeers(names.length - 1)
      return travellers
    } catch (error) {
      await travellers.close()
      throw error
    }
  }

  async #settle(node: TestNode, host: TestNode | undefined): Promise<void> {
    node.launcher = this.lan.launcher(node.name)
    await node.configure(`name = "${node.name}"\nslots = 1\n[lend]\nslots = 0\n`)
    await knownToolchains(node.home)
    if (host !== undefined) await shareShim(host, node)
    await enrol(node, host)
    await node.start()
  }

  node(name: string): TestNode {
    const node = this.#nodes.get(name)
    if (node === undefined) throw new Error(`no node ${name}`)
    return node
  }

  /** Out of the network where they are, a while of nothing, and into another. Settles when that is done. */
  async carry(names: readonly string[], to: Place, hosts: readonly number[], awayMs: number): Promise<void> {
    for (const name of names) await this.lan.unplug(name)
    await delay(awayMs)
    for (const [at, name] of names.entries()) await this.lan.plug(name, to, hosts[at] ?? 0)
  }

  /**
   * Waits until all of these hear each other: connected, and with a byte that has come just now, which a connection that is dead and
   * does not know it cannot have. Before, nothing may have been heard for three seconds or more.
   * @returns milliseconds
   */
  async together(names: readonly string[], timeoutMs = 60_000): Promise<number> {
    const from = performance.now()
    const heard = new Set<string>()
    for (;;) {
      await Promise.all(names.map((name) => this.#hears(name, heard)))
      const ms = performance.now() - from
      if (names.every((name) => names.every((other) => name === other || heard.has(`${name} ${other}`)))) return ms
      if (ms > timeoutMs) throw new Error(`not together after ${timeoutMs} ms\n${await this.#story(names)}`)
      await delay(25)
    }
  }

  /** Waits until this node has heard nothing of the others for three seconds, or knows that they are gone. */
  async silence(name: string): Promise<void> {
    for (;;) {
      const { peers } = await this.node(name).ask<{ peers: PeerRow[] }>('peers')
      if (peers.every(({ connected, silentS }) => !connected || (silentS ?? 0) >= 3)) return
      await delay(100)
    }
  }

  /** Notes whom a node has heard within the last two seconds. */
  async #hears(name: string, heard: Set<string>): Promise<void> {
    const { peers } = await this.node(name).ask<{ peers: PeerRow[] }>('peers')
    for (const { name: other, connected, silentS } of peers) {
      if (connected && silentS !== null && silentS <= 1) heard.add(`${name} ${other}`)
    }
  }

  async #story(names: readonly string[]): Promise<string> {
    const parts = names.map(async (name) => {
      const peers = JSON.stringify(await this.node(name).ask('peers'))
      return `${name}: ${peers}\n${this.node(name).log.slice(-6000)}`
    })
    return (await Promise.all(parts)).join('\n')
  }

  async close(): Promise<void> {
    await Promise.all([...this.#nodes.values()].map((node) => node.kill()))
    await this.lan.remove()
    await rm(this.#dir, { recursive: true, force: true, maxRetries: 5 })
  }
}
