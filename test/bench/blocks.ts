import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { daemonFlags } from '../../src/cli/daemon-program.ts'
import type { Membership } from '../../src/mesh/membership.ts'
import { createMembership } from '../mesh/hiring.ts'
import type { Answer, Order } from './blocks-node.ts'
import { argument, median, say } from './figures.ts'
import { Network } from './network.ts'

/**
 * Blocks from node to node, beside a bare noise and yamux stream in the same run. `npm run bench -- blocks [--runs N] [--prof]`.
 * Every node is a process of its own. Their stores lie in memory where the system has a place for that, unless `--dir` says
 * otherwise: a file system that has just deleted thousands of files takes ten times as long to make one.
 */
const program = fileURLToPath(new URL('blocks-node.ts', import.meta.url))
const flag = (name: string): boolean => process.argv.includes(`--${name}`)
const runs = argument('runs', 5)
const MB = 1_000_000
const KiB = 1024

interface Figures {
  ms: number
  /** CPU milliseconds of the busier of the two processes. */
  busier: number
  /** Of both together. */
  both: number
}

class Node {
  readonly #child: ChildProcess
  peerId = ''
  addresses: string[] = []
  bare: string[] = []

  constructor(child: ChildProcess) {
    this.#child = child
  }

  async ask(order: Order): Promise<Answer> {
    const answered = once(this.#child, 'message')
    this.#child.send(order)
    const [answer] = (await answered) as [Answer]
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer
  }

  async start(dir: string, membership: Membership, listen = '127.0.0.1'): Promise<void> {
    const { peerId = '', addresses = [], bare = [] } = await this.ask({ do: 'start', dir, membership, listen })
    Object.assign(this, { peerId, addresses, bare })
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }
}

interface StartOptions {
  listen?: string
  /** What the process is started through. */
  before?: string[]
  /** For Node; by default those of the daemon. */
  flags?: readonly string[]
}

async function startNode(
  dir: string,
  membership: Membership,
  { listen, before = [], flags = daemonFlags }: StartOptions = {},
): Promise<Node> {
  const profile = flag('prof') ? ['--cpu-prof', '--cpu-prof-dir', '/tmp/shoal-blocks-prof'] : []
  const [file = '', ...args] = [...before, process.execPath, ...flags, '--expose-gc', ...profile, program]
  const node = new Node(
    spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'advanced' }),
  )
  await node.start(dir, membership, listen)
  return node
}

/** One that has, and one that wants. */
interface Pair {
  sender: Node
  receiver: Node
}

async function startPair(dir: string, flags?: readonly string[]): Promise<Pair> {
  const membership = createMembership({ name: 'bench' })
  const options = flags === undefined ? {} : { flags }
  const sender = await startNode(join(dir, 'sender'), membership, options)
  const receiver = await startNode(join(dir, 'receiver'), { ...membership, seeds: sender.addresses }, options)
  return { sender, receiver }
}

const endPair = ({ sender, receiver }: Pair): Promise<unknown> => Promise.all([sender.end(), receiver.end()])

/** @param plain a pair in Node as it comes: the flags of the daemon are a part of what is compared */
async function compareSpeeds(pair: Pair, plain: Pair): Promise<void> {
  const { sender, receiver } = pair
  const from = [sender.peerId]
  const loads = [
    { what: 'one file of 200 MB', count: 1, size: 200 * MB },
    { what: '2,000 files of 64 KiB', count: 2000, size: 64 * KiB },
  ]
  for (const { what, count, size } of loads) {
    const runOf = async (order: Order, { sender, receiver } = pair): Promise<Figures> => {
      for (const node of [sender, receiver]) await node.ask({ do: 'settle' })
      const before = await sender.ask({ do: 'usage' })
      const { ms = 0, cpuMs = 0 } = await receiver.ask(order)
      const after = await sender.ask({ do: 'usage' })
      const sent = (after.cpuMs ?? 0) - (before.cpuMs ?? 0)
      return { ms, busier: Math.max(cpuMs, sent), both: cpuMs + sent }
    }
    const figures: Record<'bare' | 'flags' | 'memory' | 'disk', Figures[]> = {
      bare: [],
      flags: [],
      memory: [],
      disk: [],
    }
    for (let run = 0; run < runs; run++) {
      const { cids = [] } = await sender.ask({ do: 'fill', count, size })
      const blocks = cids.map((cid) => ({ cid, size }))
      const bare = (address = ''): Order => ({ do: 'bare', address, bytes: count * size, piece: 256 * KiB })
      figures.bare.push(await runOf(bare(plain.sender.bare[0]), plain))
      figures.flags.push(await runOf(bare(sender.bare[0])))
      figures.memory.push(await runOf({ do: 'fetch', blocks, from, keep: false }))
      figures.disk.push(await runOf({ do: 'fetch', blocks, from, keep: true }))
      for (const node of [sender, receiver]) await node.ask({ do: 'drop', cids })
    }
    const of = (name: keyof typeof figures, what: keyof Figures): number =>
      median(figures[name].map((row) => row[what]))
    const cores = (name: keyof typeof figures): string => (of(name, 'both') / of(name, 'ms')).toFixed(1)
    say(
      `  ${what}: a bare stream carries ${Math.round((count * size) / of('bare', 'ms') / 1000)} MB/s, ` +
        `${cores('bare')} of ${availableParallelism()} cores busy`,
    )
    for (const [name, text] of [
      ['flags', "bare, daemon's flags"],
      ['memory', 'verified, in memory'],
      ['disk', 'from store to store'],
    ] as const) {
      const rate = Math.round((count * size) / of(name, 'ms') / 1000)
      const ratio = (of('bare', 'ms') / of(name, 'ms')).toFixed(2)
      const cpu = (of('bare', 'busier') / of(name, 'busier')).toFixed(2)
      say(
        `    ${text.padEnd(20)} ${rate} MB/s, ${ratio} x (budget 0.8); by CPU of the busier ${cpu} x; ` +
          `${cores(name)} cores busy`,
      )
    }
  }
}

/** How much both grow while one of them reads slowly, or nothing at all. */
async function measureMemory({ sender, receiver }: Pair): Promise<void> {
  const size = 200 * MB
  const { cids: [cid = ''] = [] } = await sender.ask({ do: 'fill', count: 1, size })
  const stall: Order = { do: 'stall', address: sender.addresses[0] ?? '', cid, streams: 4 }
  const slow: Order = { do: 'fetch-slowly', cid, size, from: [sender.peerId], chunkMs: 20 }
  for (const [what, order] of [
    ['four streams of a member ask for 256 MB and read nothing', stall],
    ['a member fetches 200 MB onto a disk that takes 20 ms for each', slow],
  ] as const) {
    for (const node of [sender, receiver]) await node.ask({ do: 'settle' })
    await receiver.ask(order)
    const [served, fetched] = [await sender.ask({ do: 'usage' }), await receiver.ask({ do: 'usage' })]
    say(`  ${what}: memory + ${inMB(served.grownBytes)} and + ${inMB(fetched.grownBytes)} MB (budget 64)`)
  }
}

const inMB = (bytes = 0): number => Math.round(bytes / MB)

/** One node that has a toolchain, and seven that want it, each behind a link of its own. */
async function toolchainToSeven(dir: string): Promise<void> {
  const mbit = argument('mbit', 100)
  const count = 8
  const network = await Network.make(count, mbit)
  if (typeof network === 'string') {
    say(`a toolchain to seven nodes: not measured, ${network}`)
    return
  }
  const nodes: Node[] = []
  try {
    const membership = createMembership({ name: 'bench' })
    const seeds: string[] = []
    for (const [at, { address, command }] of network.hosts.entries()) {
      const node = await startNode(
        join(dir, `shaped-${at}`),
        { ...membership, seeds: [...seeds] },
        { listen: address, before: command([]) },
      )
      nodes.push(node)
      seeds.push(...node.addresses)
    }
    const [first, one, ...others] = nodes as [Node, Node, ...Node[]]
    const blocks: { cid: string; size: number }[] = []
    // As in a real one: two files are most of it, and a twentieth is in small ones.
    for (const [howMany, size] of [
      [1, 110 * MB],
      [1, 30 * MB],
      [2, 10 * MB],
      [10, MB],
    ] as const) {
      const { cids = [] } = await first.ask({ do: 'fill', count: howMany, size })
      blocks.push(...cids.map((cid) => ({ cid, size })))
    }
    const order: Order = { do: 'fetch', blocks, from: [first.peerId], keep: true }
    const alone = (await one.ask(order)).ms ?? 0
    await one.ask({ do: 'drop', cids: blocks.map(({ cid }) => cid) })
    for (const node of nodes) await node.ask({ do: 'settle' })
    const before = (await first.ask({ do: 'usage' })).sentBytes ?? 0
    const began = performance.now()
    await Promise.all([one, ...others].map((node) => node.ask(order)))
    const all = performance.now() - began
    const usages = await Promise.all(nodes.map((node) => node.ask({ do: 'usage' })))
    const sent = (usages[0]?.sentBytes ?? 0) - before
    say(
      `  a toolchain of 170 MB over links of ${mbit} Mbit/s: to one node ${(alone / 1000).toFixed(1)} s, to seven ` +
        `${(all / 1000).toFixed(1)} s, ${(all / alone).toFixed(2)} x (budget 3); the first sent ${inMB(sent)} MB; ` +
        `memory + ${usages.map(({ grownBytes }) => inMB(grownBytes)).join(', ')} MB`,
    )
  } finally {
    await Promise.all(nodes.map((node) => node.end()))
    await network.remove()
  }
}

async function measure(): Promise<void> {
  const dir = await mkdtemp(join(argument('dir', existsSync('/dev/shm') ? '/dev/shm' : tmpdir()), 'shoal-blocks-'))
  try {
    if (!flag('no-loopback')) {
      say(`blocks over loopback, medians of ${runs}`)
      const [fast, plain] = [await startPair(join(dir, 'speed')), await startPair(join(dir, 'plain'), [])]
      await compareSpeeds(fast, plain)
      await Promise.all([endPair(fast), endPair(plain)])
      // New ones: what others have left in memory would hide what these need.
      const fresh = await startPair(join(dir, 'memory'))
      await measureMemory(fresh)
      await endPair(fresh)
    }
    if (!flag('no-toolchain')) await toolchainToSeven(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

await measure()
