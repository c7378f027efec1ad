import { capture } from '../support/cluster.ts'

/** One machine of a made-up network. */
interface Machine {
  address: string
  /** How to run a program there. */
  command(args: readonly string[]): string[]
}

/** Machines in network namespaces of their own on one bridge, each with a link of limited speed in both directions if asked for. */
export class Network {
  readonly hosts: readonly Machine[]
  readonly #count: number
  readonly #prefix: string

  private constructor(count: number, prefix: string, family: Family) {
    this.#count = count
    this.#prefix = prefix
    this.hosts = Array.from({ length: count }, (_, at) => ({
      address: addresses[family](at),
      command: (args) => ['ip', 'netns', 'exec', `${prefix}${at}`, ...args],
    }))
  }

  /**
   * @param mbit speed of each link; default: as fast as it goes
   * @param prefix of the names of everything that is made, at most eight letters
   * @param family of their addresses: they have none of the other
   * @returns why it cannot be made here, instead of a network
   */
  static async make(
    count: number,
    mbit?: number,
    prefix = 'shoalb',
    family: Family = 'IPv4',
  ): Promise<Network | string> {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it needs root on Linux'
    const network = new Network(count, prefix, family)
    const bridge = `${prefix}-br`
    await network.remove()
    try {
      await ip('link', 'add', bridge, 'type', 'bridge')
      await ip('link', 'set', bridge, 'up')
      for (let at = 0; at < count; at++) {
        const [name, outer] = [`${prefix}${at}`, `${prefix}-o${at}`]
        await ip('netns', 'add', name)
        await ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
        await ip('link', 'set', outer, 'master', bridge, 'up')
        // Whether somebody else has an address is not asked: that takes a second.
        const flags = family === 'IPv6' ? ['nodad'] : []
        const address = `${addresses[family](at)}/${family === 'IPv6' ? 64 : 24}`
        await ip('-n', name, 'addr', 'add', address, 'dev', 'eth0', ...flags)
        await ip('-n', name, 'link', 'set', 'lo', 'up')
        await ip('-n', name, 'link', 'set', 'eth0', 'up')
        if (mbit === undefined) continue
        const shape = ['root', 'tbf', 'rate', `${mbit}mbit`, 'burst', '64kb', 'latency', '200ms']
        await run('tc', ['qdisc', 'add', 'dev', outer, ...shape])
        await run('ip', ['netns', 'exec', name, 'tc', 'qdisc', 'add', 'dev', 'eth0', ...shape])
      }
      return network
    } catch (error) {
      await network.remove()
      return error instanceof Error ? error.message : String(error)
    }
  }

  /** Whatever is not there any more is no trouble. */
  async remove(): Promise<void> {
    for (let at = 0; at < this.#count; at++) {
      await capture('ip', ['netns', 'del', `${this.#prefix}${at}`])
      await capture('ip', ['link', 'del', `${this.#prefix}-o${at}`])
    }
    await capture('ip', ['link', 'del', `${this.#prefix}-br`])
  }
}

type Family = keyof typeof addresses

const addresses = {
  IPv4: (at: number): string => `10.213.7.${at + 1}`,
  IPv6: (at: number): string => `fd00:213:7::${at + 1}`,
} as const

const ip = (...args: string[]): Promise<void> => run('ip', args)

async function run(program: string, args: string[]): Promise<void> {
  const ran = await capture(program, args)
  if (ran.code !== 0) throw new Error(`${program} ${args.join(' ')}: ${ran.stderr.trim()}`)
}
