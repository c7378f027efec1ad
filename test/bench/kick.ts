import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { ask } from '../../src/cli/client.ts'
import { type Identity, loadIdentity } from '../../src/mesh/identity.ts'
import { decodeInviteLink } from '../../src/mesh/invite-link.ts'
import { joinMesh } from '../../src/mesh/join.ts'
import { membershipOf } from '../../src/mesh/membership.ts'
import { createMesh, type Mesh } from '../../src/mesh/mesh.ts'
import { saveRoster } from '../../src/mesh/roster-file.ts'
import type { Joined } from '../../src/mesh/welcome.ts'
import { Cluster, type TestNode } from '../support/cluster.ts'
import { argument, say } from './figures.ts'

/**
 * How fast `shoal kick` shuts somebody out, with real nodes: from the request to the moment when the one who was kicked has lost its
 * connection to each of them. `npm run bench -- kick [--trials N] [--nodes N] [--away N]`. Ends with 1 beyond the budget.
 */
const trials = argument('trials', 200)
const count = argument('nodes', 10)
/** Trials in which one node is away when it happens. */
const awayTrials = argument('away', 10)
const budgetMs = 1000
const patienceMs = 30_000

const at = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * part) - 1)] ?? Number.NaN
const share = (values: readonly number[], part: number): string => `${at(values, part).toFixed(1)} ms`

/** A member in this process: it has an eye on each of its connections, and no wish to go. */
interface Guest {
  mesh: Mesh
  /** When a peer was lost last, by `performance.now`. */
  lostAt: Map<string, number>
  up: Set<string>
  stop(): Promise<void>
}

interface Known {
  node: TestNode
  peerId: string
  addresses: string[]
}

async function known(node: TestNode): Promise<Known> {
  const { node: self } = await node.ask<{ node: { peerId: string; addresses: string[] } }>('status')
  return { node, ...self }
}

/** A busy machine may be too late with its answer, and then the invitation is used up. */
async function joined(host: TestNode, identity: Identity, name: string, tries = 3): Promise<Joined> {
  const { link } = await host.ask<{ link: string }>('invite')
  try {
    return await joinMesh({ clock: systemClock, log: silentLogger, identity }, decodeInviteLink(link), name)
  } catch (error) {
    if (tries <= 1) throw error
    return await joined(host, identity, name, tries - 1)
  }
}

async function invited(dir: string, host: TestNode, name: string, bootstrap: string[]): Promise<Guest> {
  const stateDir = await mkdtemp(join(dir, 'guest-'))
  const identity = await loadIdentity(stateDir)
  const { genesis, secret, roster } = await joined(host, identity, name)
  await saveRoster(stateDir, roster, Date.now())
  const mesh = await createMesh(
    {
      clock: systemClock,
      random: Math.random,
      log: silentLogger,
      source: { get: async () => undefined },
      lookup: async () => [],
    },
    { stateDir, membership: membershipOf(genesis, secret, []), name, listen: ['127.0.0.1'], mdns: false, bootstrap },
  )
  const lostAt = new Map<string, number>()
  const up = new Set<string>()
  mesh.onPeer((peerId, isUp) => {
    if (isUp) up.add(peerId)
    else {
      up.delete(peerId)
      lostAt.set(peerId, performance.now())
    }
  })
  await mesh.start()
  return {
    mesh,
    lostAt,
    up,
    async stop() {
      await mesh.stop()
      await rm(stateDir, { recursive: true, force: true })
    },
  }
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + patienceMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`)
    await delay(5)
  }
}

const kick = (by: TestNode, { mesh }: Guest): Promise<unknown> =>
  ask(join(by.home, 'run/shoal.sock'), 'kick', { member: mesh.peerId })

const leaving: Promise<void>[] = []

/** @returns milliseconds until the connection to each node was lost */
async function online(dir: string, nodes: readonly Known[], trial: number): Promise<number[]> {
  const by = nodes[trial % nodes.length]
  if (by === undefined) return []
  const guest = await invited(
    dir,
    by.node,
    `guest ${trial}`,
    nodes.flatMap(({ addresses }) => addresses),
  )
  try {
    await until(() => guest.up.size === nodes.length, 'the guest has met all')
    const from = performance.now()
    await kick(by.node, guest)
    await until(() => guest.lostAt.size === nodes.length, 'the guest has lost all')
    return [...guest.lostAt.values()].map((lost) => lost - from)
  } finally {
    // It takes its time, and nobody waits for it.
    leaving.push(guest.stop())
  }
}

/** @returns milliseconds from when a node that was away met the first member until the guest had lost it; undefined if it never got in */
async function away(dir: string, nodes: readonly Known[], trial: number): Promise<number | undefined> {
  const [by, absent] = [nodes[0], nodes[1 + (trial % (nodes.length - 1))]]
  if (by === undefined || absent === undefined) return undefined
  // A node that was started again listens elsewhere.
  const seeds = (await Promise.all(nodes.map(({ node }) => known(node)))).flatMap(({ addresses }) => addresses)
  const guest = await invited(dir, by.node, `away ${trial}`, seeds)
  try {
    await until(() => guest.up.size === nodes.length, 'the guest has met all')
    await absent.node.kill()
    await kick(by.node, guest)
    await until(() => guest.up.size === 0, 'the guest has lost all')
    guest.lostAt.clear()
    await absent.node.start()
    let metAt = 0
    await until(async () => {
      const { peers } = await absent.node.ask<{ peers: { peerId: string; connected: boolean }[] }>('peers')
      return peers.some(({ peerId, connected }) => connected && peerId !== guest.mesh.peerId)
    }, 'the node that was away has met somebody')
    metAt = performance.now()
    await until(() => !guest.up.has(absent.peerId), 'the guest has lost the node that was away')
    await absent.node.waitForPeers(nodes.length - 1)
    if (guest.up.size > 0) throw new Error('the guest got in again')
    const lostAt = guest.lostAt.get(absent.peerId)
    return lostAt === undefined ? undefined : Math.max(0, lostAt - metAt)
  } finally {
    await guest.stop()
  }
}

const dir = await mkdtemp(join(tmpdir(), 'shoal-kick-'))
const names = Array.from({ length: count }, (_, at) => `n${at}`)
const lendsNothing = '[lend]\nslots = 0'
const cluster = await Cluster.start(names.slice(0, 1), () => lendsNothing)
try {
  // One after the other: each start keeps a processor busy for a while.
  for (const name of names.slice(1)) await cluster.join(name, lendsNothing)
  for (const node of cluster.nodes) await node.waitForPeers(count - 1)
  const [first] = cluster.nodes
  for (const name of names.slice(1)) await first?.shoal('promote', name)
  const nodes = await Promise.all(cluster.nodes.map(known))
  const drops: number[] = []
  const last: number[] = []
  for (let trial = 0; trial < trials; trial++) {
    const times = await online(dir, nodes, trial)
    drops.push(...times)
    last.push(Math.max(...times))
    if (trial % 20 === 19) process.stderr.write(`${trial + 1} of ${trials}, the last ${share(last, 0.99)} at p99\n`)
  }
  say(`${count} nodes, ${trials} kicks, ${drops.length} connections dropped`)
  if (trials > 0) {
    say(`each:     p50 ${share(drops, 0.5)}, p99 ${share(drops, 0.99)}, slowest ${share(drops, 1)}`)
    say(`the last: p50 ${share(last, 0.5)}, p99 ${share(last, 0.99)}`)
  }
  if (at(last, 0.99) > budgetMs) process.exitCode = 1
  const late: (number | undefined)[] = []
  for (let trial = 0; trial < awayTrials; trial++) late.push(await away(dir, nodes, trial))
  const times = late.filter((ms) => ms !== undefined)
  const never = `${late.length - times.length} times the guest was never let in`
  const dropped = times.length === 0 ? '' : `, else dropped at most ${share(times, 1)} after the first contact`
  say(`away at the time, ${late.length} times: ${never}${dropped}`)
} finally {
  await Promise.all(leaving)
  await cluster.close()
  await rm(dir, { recursive: true, force: true })
}
