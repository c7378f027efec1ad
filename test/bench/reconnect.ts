import { setTimeout as delay } from 'node:timers/promises'
import { Travellers } from '../support/travellers.ts'
import { argument, say } from './figures.ts'

/**
 * How long members need to find each other again once it is possible, with real nodes in network namespaces.
 * `npm run bench -- reconnect [--trials N] [--only WORD]`. Ends with 1 when any took longer than five seconds.
 */
const trials = Number(argument('trials', '5'))
const only = argument('only', '')
const budgetMs = 5000
const asleepMs = 60_000
/** Without a network for so long: every connection is dead, and neither side has given it up. */
const awayMs = 6000

interface Scenario {
  title: string
  names: string[]
  /** Once, before the first trial. */
  prepare?(world: Travellers): Promise<void>
  /** Settles at the moment from which on they could be together again. @param trial even and odd ones go to and fro */
  happen(world: Travellers, trial: number): Promise<void>
  trials?: number
}

const [a, b, c] = ['a', 'b', 'c'] as const
const there = (trial: number): 'home' | 'cafe' => (trial % 2 === 0 ? 'cafe' : 'home')

const scenarios: Scenario[] = [
  {
    title: 'one goes to another network, and a router leads back',
    names: [a, b],
    happen: (world, trial) => world.carry([trial % 4 < 2 ? a : b], there(trial), [trial % 4 < 2 ? 1 : 2], awayMs),
  },
  {
    title: 'both go to another network, with other addresses',
    names: [a, b],
    happen: (world, trial) => world.carry([a, b], there(trial), [10 + trial * 2, 11 + trial * 2], awayMs),
  },
  {
    title: 'the network was away and is the same again',
    names: [a, b],
    happen: (world) => world.carry([a, b], 'home', [1, 2], awayMs),
  },
  {
    title: 'another address on the same network',
    names: [a, b],
    async happen(world, trial) {
      // So that what was heard before cannot pass for what was heard after.
      await world.silence(trial % 2 === 0 ? a : b)
      const [name, first] = trial % 2 === 0 ? [a, 1] : [b, 2]
      const turn = Math.floor(trial / 2) * 10
      await world.lan.renumber(name, 'home', first + turn, first + turn + 10)
    },
  },
  {
    title: 'asleep for a minute, network and all',
    names: [a, b],
    trials: Math.min(trials, 3),
    async happen(world, trial) {
      const [name, host] = trial % 2 === 0 ? [a, 1] : [b, 2]
      const { daemon } = world.node(name)
      daemon?.kill('SIGSTOP')
      await world.lan.unplug(name)
      await delay(asleepMs)
      await world.lan.plug(name, 'home', host)
      daemon?.kill('SIGCONT')
    },
  },
  {
    title: 'stopped for a minute, connections closed by the other side',
    names: [a, b],
    trials: Math.min(trials, 3),
    async happen(world, trial) {
      const { daemon } = world.node(trial % 2 === 0 ? a : b)
      daemon?.kill('SIGSTOP')
      await delay(asleepMs)
      daemon?.kill('SIGCONT')
    },
  },
  {
    title: 'mDNS blocked, one goes to another network',
    names: [a, b],
    async prepare(world) {
      for (const name of [a, b]) await world.lan.muffle(name)
    },
    happen: (world, trial) => world.carry([trial % 4 < 2 ? a : b], there(trial), [trial % 4 < 2 ? 1 : 2], awayMs),
  },
  {
    title: 'mDNS blocked, two of three go to another network',
    names: [a, b, c],
    async prepare(world) {
      for (const name of [a, b, c]) await world.lan.muffle(name)
    },
    happen: (world, trial) => world.carry([a, b], there(trial), [10 + trial * 2, 11 + trial * 2], awayMs),
  },
  {
    title: 'mDNS blocked, both were switched off',
    names: [a, b],
    async prepare(world) {
      for (const name of [a, b]) await world.lan.muffle(name)
    },
    async happen(world) {
      for (const name of [a, b]) await world.node(name).stop()
      for (const name of [a, b]) await world.node(name).start()
    },
  },
  {
    title: 'two interfaces, the way out on the wrong one, both strangers to the place',
    names: [a, b],
    async prepare(world) {
      for (const [at, name] of [a, b].entries()) {
        await world.lan.plug(name, 'dead-end', at + 1, 'w1')
        await world.lan.way(name, ['dev', 'w1'])
      }
    },
    async happen(world, trial) {
      await world.carry([a, b], there(trial), [10 + trial * 2, 11 + trial * 2], awayMs)
      for (const name of [a, b]) await world.lan.way(name, ['dev', 'w1'])
    },
  },
]

let slow = 0
say(`${'what happens'.padEnd(76)} trials     p50     max`)
for (const { title, names, prepare, happen, trials: count = trials } of scenarios) {
  if (!title.includes(only)) continue
  const world = await Travellers.meet(`shoalrc${process.pid}`, names)
  if (typeof world === 'string') {
    say(`not measured: ${world}`)
    break
  }
  try {
    await prepare?.(world)
    const times: number[] = []
    for (let trial = 0; trial < count; trial++) {
      await happen(world, trial)
      times.push(await world.together(names))
    }
    const sorted = times.toSorted((x, y) => x - y)
    const worst = sorted.at(-1) ?? 0
    slow += sorted.filter((ms) => ms > budgetMs).length
    const median = sorted[Math.floor(sorted.length / 2)] ?? 0
    const figures = [String(count), `${(median / 1000).toFixed(2)} s`, `${(worst / 1000).toFixed(2)} s`]
    say(`${title.padEnd(76)} ${figures[0]?.padStart(6)} ${figures[1]?.padStart(7)} ${figures[2]?.padStart(7)}`)
  } catch (error) {
    slow += 1
    say(`${title}: ${error instanceof Error ? error.message : error}`)
  } finally {
    await world.close()
  }
}
process.exitCode = slow > 0 ? 1 : 0
