import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Announcing, recordsFor } from '../../src/daemon/announcing.ts'
import type { Host } from '../../src/mesh/host.ts'
import { ProviderRecords } from '../../src/mesh/provider-records.ts'
import { Summaries } from '../../src/mesh/summaries.ts'
import { ManualClock, makeHost, someBytes } from '../mesh/fixture.ts'
import { createMembership } from '../mesh/hiring.ts'
import { Cluster, lastReport, type TestNode } from '../support/cluster.ts'
import { argument, quantile, say } from './figures.ts'

/** What it costs to know who has what. `npm run bench -- who-has [--nodes N] [--results N] [--rounds N]`. */
const nodes = argument('nodes', 30)
const results = argument('results', 1000)
const rounds = argument('rounds', 3)
const settleMs = 4000

interface Units {
  units: { outcome: string; ms: number }[]
}

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

async function built(node: TestNode, dir: string): Promise<Units['units']> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  const ran = await node.cargo(dir, 'build', '--offline')
  if (ran.code !== 0) throw new Error(ran.stderr)
  await lastReport(node)
  return (await node.json<Units>('report', 'last')).units
}

async function forget(node: TestNode, others: number): Promise<void> {
  await node.stop()
  for (const part of ['blocks', 'index']) await rm(join(node.home, 'cache', part), { recursive: true, force: true })
  await node.start()
  await node.waitForPeers(others)
}

/** @returns the mean of what the units of the example took */
async function stopped(): Promise<number> {
  const names = ['ada', 'ben', 'cleo']
  const cluster = await Cluster.start(names, () => '[lend]\nslots = 0\n[cache]\nplaced-max-bytes = 0\n')
  try {
    const [ada, ben, cleo] = names.map((name) => cluster.node(name))
    if (ada === undefined || ben === undefined || cleo === undefined) throw new Error('no nodes')
    const dir = await cluster.checkout('offline', 'bench')
    const made = (await built(ada, dir)).map(({ ms }) => ms)
    const meanMs = made.reduce((sum, ms) => sum + ms, 0) / made.length
    await built(ben, dir)
    const units = { all: [] as number[], gone: [] as number[], hung: [] as number[] }
    const row = async (of: keyof typeof units): Promise<void> => {
      await forget(cleo, 2)
      // A node that has just started looks at its toolchains first.
      await delay(settleMs)
      if (of === 'hung') ben.daemon?.kill('SIGSTOP')
      if (of === 'gone') await ben.stop()
      try {
        for (const { outcome, ms } of await built(cleo, dir)) if (outcome === 'recalled-mesh') units[of].push(ms)
      } finally {
        if (of === 'gone') await ben.start()
        else ben.daemon?.kill('SIGCONT')
      }
    }
    say(`examples/offline: ${made.length} units, ${meanMs.toFixed(0)} ms each on average`)
    for (let round = 0; round < rounds; round++) {
      await row('all')
      await row('gone')
      await row('hung')
    }
    const tell = (what: string, ms: number[]): boolean =>
      say(
        `  ${what.padEnd(44)} ${ms.length} units, p50 ${quantile(ms, 0.5)} ms, p90 ${quantile(ms, 0.9)} ms, longest ${quantile(ms, 1)} ms`,
      )
    tell('recalled from two members', units.all)
    tell('while one of them is switched off', units.gone)
    tell('while one of them hangs (SIGSTOP)', units.hung)
    return meanMs
  } finally {
    await cluster.close()
  }
}

/** As much of a test's context as the fixture uses. */
class Closing {
  readonly #closers: (() => Promise<void>)[] = []
  readonly context = { after: (close: () => Promise<void>) => this.#closers.push(close) } as unknown as TestContext
  async close(): Promise<void> {
    for (const close of this.#closers) await close()
  }
}

async function announcing(meanMs: number): Promise<void> {
  const closing = new Closing()
  const membership = createMembership({ name: 'bench' })
  const hosts: Host[] = []
  for (let number = 0; number < nodes; number++) hosts.push(await makeHost(closing.context, membership))
  for (const [number, host] of hosts.entries()) {
    for (const other of hosts.slice(0, number)) await host.dial(other.getMultiaddrs())
  }
  await delay(3000)
  const idleFrom = cpuMs()
  await delay(5000)
  const idlePerMs = (cpuMs() - idleFrom) / 5000

  const share = Math.ceil(results / nodes)
  const from = performance.now()
  const cpuFrom = cpuMs()
  let announced = 0
  const running = hosts.map((host) => {
    const held = Array.from({ length: share }, (): [string, { costMs: number }] => [
      Buffer.from(someBytes(32)).toString('hex'),
      { costMs: meanMs },
    ])
    announced += recordsFor(held).length
    const records = new ProviderRecords({
      clock: systemClock,
      log: silentLogger,
      dht: host.services.dht,
      self: host.peerId,
      connected: () => host.getPeers().length,
      onFound: () => undefined,
    })
    const announcer = new Announcing({ clock: systemClock, mesh: records, held: () => held })
    announcer.changed()
    return { records, announcer }
  })
  await delay(1500)
  while (running.some(({ records }) => records.waiting > 0)) await delay(100)
  const tookMs = performance.now() - from
  const cpu = Math.max(0, cpuMs() - cpuFrom - idlePerMs * tookMs)
  const compiled = results * meanMs
  say(`announcing ${results} results at ${nodes} nodes in one process`)
  say(`  ${announced} records, CPU of all nodes ${(cpu / 1000).toFixed(1)} s, ${(cpu / announced).toFixed(0)} ms each`)
  say(`  of ${(compiled / 1000).toFixed(0)} s of compiling: ${((100 * cpu) / compiled).toFixed(2)} %  (budget 2 %)`)
  for (const { records, announcer } of running) {
    records.stop()
    announcer.stop()
  }
  await closing.close()
}

function summaries(): void {
  const clock = new ManualClock()
  const own = new Summaries({ clock, peers: () => ['p'], send: () => true, onMore: () => undefined })
  for (let number = 0; number < 10_000; number++) own.add(someBytes(32))
  const from = performance.now()
  own.known()
  const tookMs = performance.now() - from
  const whole = own.sentBytes
  own.add(someBytes(32))
  clock.advance(50)
  say('summary of 10,000 results, for one peer')
  say(`  ${whole} bytes, made in ${tookMs.toFixed(1)} ms; one more: ${own.sentBytes - whole} bytes`)
}

summaries()
await announcing(await stopped())
process.exit()
