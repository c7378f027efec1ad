import { capture } from './cluster.ts'

/** A network that a machine can be in: a bridge, with a router at its end. */
export type Place = 'home' | 'cafe' | 'dead-end'

/** `via` false: nothing leads from there to the others. */
const places: Record<Place, { number: number; via: boolean }> = {
  home: { number: 1, via: true },
  cafe: { number: 2, via: true },
  'dead-end': { number: 3, via: false },
}

/** Three networks in namespaces, and machines that can be carried from one to the other. `home` and `cafe` route to each other. */
export class Lan {
  readonly #prefix: string
  readonly #names: readonly string[]

  private constructor(prefix: string, names: readonly string[]) {
    this.#prefix = prefix
    this.#names = names
  }

  /**
   * @param prefix of the names of all namespaces; what is left of a network of that name is removed first
   * @param names of the machines; each has two interfaces, `w0` and `w1`, that are in no network yet
   * @returns why it cannot be made here, instead of a network
   */
  static async make(prefix: string, names: readonly string[]): Promise<Lan | string> {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it needs root on Linux'
    const lan = new Lan(prefix, names)
    await lan.remove()
    try {
      await ip('netns', 'add', lan.#hub)
      for (const [place, { number, via }] of Object.entries(places)) {
        await ip('-n', lan.#hub, 'link', 'add', place, 'type', 'bridge', 'mcast_snooping', '0')
        if (via) await ip('-n', lan.#hub, 'addr', 'add', `10.214.${number}.254/24`, 'dev', place)
        await ip('-n', lan.#hub, 'link', 'set', place, 'up')
      }
      await run('ip', ['netns', 'exec', lan.#hub, 'sysctl', '-qw', 'net.ipv4.ip_forward=1'])
      for (const name of names) {
        await ip('netns', 'add', lan.#space(name))
        await ip('-n', lan.#space(name), 'link', 'set', 'lo', 'up')
        for (const port of ['w0', 'w1']) {
          const ends = [
            'link',
            'add',
            port,
            'netns',
            lan.#space(name),
            'type',
            'veth',
            'peer',
            'name',
            `${name}-${port}`,
          ]
          await ip(...ends, 'netns', lan.#hub)
          await ip('-n', lan.#hub, 'link', 'set', `${name}-${port}`, 'up')
        }
      }
      return lan
    } catch (error) {
      await lan.remove()
      return error instanceof Error ? error.message : String(error)
    }
  }

  /** What starts a program on a machine. */
  launcher(name: string): string[] {
    return ['ip', 'netns', 'exec', this.#space(name)]
  }

  /** Takes a machine out of whatever network its interface is in. */
  async unplug(name: string, port = 'w0'): Promise<void> {
    await ip('-n', this.#space(name), 'link', 'set', port, 'down')
    await ip('-n', this.#space(name), 'addr', 'flush', 'dev', port)
  }

  /** Puts it into another: `host` is the last number of its address. The way out of there becomes its way to everywhere. */
  async plug(name: string, place: Place, host: number, port = 'w0'): Promise<void> {
    const { number, via } = places[place]
    await ip('-n', this.#hub, 'link', 'set', `${name}-${port}`, 'master', place)
    await ip('-n', this.#space(name), 'addr', 'add', `10.214.${number}.${host}/24`, 'dev', port)
    await ip('-n', this.#space(name), 'link', 'set', port, 'up')
    if (via) await this.way(name, ['via', `10.214.${number}.254`])
  }

  /** Gives an interface another address, and takes the one before away. */
  async renumber(name: string, place: Place, from: number, to: number, port = 'w0'): Promise<void> {
    const { number, via } = places[place]
    const subnet = `10.214.${number}`
    await ip('-n', this.#space(name), 'addr', 'del', `${subnet}.${from}/24`, 'dev', port)
    await ip('-n', this.#space(name), 'addr', 'add', `${subnet}.${to}/24`, 'dev', port)
    if (via) await this.way(name, ['via', `${subnet}.254`])
  }

  /** Where a machine sends what is for none of its own networks. */
  async way(name: string, how: string[]): Promise<void> {
    await ip('-n', this.#space(name), 'route', 'replace', 'default', ...how)
  }

  /** Nothing for everybody on the network leaves the machine any more. */
  async muffle(name: string): Promise<void> {
    await ip('-n', this.#space(name), 'route', 'replace', 'unreachable', '224.0.0.0/4')
  }

  /** Whatever is not there any more is no trouble. */
  async remove(): Promise<void> {
    for (const name of [...this.#names.map((machine) => this.#space(machine)), this.#hub]) {
      await capture('ip', ['netns', 'del', name])
    }
  }

  get #hub(): string {
    return `${this.#prefix}-hub`
  }

  #space(name: string): string {
    return `${this.#prefix}-${name}`
  }
}

const ip = (...args: string[]): Promise<void> => run('ip', args)

async function run(program: string, args: string[]): Promise<void> {
  const ran = await capture(program, args)
  if (ran.code !== 0) throw new Error(`${program} ${args.join(' ')}: ${ran.stderr.trim()}`)
}
